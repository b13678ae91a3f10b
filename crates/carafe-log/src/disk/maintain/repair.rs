//! `carafe log repair`: gives up damaged entries and keeps all others.
//!
//! A damaged segment is split. The commits before the damage stay in its file. Those after it are
//! written to a new segment, whose header records that entries before it are lost. Entries keep
//! their positions. If the damaged file cannot be used at all, the header of the next segment
//! records the loss.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position};

use crate::Entry;
use crate::disk::format::clean_mark::{clean_mark, remove_clean_mark};
use crate::disk::format::commit::{Commit, CommitEnd};
use crate::disk::format::header::{HEADER, Header};
use crate::disk::format::scan::{Content, Rest, Run};
use crate::disk::maintain::check::{Finding, Found, OfflineLog, Progress};
use crate::disk::maintain::open;
use crate::disk::options::OpenError;
use crate::disk::segment::file::Segment;
use crate::disk::segment::files::{self, FileKind};
use crate::disk::storage::{Storage, read_whole};

/// The steps of a repair, from [`OfflineLog::plan_repair`].
///
/// ```no_run
/// use carafe_log::OfflineLog;
///
/// # fn main() -> Result<(), carafe_log::OpenError> {
/// let log = OfflineLog::lock("/var/lib/carafe")?;
/// let plan = log.plan_repair(&mut |_, _| {})?;
/// println!("keeps {} entries", plan.kept());
/// plan.apply()?;
/// # Ok(()) }
/// ```
pub struct RepairPlan {
    storage: Arc<dyn Storage>,
    findings: Vec<Finding>,
    losses: Vec<Loss>,
    backups: Vec<String>,
    kept: u64,
    steps: Vec<Step>,
    lost_end: bool,
}

/// A range of lost entries.
///
/// ```no_run
/// use carafe_log::{Loss, OfflineLog};
///
/// # fn main() -> Result<(), carafe_log::OpenError> {
/// let plan = OfflineLog::lock("/var/lib/carafe")?.plan_repair(&mut |_, _| {})?;
/// for Loss { offsets, .. } in plan.losses() {
///     println!("lost: {offsets:?}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The offsets, if they are known. At the end of a log, they may not be.
    pub offsets: Option<RangeInclusive<Offset>>,
    /// The times of the last entry before the lost ones and of the first one after them.
    pub between: (Option<SystemTime>, Option<SystemTime>),
}

enum Step {
    /// Removes a wrong index. It is made again when the log is opened.
    RemoveIndex(String),
    /// Renames a segment of which nothing can be read.
    SetAside { name: String, backup: String },
    /// Keeps only these runs of a segment.
    Split { segment: Segment, runs: Vec<Run>, backup: String },
    /// Records in the header that entries before the segment are lost.
    MarkHole(Segment),
    /// Removes the clean mark, which is no longer true.
    RemoveMark,
}

impl OfflineLog {
    /// Determines what a repair would keep and lose. Changes nothing.
    ///
    /// # Errors
    /// When the disk cannot be read, or a file has a newer version of the format.
    pub fn plan_repair(&self, progress: Progress<'_>) -> Result<RepairPlan, OpenError> {
        let names = files::segments(&*self.storage)?;
        let mut planner = Planner::new(self);
        for (done, name) in names.iter().enumerate() {
            progress(done, names.len());
            planner.look_at(name, done + 1 == names.len())?;
        }
        progress(names.len(), names.len());
        Ok(planner.plan)
    }
}

/// Plans the repair, segment by segment in order.
struct Planner<'a> {
    log: &'a OfflineLog,
    plan: RepairPlan,
    /// The newest entry that is kept so far, or the position before all entries, which has no time.
    last: Option<(Position, Option<SystemTime>)>,
}

impl<'a> Planner<'a> {
    fn new(log: &'a OfflineLog) -> Self {
        let storage = Arc::clone(&log.storage);
        let plan = RepairPlan {
            storage,
            findings: Vec::new(),
            losses: Vec::new(),
            backups: Vec::new(),
            kept: 0,
            steps: Vec::new(),
            lost_end: false,
        };
        Self { log, plan, last: None }
    }

    fn look_at(&mut self, name: &str, newest: bool) -> Result<(), OpenError> {
        match self.log.look_at(name, newest)? {
            Found::Unused => {}
            Found::Whole(segment, scanned) | Found::Torn(segment, scanned) => {
                if self.is_left_over(&segment.header) {
                    return Ok(());
                }
                if let Some(finding) = self.log.look_at_index(&segment, &scanned)? {
                    self.plan.steps.push(Step::RemoveIndex(finding.file.clone()));
                    self.plan.findings.push(finding);
                }
                // Frees the index of the segment before its content is read once more.
                drop(scanned);
                let (runs, _) = Content::new(&*segment.file, segment.header)?.runs(|_, _| {})?;
                self.take_segment(&segment, runs.first());
                runs.iter().for_each(|run| self.keep(run));
            }
            Found::Damaged(finding) => {
                self.plan.findings.push(finding);
                self.damaged(name, newest)?;
            }
        }
        Ok(())
    }

    /// Whether an interrupted repair has written this segment. The new repair writes it again.
    fn is_left_over(&self, header: &Header) -> bool {
        header.after_hole && self.last.is_some_and(|(last, _)| header.previous.offset < last.offset)
    }

    fn damaged(&mut self, name: &str, newest: bool) -> Result<(), OpenError> {
        let storage = Arc::clone(&self.log.storage);
        let backup = files::backup(&*storage, name)?;
        self.plan.backups.push(backup.clone());
        if newest {
            self.plan.steps.push(Step::RemoveMark);
        }
        let Ok(Some(segment)) = Segment::open(&*storage, name.into()) else {
            if newest {
                self.lose_end(None);
            }
            self.plan.steps.push(Step::SetAside { name: name.into(), backup });
            return Ok(());
        };
        self.last.get_or_insert((segment.header.previous, None));
        let (runs, rest) = Content::new(&*segment.file, segment.header)?.runs(|_, _| {})?;
        let lost_end = newest && self.has_lost_end(&runs, rest)?;
        for run in &runs {
            if run.at == HEADER {
                self.take_segment(&segment, Some(run));
            } else {
                // Not below zero: offsets of entries begin at 1. The range is an upper bound,
                // because offsets have holes.
                self.lose_up_to(run.first.0.offset - 1, Some(run.first.1));
            }
            self.keep(run);
        }
        if lost_end {
            self.lose_end(clean_mark(&*storage)?.map(|(newest, _)| newest.offset));
        }
        self.plan.steps.push(Step::Split { segment, runs, backup });
        Ok(())
    }

    /// Whether entries may have followed the last valid commit of the newest segment.
    fn has_lost_end(&self, runs: &[Run], rest: Rest) -> io::Result<bool> {
        let mark = clean_mark(&*self.log.storage)?;
        let last = runs.last().map(|run| (run.last.0, run.end));
        // The mark is the only witness of entries whose bytes are gone without a trace.
        Ok(rest != Rest::Nothing || mark.is_some_and(|mark| Some(mark) != last))
    }

    /// Continues with a segment that follows the kept entries, or records the hole before it.
    fn take_segment(&mut self, segment: &Segment, first: Option<&Run>) {
        let header = &segment.header;
        self.last.get_or_insert((header.previous, None));
        // A segment is missing, or the one before it has lost its end.
        if self.last.is_some_and(|(last, _)| !open::follows(last, header)) {
            self.lose_up_to(header.previous.offset, first.map(|run| run.first.1));
            self.plan.steps.push(Step::MarkHole(segment.clone()));
        }
    }

    fn keep(&mut self, run: &Run) {
        self.plan.kept += run.entries;
        self.last = Some((run.last.0, Some(run.last.1)));
    }

    fn lose_up_to(&mut self, offset: Offset, next: Option<SystemTime>) {
        let offsets = self.last.map(|(last, _)| last.offset + 1..=offset);
        self.plan
            .losses
            .push(Loss { offsets, between: (self.last.and_then(|(_, time)| time), next) });
    }

    fn lose_end(&mut self, newest: Option<Offset>) {
        self.plan.lost_end = true;
        let offsets = self.last.zip(newest).map(|((last, _), newest)| last.offset + 1..=newest);
        let offsets = offsets.filter(|offsets| !offsets.is_empty());
        self.plan
            .losses
            .push(Loss { offsets, between: (self.last.and_then(|(_, time)| time), None) });
    }
}

impl RepairPlan {
    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The damage that was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The lost entries, in order.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// The names of the backups that the repair makes of damaged files.
    #[must_use]
    pub fn backups(&self) -> &[String] {
        &self.backups
    }

    /// The number of entries that are kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Repairs the log. If it is interrupted, another plan completes the repair.
    ///
    /// # Errors
    /// When the disk cannot be read or written.
    pub fn apply(self) -> io::Result<()> {
        let storage = &*self.storage;
        self.steps.iter().try_for_each(|step| step.apply(storage))?;
        if self.lost_end {
            leave_torn_end(storage)?;
        }
        storage.sync()
    }
}

impl Step {
    fn apply(&self, storage: &dyn Storage) -> io::Result<()> {
        match self {
            Self::RemoveIndex(name) => storage.remove(name),
            Self::SetAside { name, backup } => {
                storage.rename(name, backup)?;
                remove_derived(storage, name)
            }
            Self::Split { segment, runs, backup } => {
                copy(storage, segment, backup)?;
                split(storage, segment, runs)
            }
            Self::MarkHole(segment) => {
                // The header keeps its length and place, so it is written over. If that is torn,
                // the next repair finds a damaged header.
                let header = Header { after_hole: true, ..segment.header };
                segment.file.write_at(0, &header.encode())?;
                segment.file.sync()
            }
            Self::RemoveMark => remove_clean_mark(storage),
        }
    }
}

fn copy(storage: &dyn Storage, segment: &Segment, backup: &str) -> io::Result<()> {
    let copy = storage.create(backup)?;
    copy.write_at(0, &read_whole(&*segment.file)?)?;
    copy.sync()?;
    storage.sync()
}

/// Writes the runs after the damage to new segments, and only then truncates the damaged segment
/// before it: an interruption loses nothing.
fn split(storage: &dyn Storage, segment: &Segment, runs: &[Run]) -> io::Result<()> {
    let stays = runs.first().filter(|run| run.at == HEADER);
    // The first run stays in the damaged file if it begins right after the header.
    write_parts(storage, segment, usize::from(stays.is_some()))?;
    // The derived files describe the whole segment.
    remove_derived(storage, &segment.name)?;
    storage.sync()?;
    match stays {
        Some(run) => {
            segment.file.truncate(u64::from(run.end.at))?;
            segment.file.sync()
        }
        None => storage.remove(&segment.name),
    }
}

/// Makes the newest segment end with a torn commit. When the log is opened, it begins a new
/// generation, so that no new entry gets the position of a lost one.
fn leave_torn_end(storage: &dyn Storage) -> io::Result<()> {
    let Some(name) = files::segments(storage)?.pop() else { return Ok(()) };
    let Ok(Some(segment)) = Segment::open(storage, name) else { return Ok(()) };
    let (runs, _) = Content::new(&*segment.file, segment.header)?.runs(|_, _| {})?;
    let end = runs.last().map_or(HEADER as u64, |run| u64::from(run.end.at));
    segment.file.write_at(end, b"cut")?;
    segment.file.sync()
}

/// Writes each run from a number on to a new segment.
fn write_parts(storage: &dyn Storage, segment: &Segment, from: usize) -> io::Result<()> {
    let mut commits: Vec<Vec<Vec<Arc<Entry>>>> = Vec::new();
    Content::new(&*segment.file, segment.header)?.runs(|number, entries| {
        // Commits are kept apart, as they were: a segment is checked commit by commit.
        commits.resize_with(commits.len().max(number + 1), Vec::new);
        commits[number].push(entries.iter().cloned().map(Arc::new).collect());
    })?;
    commits.iter().skip(from).try_for_each(|commits| write_part(storage, segment.header, commits))
}

fn write_part(
    storage: &dyn Storage,
    damaged: Header,
    commits: &[Vec<Arc<Entry>>],
) -> io::Result<()> {
    // A run has at least one entry, so the offset is at least 1.
    let first = commits.iter().flatten().next().map_or(0, |entry| entry.offset());
    // The nonce of the lost entry with this offset is unknown. 0 matches none.
    let previous = Position { generation: damaged.generation, offset: first - 1, nonce: 0 };
    let header = Header { salt: rand::random(), previous, after_hole: true, ..damaged };
    let mut end = CommitEnd::of_empty(&header);
    let mut bytes = header.encode();
    for commit in commits {
        let commit = Commit::encode(commit, &header, end);
        bytes.extend_from_slice(&commit.bytes);
        end = commit.end;
    }
    // Under another name until it is complete and synced: an interrupted repair leaves no half
    // segment.
    let unfinished = format!("{}{}", header.name(), files::UNFINISHED);
    let file = storage.create(&unfinished)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    storage.rename(&unfinished, &header.name())?;
    storage.sync()
}

fn remove_derived(storage: &dyn Storage, segment: &str) -> io::Result<()> {
    for name in storage.list()? {
        let number = files::number(segment);
        if matches!(files::kind(&name), Some(FileKind::Derived { number: of, .. }) if of == number)
        {
            storage.remove(&name)?;
        }
    }
    Ok(())
}
