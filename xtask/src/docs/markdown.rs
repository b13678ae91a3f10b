//! The command blocks of a Markdown page, and the notes that say how to run them.
//!
//! A command block is fenced as `sh`, or indented. Notes are comments before it:
//!
//! - `<!-- docs: skip: REASON -->` skips it; `skip TEXT: REASON` skips the lines with TEXT
//! - `<!-- docs: first: COMMAND -->` runs a command before it
//! - `<!-- docs: expect: TEXT -->` waits until one of the page's commands has printed TEXT
//! - `<!-- docs: meanwhile: COMMAND -->` repeats a command until the expected text is there

const NOTE: &str = "<!-- docs: ";

/// Commands that a page shows together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// The number of its first line in the page.
    pub(super) line: usize,
    pub(super) commands: Vec<String>,
    pub(super) notes: Notes,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) skips: Vec<Skip>,
    pub(super) first: Vec<String>,
    pub(super) expect: Vec<String>,
    pub(super) meanwhile: Vec<String>,
}

/// Commands that a test machine cannot run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Skip {
    /// What the commands contain; empty for all commands of the block.
    pub(super) part: String,
    pub(super) reason: String,
}

impl Notes {
    /// Why the command is skipped, if it is.
    pub(super) fn reason_against(&self, command: &str) -> Option<&str> {
        self.skips.iter().find(|skip| command.contains(&skip.part)).map(|skip| &*skip.reason)
    }

    fn add(&mut self, note: &str) -> Result<(), String> {
        let Some((kind, text)) = note.split_once(": ") else {
            return Err(format!("a note has no text: {note}"));
        };
        let text = text.to_owned();
        match kind.split_once(' ').unwrap_or((kind, "")) {
            ("skip", part) => self.skips.push(Skip { part: part.into(), reason: text }),
            ("first", "") => self.first.push(text),
            ("expect", "") => self.expect.push(text),
            ("meanwhile", "") => self.meanwhile.push(text),
            _ => return Err(format!("`{kind}` is no kind of note")),
        }
        Ok(())
    }
}

/// The blocks of a page, in order.
pub(super) fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut reader = Reader { lines: (1..).zip(page.lines()).collect(), next: 0 };
    let mut blocks = Vec::new();
    let mut notes = Notes::default();
    let mut after_blank = true;
    while let Some((number, line)) = reader.take() {
        if let Some(note) = line.trim().strip_prefix(NOTE) {
            let note = note.trim_end().trim_end_matches("-->").trim_end();
            notes.add(note).map_err(|error| format!("{number}: {error}"))?;
        } else if let Some(lines) = reader.block_at(line, after_blank) {
            let commands = joined(&lines);
            blocks.push(Block { line: number, commands, notes: std::mem::take(&mut notes) });
        } else if line.trim_start().starts_with("```") {
            reader.fenced();
        } else if !line.trim().is_empty() && notes != Notes::default() {
            return Err(format!("{number}: the notes above belong to no command block"));
        }
        after_blank = line.trim().is_empty() || line.trim_start().starts_with("<!--");
    }
    Ok(blocks)
}

struct Reader<'a> {
    lines: Vec<(usize, &'a str)>,
    next: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<(usize, &'a str)> {
        let line = self.lines.get(self.next).copied();
        self.next += 1;
        line
    }

    /// The lines of the command block that begins with this line.
    fn block_at(&mut self, line: &'a str, after_blank: bool) -> Option<Vec<&'a str>> {
        if line.trim_start() == "```sh" {
            return Some(self.fenced());
        }
        let is_indented = after_blank && line.starts_with("    ");
        // A list item may contain a fenced block of another language.
        (is_indented && !line.trim_start().starts_with("```")).then(|| self.indented(line))
    }

    fn fenced(&mut self) -> Vec<&'a str> {
        let mut lines = Vec::new();
        while let Some((_, line)) = self.take() {
            if line.trim() == "```" {
                break;
            }
            lines.push(line.trim());
        }
        lines
    }

    fn indented(&mut self, first: &'a str) -> Vec<&'a str> {
        let mut lines = vec![first.trim()];
        while let Some((_, line)) = self.lines.get(self.next)
            && line.starts_with("    ")
        {
            lines.push(line.trim());
            self.next += 1;
        }
        lines
    }
}

/// One command for each line, or for the lines that a backslash continues.
fn joined(lines: &[&str]) -> Vec<String> {
    let text = lines.join("\n").replace("\\\n", "");
    let commands = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    commands.map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(page: &str) -> Vec<Vec<String>> {
        blocks(page).unwrap().into_iter().map(|block| block.commands).collect()
    }

    #[test]
    fn blocks_are_fenced_as_shell_or_indented() {
        let page = "Text:\n\n    one\n    two\n\n```sh\n# Comment.\nthree \\\n  more\n```\n\
                    ```toml\n    a = 1\n```\n\n1. Item:\n\n       four\n";
        assert_eq!(commands(page), [vec!["one", "two"], vec!["three more"], vec!["four"]]);
    }

    #[test]
    fn an_indented_line_that_continues_a_paragraph_is_no_block() {
        assert_eq!(commands("<img\n    src=\"a\">\n"), Vec::<Vec<String>>::new());
    }

    #[test]
    fn notes_belong_to_the_next_block() {
        let page = "<!-- docs: skip: takes an hour -->\n    one\n\n\
                    <!-- docs: first: echo a: b -->\n<!-- docs: expect: c -->\n\n```sh\ntwo\n```\n";
        let blocks = blocks(page).unwrap();
        assert_eq!(blocks[0].notes.reason_against("one"), Some("takes an hour"));
        assert_eq!(blocks[1].notes.first, ["echo a: b"]);
        assert_eq!(blocks[1].notes.expect, ["c"]);
        assert_eq!((blocks[1].line, blocks[1].notes.reason_against("two")), (7, None));
    }

    #[test]
    fn a_note_skips_the_commands_that_contain_its_text() {
        let page = "<!-- docs: skip man -l: needs a terminal -->\n    carafe man\n    man -l -\n";
        let blocks = blocks(page).unwrap();
        assert_eq!(blocks[0].notes.reason_against("carafe man"), None);
        assert_eq!(blocks[0].notes.reason_against("man -l -"), Some("needs a terminal"));
    }

    #[test]
    fn a_note_without_a_block_or_of_unknown_kind_is_an_error() {
        assert!(blocks("<!-- docs: skip: x -->\nText.\n").is_err());
        assert!(blocks("<!-- docs: skipp: x -->\n    one\n").is_err());
    }
}
