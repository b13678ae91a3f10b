//! The width of lines in Rust and Markdown.

use crate::tidy::finding::Finding;
use crate::tidy::tree::File;

const WIDTH: usize = 100;

pub(super) fn check(file: &File) -> Vec<Finding> {
    let is_exempt = match (file.is_rust(), file.is_markdown()) {
        (true, _) => is_exempt_in_rust,
        (_, true) => is_exempt_in_markdown,
        _ => return Vec::new(),
    };
    let mut fenced = false;
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let text = line.trim_start().trim_start_matches(['/', '!']).trim_start();
        fenced ^= text.starts_with("```");
        let columns = line.chars().count();
        if columns > WIDTH && !fenced && !is_exempt(line) {
            findings.push(Finding::new(file, number, format!("{columns} columns of {WIDTH}")));
        }
    }
    findings
}

/// Code is the business of rustfmt, which breaks what it can. A string is broken by hand, with `\`,
/// if it is prose: not so data of tests and templates, which have escapes or no spaces.
fn is_exempt_in_rust(line: &str) -> bool {
    let line = line.trim_start();
    if let Some(comment) = line.strip_prefix("//") {
        return is_table(comment.trim_start_matches(['/', '!'])) || has_long_word(comment);
    }
    !line.starts_with('"') || has_escapes(line) || has_long_word(line)
}

/// Rows of tables cannot be broken, and neither can what is indented as code, nor a note of
/// `cargo xtask docs`, which is a comment of one line.
fn is_exempt_in_markdown(line: &str) -> bool {
    is_table(line)
        || line.starts_with("<!-- docs: ")
        || line.starts_with("    ")
        || has_long_word(line)
        || line.starts_with("![")
}

fn is_table(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// A URL, a link or another word without a space that would not fit into a line with much else.
fn has_long_word(line: &str) -> bool {
    line.split_whitespace().any(|word| word.len() > 60)
}

fn has_escapes(line: &str) -> bool {
    [r"\r\n", r"\n", r#"\""#, "{{"].iter().any(|escape| line.contains(escape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str) -> Vec<usize> {
        check(&File::of(path, text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn long_lines_of_prose_are_found() {
        let prose = "many words ".repeat(10);
        let rust = format!("/// {prose}\n    \"{prose}\",\nlet a = {prose};\n//! ok\n");
        assert_eq!(check_lines("a.rs", &rust), [1, 2]);
        assert_eq!(check_lines("a.md", &format!("ok\n{prose}\n- {prose}\n")), [2, 3]);
        assert_eq!(check_lines("a.toml", &prose), [0; 0]);
    }

    #[test]
    fn tables_urls_and_code_are_exempt() {
        let prose = "many words ".repeat(10);
        let url = format!("https://example.com/{}", "a/".repeat(60));
        let markdown = format!("| {prose} |\n    {prose}\n{url}\n```\n{prose}\n```\n");
        assert_eq!(check_lines("a.md", &markdown), [0; 0]);
        let rust = format!("/// | {prose} |\n/// {url}\n    \"{prose}\\r\\n\",\n");
        assert_eq!(check_lines("a.rs", &rust), [0; 0]);
    }
}
