//! Random records of a TLS client on its stream. The fuzz target finds more, but is not run by
//! everyone.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::any_records::any_records_end_their_own_stream_only;

/// Messages of RFC 8446, by the content type of their record: changes of keys, the end of the
/// connection, alerts, and what no client may send on an open connection.
const MESSAGES: [(u8, &[u8]); 12] = [
    (22, &[24, 0, 0, 1, 0]),
    (22, &[24, 0, 0, 1, 1]),
    (22, &[24, 0, 0, 1, 2]),
    (22, &[24, 0, 0, 1, 1, 24, 0, 0, 1, 1]),
    (22, &[24, 0, 0]),
    (22, &[1, 0, 0, 2, 3, 3]),
    (21, &[1, 0]),
    (21, &[1, 90]),
    (21, &[2, 40]),
    (20, &[1]),
    (23, b""),
    (23, b"GET / HTTP/1.1\r\n\r\n"),
];

/// An input of the fuzz target: messages, some of them damaged, and bytes that are no records.
fn input(random: &mut StdRng) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..random.random_range(1..40) {
        let (mut kind, message) = MESSAGES[random.random_range(0..MESSAGES.len())];
        let mut message = message.to_vec();
        match random.random_range(0..20) {
            0 => kind = random.random(),
            1 => message.truncate(random.random_range(0..=message.len())),
            2 => message.extend((0..random.random_range(0..200)).map(|_| random.random::<u8>())),
            _ => {}
        }
        input.extend([kind, u8::try_from(message.len()).unwrap()]);
        input.extend(message);
    }
    input
}

#[test]
fn random_records_end_their_own_stream_only() {
    let seed = std::env::var("CARAFE_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CARAFE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let answered =
        (0..200).filter(|_| any_records_end_their_own_stream_only(&input(&mut random)) > 0);
    assert!(answered.count() >= 20, "many clients are told that the connection is closed");
}
