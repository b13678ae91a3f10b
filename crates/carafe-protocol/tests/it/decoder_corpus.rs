//! The fuzz target's corpus as an ordinary test.

use std::fs;
use std::path::Path;

use crate::any_split::decoder_follows_the_standard;

#[test]
fn every_stream_of_the_fuzz_corpus_decodes_by_the_standard() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decoder");
    let mut streams = 0;
    for entry in fs::read_dir(&corpus).expect("the corpus is in the repository") {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        decoder_follows_the_standard(&fs::read(&path).unwrap());
        streams += 1;
    }
    assert!(streams >= 30, "only {streams} streams in {}", corpus.display());
}
