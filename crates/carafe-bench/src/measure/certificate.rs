//! A certificate for 127.0.0.1, which the load trusts.

use std::fs;
use std::path::PathBuf;

use rcgen::generate_simple_self_signed;
use tempfile::TempDir;

use crate::outcome::Outcome;

/// PEM files, which are removed when this is dropped.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let issued = generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let certificate = Self { folder };
        fs::write(certificate.chain(), issued.cert.pem())?;
        fs::write(certificate.key(), issued.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// The paths of the chain and of the key.
    pub(crate) fn files(&self) -> [String; 2] {
        [self.chain(), self.key()].map(|file| file.display().to_string())
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
