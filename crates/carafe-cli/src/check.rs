//! `carafe serve --check`: what a start would find, without starting.

use std::io::{self, ErrorKind};
use std::path::Path;

use bytesize::ByteSize;
use carafe_http::Options;
use carafe_log::{OfflineLog, OpenError};

use crate::cli::{LogPlace, ServeOptions};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::log_command::progress;
use crate::output::Output;

/// Prints what is valid. The options, the keys and the certificate have been loaded already: a bad
/// one has ended the program.
pub(crate) async fn report(
    options: &ServeOptions,
    cluster: Option<&Cluster>,
    access: &mut Options,
) -> Result<(), Failure> {
    // First, as it may fail: then nothing is printed on standard output.
    let log = match &options.hub.log {
        LogPlace::Memory => "in memory".into(),
        // The copies of a node are in folders of their own, and are compared with the engine.
        LogPlace::Disk(folder) if cluster.is_some() => {
            format!("copies are in {}", folder.display())
        }
        LogPlace::Disk(folder) => log(folder)?,
    };
    let path = |path: &Path| format!("{} is valid", path.display());
    let mut output = Output::new();
    line(&mut output, "settings", &options.hub.config.as_deref().map_or("valid".into(), path))?;
    for keys in [&options.keys.secret_file, &options.keys.keys].into_iter().flatten() {
        line(&mut output, "keys", &path(keys))?;
    }
    if let Some(certificate) = &options.tls_cert {
        line(&mut output, "certificate", &path(certificate))?;
    }
    line(&mut output, "log", &log)?;
    match cluster {
        Some(cluster) => cluster.check(&options.hub, access).await,
        None => Ok(()),
    }
}

fn line(output: &mut Output, what: &str, state: &str) -> io::Result<()> {
    output.line(&format!("{what:<12} {state}"))
}

/// Reads the whole log, unless a hub has it open.
fn log(folder: &Path) -> Result<String, Failure> {
    let path = folder.display();
    let log = match OfflineLog::lock(folder) {
        Ok(log) => log,
        Err(OpenError::Folder { error, .. }) if error.kind() == ErrorKind::NotFound => {
            return Ok(format!("{path} does not exist, and is created at the start"));
        }
        Err(OpenError::Folder { error, .. }) if error.kind() == ErrorKind::ResourceBusy => {
            return Ok(format!("{path} is in use by a hub, and was not read"));
        }
        Err(error) => return Err(error.into()),
    };
    let findings = log.verify(&mut progress())?;
    if !findings.is_empty() {
        return Err(Failure::failed(format!(
            "{} files of the log are damaged: carafe log verify {path} lists them",
            findings.len()
        )));
    }
    let stat = log.stat()?;
    let size = ByteSize::b(stat.bytes);
    Ok(format!("{path} is valid: {} events, {size}", stat.entries))
}
