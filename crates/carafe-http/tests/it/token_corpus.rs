//! The fuzz target's corpus as an ordinary test.

use std::fs;
use std::path::Path;

use crate::any_token::any_token_is_judged;

#[test]
fn every_token_and_claim_of_the_fuzz_corpus_is_judged_as_it_should_be() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/token");
    let mut tokens = 0;
    for entry in fs::read_dir(&corpus).expect("the corpus is in the repository") {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        any_token_is_judged(&fs::read(&path).unwrap());
        tokens += 1;
    }
    assert!(tokens >= 30, "only {tokens} tokens in {}", corpus.display());
}
