//! Findings that are there still, and are to go.

use crate::tidy::finding::Finding;

/// Folders and files whose import cycles are still to be broken.
pub(super) const CYCLES: &[&str] = &[];

/// Folders and files that still have lines that are too wide.
pub(super) const WIDE: &[&str] = &["README.md", "bench/RESULTS.md", "docs/OPERATIONS.md"];

/// Leaves out what is accepted. An entry that is not needed any more is a finding, so that the list
/// only shrinks.
pub(super) fn leave_out(findings: Vec<Finding>, accepted: &[&str]) -> Vec<Finding> {
    let is_below = |finding: &Finding, entry: &str| finding.file.starts_with(entry);
    let needless = accepted.iter().filter(|entry| !findings.iter().any(|it| is_below(it, entry)));
    let needless: Vec<_> = needless
        .map(|entry| Finding {
            file: (*entry).into(),
            line: 0,
            what: "nothing has to be accepted here any more: remove the entry".into(),
        })
        .collect();
    let others = findings.into_iter();
    let others = others.filter(|it| !accepted.iter().any(|entry| is_below(it, entry)));
    others.chain(needless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_findings_are_left_out_and_a_needless_entry_is_found() {
        let finding = |file: &str| Finding { file: file.into(), line: 1, what: "wide".into() };
        let found = leave_out(vec![finding("a/b.rs"), finding("c.rs")], &["a/", "d/"]);
        let files: Vec<_> = found.iter().map(|finding| finding.file.as_str()).collect();
        assert_eq!(files, ["c.rs", "d/"]);
    }
}
