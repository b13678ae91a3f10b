//! Clients beyond the streams that one address may have: told to come back later, they keep their
//! connection.

use std::io::Write;
use std::time::Duration;

use super::attacker::Attacker;
use crate::wire;

const CONNECTIONS: usize = 300;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let mut open = Vec::new();
    while !attacker.is_over() {
        attacker.drop_closed(&mut open);
        while open.len() < CONNECTIONS && !attacker.is_over() {
            let Some(mut stream) = attacker.connect() else { break };
            if stream.write_all(wire::get("/events?topic=attack/kept", &[]).as_bytes()).is_err()
                || !attacker.count_answer(&mut stream)
            {
                break;
            }
            // What follows the head is read, so that only the end of the connection is left to see.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            open.push(stream);
        }
        attacker.pause(Duration::from_millis(500));
    }
    (0..open.len()).for_each(|_| attacker.count("open at the end"));
}
