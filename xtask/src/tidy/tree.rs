//! The files of the repository, as text.

use std::fs;
use std::io;
use std::path::Path;

/// What is not part of the sources.
const SKIPPED: [&str; 4] = [".git", "corpus", "node_modules", "target"];

const EXTENSIONS: [&str; 7] = ["rs", "md", "toml", "yml", "mjs", "conf", "html"];

/// A text file, its path relative to the root of the repository.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(super) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// The crate's folder and the path below its `src`, of a source file of a crate.
    pub(super) fn source(&self) -> Option<(&str, &str)> {
        let (folder, below) = self.path.split_once("/src/")?;
        self.is_rust().then_some((folder, below))
    }

    /// The lines of code, each with its number from 1 on. Comments, and the tests at the end of a
    /// file, are left out.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = (1..).zip(self.text[..end].lines());
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

pub(super) fn read(root: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    read_folder(root, "", &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if name.rsplit_once('.').is_some_and(|(_, end)| EXTENSIONS.contains(&end)) {
            files.push(File { text: fs::read_to_string(entry.path())?, path });
        }
    }
    Ok(())
}

#[cfg(test)]
impl File {
    pub(super) fn of(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}
