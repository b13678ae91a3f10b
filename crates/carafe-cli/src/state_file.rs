//! The file in which `carafe subscribe --state` keeps its position between runs.

use std::io;
use std::path::{Path, PathBuf};

use carafe_client::FileStore;

use crate::failure::Failure;

/// The ID of the last event that was printed.
pub(crate) struct StateFile {
    path: PathBuf,
    store: FileStore,
    saved: String,
}

impl StateFile {
    /// Reads the file. If it does not exist, there is no position yet.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let store = FileStore::new(path);
        let saved = match store.read() {
            // The IDs of a hub have no spaces: another file must not be overwritten.
            Ok(Some(id)) if id.is_empty() || id.contains(char::is_whitespace) => {
                Err(is_other(path))
            }
            Ok(id) => Ok(id.unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(is_other(path)),
            Err(error) => Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        Ok(Self { path: path.into(), store, saved: saved? })
    }

    /// The position; empty if there is none yet.
    pub(crate) fn id(&self) -> &str {
        &self.saved
    }

    pub(crate) fn save(&mut self, id: &str) -> Result<(), Failure> {
        if id.is_empty() || id == self.saved {
            return Ok(());
        }
        self.store.write(id).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.path.display()))
        })?;
        self.saved = id.into();
        Ok(())
    }
}

fn is_other(path: &Path) -> Failure {
    let path = path.display();
    Failure::usage(format!("{path} is not a state file: choose another, or delete it"))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
