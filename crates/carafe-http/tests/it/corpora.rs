//! Runs the corpora of the fuzz targets as ordinary tests.

use std::fs;
use std::path::Path;

use crate::any_batch::any_batch_is_stored_whole_or_not_at_all;
use crate::any_form::any_form_is_stored_or_refused;
use crate::any_ingest::any_body_is_ingested_alike_however_it_is_split;
use crate::any_position::{Came, any_last_event_id_is_found_or_reported};
use crate::any_query::any_query_is_understood_or_refused;
use crate::any_records::any_records_end_their_own_stream_only;
use crate::any_token::any_token_is_judged;

/// The outcomes of all inputs of a target.
fn try_all<T>(target: &str, judge: impl Fn(&[u8]) -> T) -> Vec<T> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&corpus).expect("the corpus is in the repository");
    let judged = entries.map(|entry| {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        judge(&fs::read(&path).unwrap())
    });
    judged.collect()
}

/// How many outcomes satisfy this.
fn count<T>(judged: &[T], is_so: impl Fn(&T) -> bool) -> usize {
    judged.iter().filter(|one| is_so(one)).count()
}

#[test]
fn every_token_and_claim_of_the_fuzz_corpus_is_judged_as_it_should_be() {
    assert!(try_all("token", any_token_is_judged).len() >= 30);
}

#[test]
fn every_query_of_the_fuzz_corpus_is_understood_or_refused() {
    let judged = try_all("query", any_query_is_understood_or_refused);
    let is = |published, subscribed| {
        count(&judged, |one| {
            one.is_some_and(|one| (one.published, one.subscribed) == (published, subscribed))
        })
    };
    assert!(judged.len() >= 30 && count(&judged, Option::is_none) >= 1);
    assert!(
        is(true, true) >= 2
            && is(true, false) >= 5
            && is(false, true) >= 5
            && is(false, false) >= 5,
        "{judged:?}"
    );
}

#[test]
fn every_last_event_id_of_the_fuzz_corpus_is_found_or_reported() {
    let judged = try_all("last-event-id", any_last_event_id_is_found_or_reported);
    let is = |came| count(&judged, |one| *one == Some(came));
    assert!(judged.len() >= 20 && count(&judged, Option::is_none) >= 1);
    assert!(is(Came::Nothing) == 1 && is(Came::AllHistory) == 1, "{judged:?}");
    assert!(is(Came::ItsEvent) >= 4 && is(Came::Gap) >= 10, "{judged:?}");
}

#[test]
fn every_batch_of_the_fuzz_corpus_is_stored_whole_or_not_at_all() {
    let stored = try_all("batch", any_batch_is_stored_whole_or_not_at_all);
    let whole = count(&stored, |stored| *stored);
    assert!(whole >= 8 && stored.len() - whole >= 15, "{whole} of {}", stored.len());
}

#[test]
fn every_form_of_the_fuzz_corpus_is_stored_or_refused() {
    let stored = try_all("form", any_form_is_stored_or_refused);
    let whole = count(&stored, |stored| *stored);
    assert!(whole >= 8 && stored.len() - whole >= 10, "{whole} of {}", stored.len());
}

#[test]
fn every_body_of_the_fuzz_corpus_is_ingested_alike_however_it_is_split() {
    let judged = try_all("ingest", any_body_is_ingested_alike_however_it_is_split);
    let ingested: Vec<_> = judged.iter().flatten().collect();
    assert_eq!(judged.len() - ingested.len(), 1, "one input has no body");
    let whole = count(&ingested, |one| one.status < 300 && one.stored > 0);
    let part = count(&ingested, |one| one.status >= 400 && one.stored > 0);
    let none = count(&ingested, |one| one.status >= 400 && one.stored == 0);
    assert!(whole >= 15 && part >= 8 && none >= 8, "{whole}, {part} and {none}");
    assert!(count(&ingested, |one| one.repeated > 0) >= 3);
}

#[test]
fn all_records_of_the_fuzz_corpus_end_their_own_stream_only() {
    let answered = try_all("records", any_records_end_their_own_stream_only);
    assert!(answered.len() >= 30 && count(&answered, |bytes| *bytes > 0) >= 20, "{answered:?}");
}
