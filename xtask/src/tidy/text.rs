//! Module headers, comment markers, and words that do not belong into the repository.

use crate::tidy::finding::Finding;
use crate::tidy::tree::File;

/// First folders of paths that exist on one machine only.
const MACHINE: [&str; 4] = ["home", "root", "Users", "work"];

/// Every module says in its first line what it does.
pub(super) fn check_header(file: &File) -> Option<Finding> {
    let first = file.text.lines().find(|line| !line.starts_with("#!"));
    let has_header = first.is_some_and(|line| line.starts_with("//!"));
    (!has_header).then(|| Finding::new(file, 1, "begin the module with a `//!` header"))
}

/// A marker that stands twice is what a careless search-and-replace leaves behind.
pub(super) fn check_markers(file: &File) -> impl Iterator<Item = Finding> {
    (1..).zip(file.text.lines()).filter_map(move |(number, line)| {
        let line = line.trim_start();
        let marker = ["///", "//!", "//"].into_iter().find(|marker| line.starts_with(marker))?;
        let doubled = line[marker.len()..].trim_start().split(' ').next() == Some(marker);
        doubled.then(|| Finding::new(file, number, "write the comment marker once"))
    })
}

pub(super) fn check_words(file: &File) -> impl Iterator<Item = Finding> {
    (1..).zip(file.text.lines()).filter_map(move |(number, line)| {
        let folder = MACHINE.iter().find(|folder| has_path(line, folder))?;
        let what = format!("`/{folder}/…` is a path of one machine: use a relative path");
        Some(Finding::new(file, number, what))
    })
}

/// Whether an absolute path begins with this folder; in a URL, a host precedes the slash.
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(&format!("/{folder}/")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"./_-}*".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_header_is_found() {
        let check = |text| check_header(&File::of("crates/a/src/b.rs", text)).is_some();
        assert!(check("use std::fmt;\n"));
        assert!(check("// Not a header.\n"));
        assert!(check(""));
        assert!(!check("//! What it does.\n"));
        assert!(!check("#![no_main]\n//! What it does.\n"));
    }

    #[test]
    fn a_doubled_comment_marker_is_found() {
        let check = |line: String| check_markers(&File::of("crates/a/src/b.rs", &line)).count();
        for marker in ["//", "///", "//!"] {
            assert_eq!(check(format!("{marker} {marker} A word.\n    {marker} {marker}")), 2);
        }
        assert_eq!(check("/// // A comment in an example.\n// A word.\nlet a = 1;".into()), 0);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let check = |line: String| check_words(&File::of("README.md", &line)).count();
        assert_eq!(check(format!("see `/{}/me/notes`", "home")), 1);
        assert_eq!(check(format!("/{}/a\ncd=/{0}/b", "work")), 2);
        assert_eq!(check(format!("http://example.com/{}/index", "home")), 0);
        assert_eq!(check("/usr/share/doc".into()), 0);
    }
}
