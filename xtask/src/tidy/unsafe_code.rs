//! Which crates use `unsafe`.

use crate::tidy::finding::Finding;
use crate::tidy::tree::File;

/// The folders of the crates that may, each with a reason at the place.
const CRATES: [&str; 2] = ["crates/carafe-cli", "crates/carafe-http"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    check_with(files, &CRATES)
}

fn check_with(files: &[File], allowed: &[&str]) -> Vec<Finding> {
    let uses = files.iter().filter(|file| file.is_rust()).flat_map(|file| {
        let lines = file.code().filter(|(_, line)| is_unsafe(line));
        lines.map(move |(number, _)| (file, number))
    });
    let (listed, others): (Vec<_>, Vec<_>) =
        uses.partition(|(file, _)| allowed.iter().any(|folder| is_below(file, folder)));
    let unlisted = others.into_iter().map(|(file, line)| {
        Finding::new(file, line, "this crate is not among those that may use `unsafe`")
    });
    let unused = allowed
        .iter()
        .filter(|folder| !listed.iter().any(|(file, _)| is_below(file, folder)))
        .map(|folder| Finding {
            file: (*folder).into(),
            line: 0,
            what: "uses no `unsafe` any more: remove it from the list of those that may".into(),
        });
    unlisted.chain(unused).collect()
}

fn is_below(file: &File, folder: &str) -> bool {
    file.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether the keyword begins a block, a function, an implementation or an `extern`.
fn is_unsafe(line: &str) -> bool {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"];
    let code = line.split('"').next().unwrap_or_default();
    words.iter().any(|word| code.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_in_a_crate_that_is_not_listed_is_found_and_so_is_a_needless_entry() {
        let block = "//! A.\nlet a = unsafe { b() };\n";
        let files = [File::of("crates/a/src/x.rs", block), File::of("crates/ab/src/x.rs", block)];
        let found = check_with(&files, &["crates/a", "crates/c"]);
        let places: Vec<_> = found.iter().map(|it| (it.file.as_str(), it.line)).collect();
        assert_eq!(places, [("crates/ab/src/x.rs", 2), ("crates/c", 0)]);
    }

    #[test]
    fn the_word_in_comments_and_texts_is_not_code() {
        let text = "// unsafe { }\nlet a = \"unsafe { }\";\n#[expect(unsafe_code)]\n";
        assert_eq!(check_with(&[File::of("crates/a/src/x.rs", text)], &[]), []);
    }
}
