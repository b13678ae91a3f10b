//! The payload of commits.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use carafe_log::contract::helpers::topic;
use carafe_log::{Commit, Erase, ExternalId, IdempotencyKey, Kind, Outcome, Publication, Removed};
use carafe_protocol::EventType;
use proptest::prelude::*;

use crate::any_commit::any_payload_is_decoded_or_refused;

/// The nonces 0, 1, 2 and 65,535 of the fixture, computed from the description of the hash.
const NONCES: [u32; 4] = [0x89e3_c4e8, 0xeb48_894e, 0xe0b9_90fe, 0x5388_0710];

fn folder(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the fixture of format 1 has.
fn one_of_each_kind() -> Commit {
    let event = |data| Publication::new(topic("a"), data);
    let rich = Publication::new(topic("orders/7"), "espresso")
        .with_alternates([topic("users/ä")])
        .with_private(true)
        .with_type(EventType::from_static("ordered"))
        .with_retry(Duration::from_millis(1500))
        .with_key(IdempotencyKey::new("order-7").unwrap());
    let failed = Publication::end(topic("jobs/1"), Outcome::Failed).with_data("out of beans");
    let others = vec![
        Publication::end(topic("a"), Outcome::Done),
        Publication::end(topic("a"), Outcome::Cancelled),
        Publication::stop(topic("a")).with_data("enough"),
        Publication::erase(topic("a"), Erase::Before),
        Publication::erase(topic("a"), Erase::One(42)),
        event("").with_kind(Kind::Removed(Removed::Erased)),
        event("").with_kind(Kind::Removed(Removed::Compacted)),
        event("").with_external_id(ExternalId::new("urn:1").unwrap()),
        event("").with_hub(true),
        event("one\ntwo").with_reopening(true),
    ];
    Commit { seed: 0x0102_0304, batches: vec![vec![rich, failed], vec![], others] }
}

#[test]
fn the_bytes_of_formats_1_and_2_are_those_of_their_description() {
    let bytes = fs::read(folder("tests/fixtures/commit/1")).unwrap();
    assert_eq!(Commit::FORMAT, 2, "a new format has a fixture of its own");
    assert_eq!(Commit::decode(&bytes), Ok(one_of_each_kind()));
    assert_eq!(one_of_each_kind().encode(), bytes);
}

#[test]
fn nonces_are_those_of_the_description_and_differ_within_a_commit() {
    let commit = one_of_each_kind();
    let nonces = [0, 1, 2, 65_535].map(|index| commit.nonce(index));
    assert_eq!(nonces, NONCES);
    let all: HashSet<_> = (0..Commit::MAX_PUBLICATIONS).map(|index| commit.nonce(index)).collect();
    assert_eq!(all.len(), Commit::MAX_PUBLICATIONS);
}

#[test]
fn a_commit_has_as_many_publications_as_there_are_offsets_for() {
    let publication = Publication::new(topic("a"), "");
    let half = vec![publication.clone(); Commit::MAX_PUBLICATIONS / 2];
    let full = Commit { seed: 0, batches: vec![half.clone(), half.clone()] };
    assert_eq!(Commit::decode(&full.encode()), Ok(full.clone()));
    let over = Commit { seed: 0, batches: vec![half.clone(), half, vec![publication]] };
    let error = Commit::decode(&over.encode()).unwrap_err();
    assert!(error.to_string().starts_with("the bytes are no commit of format 2"), "{error}");
}

#[test]
fn a_payload_that_is_cut_off_or_has_more_is_no_commit() {
    let bytes = one_of_each_kind().encode();
    for length in 0..bytes.len() {
        assert!(Commit::decode(&bytes[..length]).is_err(), "{length}");
    }
    let more = [bytes.as_slice(), &[0]].concat();
    let error = Commit::decode(&more).unwrap_err();
    assert!(error.to_string().contains(&format!("byte {} ", bytes.len())), "{error}");
}

#[test]
fn numbers_beyond_the_payload_allocate_nothing() {
    for at in [4, 8] {
        // As many batches, then as many publications, as a number can say.
        let mut bytes = Commit { seed: 0, batches: vec![Vec::new()] }.encode();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Commit::decode(&bytes).is_err());
    }
    // And topics of a publication.
    let mut bytes = vec![0; 8 + 4 + 6];
    (bytes[4], bytes[8], bytes[12]) = (1, 1, 1);
    bytes[14..18].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Commit::decode(&bytes).is_err());
}

#[test]
fn what_a_log_notes_of_its_entry_is_not_taken_from_a_commit() {
    let commit = Commit { seed: 0, batches: vec![vec![Publication::new(topic("a"), "")]] };
    let bytes = commit.encode();
    let mut noted = bytes.clone();
    noted[Commit::HEADER + 5] |= 128;
    assert_eq!(Commit::decode(&noted).unwrap().encode(), bytes);
}

fn publication() -> impl Strategy<Value = Publication> {
    let kind = prop::sample::select(vec![
        Kind::Event,
        Kind::End(Outcome::Done),
        Kind::End(Outcome::Failed),
        Kind::End(Outcome::Cancelled),
        Kind::Stop,
        Kind::Erase(Erase::Before),
        Kind::Erase(Erase::One(u64::MAX)),
        Kind::Erase(Erase::Event { offset: u64::MAX, nonce: 0xbeef }),
        Kind::Removed(Removed::Erased),
        Kind::Removed(Removed::Compacted),
    ]);
    let name = || "[a-z]{1,4}(/[a-zé]{1,4}){0,2}".prop_map(|name| topic(&name));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let id = prop::option::of(("[ -~]{1,20}", any::<bool>()));
    let content = (any::<String>(), prop::option::of("[a-z]{1,9}"), prop::option::of(any::<u32>()));
    (kind, name(), prop::collection::vec(name(), 0..3), flags, id, content).prop_map(
        |(kind, topic, alternates, (private, of_hub, reopens), id, (data, event_type, retry))| {
            let mut publication = Publication::new(topic, data)
                .with_alternates(alternates)
                .with_private(private)
                .with_hub(of_hub)
                .with_reopening(reopens);
            if let Some(event_type) = event_type {
                publication = publication.with_type(EventType::new(event_type).unwrap());
            }
            if let Some(retry) = retry {
                publication = publication.with_retry(Duration::from_millis(retry.into()));
            }
            if let Some((id, is_key)) = id {
                publication = if is_key {
                    publication.with_key(IdempotencyKey::new(&id).unwrap())
                } else {
                    publication.with_external_id(ExternalId::new(&id).unwrap())
                };
            }
            publication.with_kind(kind)
        },
    )
}

fn commit() -> impl Strategy<Value = Commit> {
    let batch = prop::collection::vec(publication(), 0..5);
    (any::<u32>(), prop::collection::vec(batch, 0..5))
        .prop_map(|(seed, batches)| Commit { seed, batches })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_commit_is_decoded_as_it_was_encoded(commit in commit()) {
        let bytes = commit.encode();
        let sizes: usize = commit.batches.iter().map(|batch| Commit::size_of(batch)).sum();
        prop_assert_eq!(bytes.len(), Commit::HEADER + sizes);
        prop_assert_eq!(Commit::decode(&bytes), Ok(commit));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        any_payload_is_decoded_or_refused(&bytes);
    }

    #[test]
    fn damaged_commits_are_decoded_or_refused(
        commit in commit(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = commit.encode();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        any_payload_is_decoded_or_refused(&bytes);
    }
}

#[test]
fn every_payload_of_the_fuzz_corpus_is_decoded_or_refused() {
    let corpus = fs::read_dir(folder("../../fuzz/corpus/commit")).unwrap();
    let decoded: Vec<_> = corpus
        .map(|file| {
            let path = file.unwrap().path();
            println!("{}", path.display());
            any_payload_is_decoded_or_refused(&fs::read(path).unwrap())
        })
        .collect();
    let good = decoded.iter().filter(|is_good| **is_good).count();
    assert!(good >= 8 && decoded.len() - good >= 15, "{good} of {}", decoded.len());
}
