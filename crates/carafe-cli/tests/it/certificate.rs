//! Self-signed certificates.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::process::Process;

/// A certificate of this machine, and its key, as files.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let certificate = Self { folder: TempDir::new().unwrap() };
        certificate.renew();
        certificate
    }

    /// Puts another certificate, and its key, in the place of the old.
    pub(crate) fn renew(&self) {
        let made =
            rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
        fs::write(self.path(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// What makes a hub show it.
    pub(crate) fn options(&self) -> [String; 4] {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        ["--tls-cert".into(), path(self.path()), "--tls-key".into(), path(self.key())]
    }

    /// A request by `curl`, which trusts this certificate alone.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Output {
        let path = self.path();
        curl(&[&["--cacert", path.to_str().unwrap()], arguments].concat())
    }

    /// A stream that `curl` reads, which trusts this certificate alone.
    pub(crate) fn curl_stream(&self, arguments: &[&str]) -> Process {
        let path = self.path();
        curl_stream(&[&["--cacert", path.to_str().unwrap()], arguments].concat())
    }

    /// A copy of the certificate as it is now, for a client that trusts only this one.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        fs::copy(self.path(), &copy).unwrap();
        copy
    }
}

/// A request by `curl`, and its output.
pub(crate) fn curl(arguments: &[&str]) -> Output {
    let common = ["--silent", "--show-error", "--max-time", "30"];
    Command::new("curl").args(common).args(arguments).output().unwrap()
}

/// A stream that `curl` reads.
pub(crate) fn curl_stream(arguments: &[&str]) -> Process {
    let common = ["--silent", "--show-error", "--no-buffer"];
    Process::start(Command::new("curl").args(common).args(arguments))
}
