//! The conventions of the source tree that no other tool checks.
//!
//! Each check reads the files of [`tree`] and returns findings. None of them
//! compiles anything, so `cargo xtask tidy` takes a second.

mod cycles;
mod finding;
mod imports;
mod order;
mod text;
mod tree;
mod unsafe_code;
mod width;

use std::path::Path;

use crate::tidy::finding::Finding;
use crate::tidy::tree::File;

pub(crate) fn run() -> Result<(), String> {
    let files = tree::read(Path::new(".")).map_err(|error| format!("tidy: {error}"))?;
    let findings = check(&files);
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        return Err(format!("tidy: {} findings", findings.len()));
    }
    println!("tidy: ok, {} files", files.len());
    Ok(())
}

fn check(files: &[File]) -> Vec<Finding> {
    let per_file = files.iter().flat_map(|file| {
        let in_rust = || text::check_header(file).into_iter().chain(text::check_markers(file));
        let rust = file.is_rust().then(in_rust).into_iter().flatten();
        rust.chain(text::check_words(file))
    });
    let mut findings: Vec<_> = per_file.collect();
    findings.extend(files.iter().flat_map(width::check));
    findings.extend(unsafe_code::check(files));
    findings.extend(order::check(files));
    findings.extend(cycles::check(files));
    findings
}
