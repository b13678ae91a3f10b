//! `carafe log`.

use carafe_log::{Finding, OfflineLog, OpenError};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{LogCommand, LogFolder};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(command: &LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Verify(folder) => verify(folder),
        LogCommand::Repair(folder) => repair(folder),
        LogCommand::Restore(folder) => restore(folder),
        LogCommand::Stat(folder) => stat(folder),
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::failed(error)
    }
}

/// Prints a line for each finding.
fn verify(folder: &LogFolder) -> Result<(), Failure> {
    let findings = OfflineLog::lock(&folder.path)?.verify(&mut progress())?;
    print(&findings)?;
    if findings.is_empty() {
        return Ok(());
    }
    let count = findings.len();
    let way = format!("carafe log repair {}", folder.path.display());
    Err(Failure::failed(format!(
        "{count} of the log's files are not what was written; {way} gives up what is lost"
    )))
}

fn repair(folder: &LogFolder) -> Result<(), Failure> {
    let findings = OfflineLog::lock(&folder.path)?.repair(&mut progress())?;
    Ok(print(&findings)?)
}

fn restore(folder: &LogFolder) -> Result<(), Failure> {
    let newest = OfflineLog::lock(&folder.path)?.restore()?;
    Ok(Output::new().line(&format!("a new generation begins after {newest}"))?)
}

fn print(findings: &[Finding]) -> std::io::Result<()> {
    let mut output = Output::new();
    findings.iter().try_for_each(|finding| output.line(&format!("{}: {}", finding.file, finding.what)))
}

fn stat(folder: &LogFolder) -> Result<(), Failure> {
    let stat = OfflineLog::lock(&folder.path)?.stat()?;
    let mut output = Output::new();
    output.line(&format!("segments  {}", stat.segments))?;
    output.line(&format!("entries   {}", stat.entries))?;
    output.line(&format!("bytes     {}", stat.bytes))?;
    if let Some((oldest, newest)) = stat.span {
        output.line(&format!("oldest    {oldest}"))?;
        output.line(&format!("newest    {newest}"))?;
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress() -> impl FnMut(usize, usize) {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} segments, {eta} left");
    bar.set_style(style.expect("the template is right"));
    move |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}
