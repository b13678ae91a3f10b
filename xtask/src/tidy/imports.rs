//! The paths that a file names in its `use` lines and in its code.

use crate::tidy::tree::File;

/// A path such as `crate::answer::problem::Problem`, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
    /// `pub use`: it gives the item another name and does not use it.
    pub(super) is_reexport: bool,
}

/// The paths of all `use` lines.
pub(super) fn imports(file: &File) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut lines = file.code();
    while let Some((line, text)) = lines.next() {
        let Some((visibility, first)) = split_use(text) else { continue };
        let mut tree = first.to_owned();
        while !tree.contains(';')
            && let Some((_, more)) = lines.next()
        {
            tree += more.trim();
        }
        let tree = tree.split(';').next().unwrap_or_default();
        let is_reexport = !visibility.is_empty();
        let paths = expand("", tree).into_iter();
        imports.extend(paths.map(|path| Import { line, path: segments(&path), is_reexport }));
    }
    imports
}

/// Paths in the code that begin with `crate::` or with one of these modules.
pub(super) fn inline_paths(file: &File, modules: &[String]) -> Vec<Import> {
    let starts = modules.iter().map(String::as_str).chain(["crate"]);
    let starts: Vec<_> = starts.map(|start| format!("{start}::")).collect();
    let code = file.code().filter(|(_, text)| split_use(text).is_none());
    code.flat_map(|(line, text)| {
        let paths = starts.iter().flat_map(move |start| paths_in(text, start));
        paths.map(move |path| Import { line, path: segments(path), is_reexport: false })
    })
    .collect()
}

fn paths_in<'a>(text: &'a str, start: &str) -> impl Iterator<Item = &'a str> {
    let found = text.match_indices(start).map(|(at, _)| at);
    let is_part = |character: char| character.is_alphanumeric() || "_:".contains(character);
    found.filter(move |at| !text[..*at].ends_with(is_part)).map(move |at| {
        let path = &text[at..];
        path[..path.find(|character| !is_part(character)).unwrap_or(path.len())]
            .trim_end_matches(':')
    })
}

/// The visibility and the tree of a line that begins a `use`.
fn split_use(line: &str) -> Option<(&str, &str)> {
    let (visibility, tree) = line.trim().split_once("use ")?;
    let visibility = visibility.trim_end();
    (visibility.is_empty() || visibility.starts_with("pub")).then_some((visibility, tree))
}

/// The paths of a tree such as `a::{b, c::{d, e as f}}`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![format!("{prefix}{path}")];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let prefix = format!("{prefix}{head}");
    let parts = split_at_commas(inner).into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(&prefix, part)).collect()
}

/// The parts between the commas that are in no braces.
fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `self` at the end of a path is the path itself.
fn segments(path: &str) -> Vec<String> {
    let mut segments: Vec<String> = path.split("::").map(|it| it.trim().to_owned()).collect();
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(imports: &[Import]) -> Vec<(usize, String)> {
        imports.iter().map(|import| (import.line, import.path.join("::"))).collect()
    }

    #[test]
    fn all_paths_of_use_lines_are_found() {
        let text = "use std::fmt::{self, Debug};\npub use a::b as c;\n// use no::comment;\n\
            use crate::{\n    x::{y, z},\n    w,\n};\n";
        let found = imports(&File::of("a.rs", text));
        let expected = [
            (1, "std::fmt"),
            (1, "std::fmt::Debug"),
            (2, "a::b"),
            (4, "crate::x::y"),
            (4, "crate::x::z"),
            (4, "crate::w"),
        ];
        assert_eq!(paths(&found), expected.map(|(line, path)| (line, path.into())));
        assert!(found.iter().all(|import| import.is_reexport == (import.line == 2)));
    }

    #[test]
    fn paths_in_the_code_are_found() {
        let text = "fn a() -> crate::b::C { child::d(); other_child::e() }\n";
        let found = inline_paths(&File::of("a.rs", text), &["child".into()]);
        assert_eq!(paths(&found), [(1, "child::d".into()), (1, "crate::b::C".into())]);
    }
}
