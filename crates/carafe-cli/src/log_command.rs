//! `carafe log`: inspects and repairs a log on disk that no hub has open.

use std::io::{IsTerminal, stderr, stdin};
use std::path::Path;
use std::time::SystemTime;

use carafe_log::{Finding, Loss, OfflineLog, OpenError, RepairPlan, StoredErased};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::cli::{LogCommand, LogFolder, RepairOptions};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(command: &LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Verify(folder) => verify(folder),
        LogCommand::Repair(options) => repair(options),
        LogCommand::Restore(folder) => restore(folder),
        LogCommand::Stat(folder) => stat(folder),
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::failed(error)
    }
}

/// Prints one line per finding.
fn verify(folder: &LogFolder) -> Result<(), Failure> {
    let log = OfflineLog::lock(&folder.path)?;
    let findings = log.verify(&mut progress())?;
    print(&findings)?;
    print_erased(&log.erased(&mut progress())?)?;
    print_backups(&log.backups()?)?;
    if findings.is_empty() {
        return Ok(());
    }
    let (count, path) = (findings.len(), folder.path.display());
    let what_to_do = match is_copy(&log) {
        true => fill_again(&folder.path),
        false => format!("carafe log repair {path} --dry-run reports which events are lost"),
    };
    Err(Failure::failed(format!("{count} files of the log are damaged: {what_to_do}")))
}

/// Whether a node of a cluster fills the log. If no segment can be read, nobody knows.
fn is_copy(log: &OfflineLog) -> bool {
    log.is_supplied().unwrap_or(false)
}

/// What to do with a damaged copy: a repaired one would lack what decides over further events.
pub(crate) fn fill_again(folder: &Path) -> String {
    format!(
        "remove the folder {}, a copy of what the engine of a cluster has: the node fills it again",
        folder.display()
    )
}

/// Reports what was erased and is still stored. That is no damage.
fn print_erased(erased: &StoredErased) -> std::io::Result<()> {
    let since = erased.since.and_then(|since| Timestamp::try_from(since).ok());
    let since = since.map(|since| format!(", erased since {since}")).unwrap_or_default();
    match erased.entries {
        0 => Ok(()),
        count => Output::new().line(&format!(
            "{count} erased entries are still on the disk{since}: a hub removes them within \
             --erase-within"
        )),
    }
}

/// Reports what repairs have kept. That is no damage.
fn print_backups(backups: &[String]) -> std::io::Result<()> {
    let mut output = Output::new();
    backups.iter().try_for_each(|backup| {
        output.line(&format!(
            "{backup}: a repair has kept it; it may have erased events, and no hub removes it"
        ))
    })
}

/// Reports which events are lost, and repairs the log after confirmation.
fn repair(options: &RepairOptions) -> Result<(), Failure> {
    let log = OfflineLog::lock(&options.folder.path)?;
    let plan = log.plan_repair(&mut progress())?;
    print_plan(&plan, &options.folder.path)?;
    if !plan.is_empty() && is_copy(&log) {
        Output::new().line(&fill_again(&options.folder.path))?;
    }
    if plan.is_empty() || options.dry_run || !confirm(options.yes)? {
        return Ok(());
    }
    plan.apply()?;
    Ok(Output::new().line("repaired the log")?)
}

fn print_plan(plan: &RepairPlan, folder: &Path) -> std::io::Result<()> {
    print(plan.findings())?;
    let mut output = Output::new();
    for loss in plan.losses() {
        output.line(&line(loss))?;
    }
    if !plan.losses().is_empty() {
        output
            .line("an erasure among them does not hold any more: erase again what must be gone")?;
    }
    for backup in plan.backups() {
        output.line(&format!("the damaged file is kept as {}", folder.join(backup).display()))?;
    }
    output.line(&kept(plan.kept()))
}

fn kept(count: u64) -> String {
    if count == 1 {
        "1 entry is whole and stays".into()
    } else {
        format!("{count} entries are whole and stay")
    }
}

fn line(loss: &Loss) -> String {
    let entries = match &loss.offsets {
        Some(offsets) if offsets.start() == offsets.end() => {
            format!("entry {} is lost", offsets.start())
        }
        // Offsets may have holes, so this is an upper bound.
        Some(offsets) => {
            let count = offsets.end() - offsets.start() + 1;
            format!(
                "entries {} to {} are lost, up to {count} of them",
                offsets.start(),
                offsets.end()
            )
        }
        None => "entries with unknown offsets are lost".into(),
    };
    let time = |time: Option<SystemTime>| time.and_then(|time| Timestamp::try_from(time).ok());
    match (time(loss.between.0), time(loss.between.1)) {
        (Some(before), Some(after)) => format!("{entries}, stored between {before} and {after}"),
        (Some(before), None) => format!("{entries}, stored after {before}"),
        (None, Some(after)) => format!("{entries}, stored before {after}"),
        (None, None) => entries,
    }
}

/// Asks on a terminal; without one, `--yes` is required.
fn confirm(yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    // Both: the question goes to standard error, and a script must not answer it by accident.
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(Failure::failed(
            "nothing was changed: give --yes to repair the log, or --dry-run for a report only",
        ));
    }
    eprint!("repair the log? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn restore(folder: &LogFolder) -> Result<(), Failure> {
    let newest = OfflineLog::lock(&folder.path)?.restore()?;
    Ok(Output::new().line(&format!("started a new generation after {newest}"))?)
}

fn print(findings: &[Finding]) -> std::io::Result<()> {
    let mut output = Output::new();
    findings
        .iter()
        .try_for_each(|finding| output.line(&format!("{}: {}", finding.file, finding.what)))
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

/// A progress bar, which is shown on terminals only.
pub(crate) fn progress() -> impl FnMut(usize, usize) {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} segments, {eta} left");
    bar.set_style(style.expect("the template is valid"));
    move |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_entry_is_reported_by_its_offset_and_several_by_their_range() {
        let lost = |offsets| line(&Loss { offsets, between: (None, None) });
        assert_eq!(lost(Some(37..=37)), "entry 37 is lost");
        assert_eq!(lost(Some(37..=39)), "entries 37 to 39 are lost, up to 3 of them");
        assert_eq!(lost(None), "entries with unknown offsets are lost");
        assert_eq!(
            (kept(1), kept(0)),
            ("1 entry is whole and stays".into(), "0 entries are whole and stay".into())
        );
    }
}
