//! The file in which `carafe subscribe --state` keeps its position between runs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The ID of the last event that was printed.
pub(crate) struct StateFile {
    path: PathBuf,
    saved: String,
}

impl StateFile {
    /// Reads the file. If it does not exist, there is no position yet.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let saved = match fs::read_to_string(path) {
            Ok(text) => one_id(&text).ok_or_else(|| {
                let path = path.display();
                Failure::usage(format!("{path} is not a state file: choose another, or delete it"))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Failure::usage(format!("cannot read {}: {error}", path.display())));
            }
        };
        Ok(Self { path: path.into(), saved })
    }

    /// The position; empty if there is none yet.
    pub(crate) fn id(&self) -> &str {
        &self.saved
    }

    pub(crate) fn save(&mut self, id: &str) -> Result<(), Failure> {
        if id.is_empty() || id == self.saved {
            return Ok(());
        }
        replace(&self.path, id).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.path.display()))
        })?;
        self.saved = id.into();
        Ok(())
    }
}

/// Replaces the file at once: after a crash it has the old position or the new one.
fn replace(path: &Path, id: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    writeln!(file, "{id}")?;
    // Before the rename, or a power failure could leave an empty file under the name.
    file.sync_all()?;
    fs::rename(new, path)
}

fn one_id(text: &str) -> Option<String> {
    let id = text.strip_suffix('\n')?;
    (!id.is_empty() && !id.contains(char::is_whitespace)).then(|| id.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_position_is_read_again_and_other_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut state = StateFile::load(&path).unwrap();
        assert_eq!(state.id(), "");
        state.save("").unwrap();
        assert!(!path.exists());
        for id in ["1-2-3", "1-4-5"] {
            state.save(id).unwrap();
            assert_eq!(StateFile::load(&path).unwrap().id(), id);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for text in ["", "\n", "1-2-3", "two words\n", "1-2-3\n1-2-4\n"] {
            fs::write(&path, text).unwrap();
            assert!(StateFile::load(&path).is_err(), "{text:?}");
        }
    }
}
