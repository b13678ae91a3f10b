//! Opening a log: cleans up after a crash, and distinguishes a crash from damage.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use carafe_protocol::{Generation, Offset, Position};

use crate::codec::length;
use crate::disk::format::clean_mark::clean_mark;
use crate::disk::format::commit::CommitEnd;
use crate::disk::format::header::{HEADER, Header};
use crate::disk::format::scan::Rest;
use crate::disk::options::{DiskOptions, OpenError};
use crate::disk::pace::Pace;
use crate::disk::segment::file::{Scanned, Segment};
use crate::disk::segment::files;
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::{Active, Opened, State};
use crate::disk::storage::Storage;
use crate::lifecycle::Lifecycle;
use crate::{Entry, Erasures};

/// Opens an existing log or creates one.
pub(crate) fn open(storage: &Arc<dyn Storage>, options: &DiskOptions) -> Result<Opened, OpenError> {
    let storage = &**storage;
    check_owner(storage, options)?;
    let (lifecycle, erasures, (mut state, room_to)) = match Checked::read(storage)? {
        None => (Lifecycle::default(), Erasures::default(), begin(storage, options)?),
        Some(Checked { sealed, newest, scan, lifecycle, erasures }) => {
            (lifecycle, erasures, open_newest(storage, options, sealed, newest, scan)?)
        }
    };
    // Which of them were carried out is found out in the background.
    state.erasures = (!erasures.is_empty()).then(|| Arc::new(erasures));
    Ok(Opened { state, room_to, lifecycle })
}

/// Checks that the log is the one that the options describe. Changes nothing.
fn check_owner(storage: &dyn Storage, options: &DiskOptions) -> Result<(), OpenError> {
    for name in files::segments(storage)?.into_iter().rev() {
        // The newest may have been begun only.
        let Some(Segment { header, .. }) = Segment::open(storage, name)? else { continue };
        let (expected, found) = (options.supplied, header.supplied.then_some(header.generation));
        return if expected == found {
            Ok(())
        } else {
            Err(OpenError::OtherLog { expected, found })
        };
    }
    Ok(())
}

/// Begins a new generation after the last entry, and returns its position. `None` if there is no
/// log. A supplied log has the generation that it is supplied with, and keeps it.
pub(crate) fn restore(storage: &dyn Storage) -> Result<Option<Position>, OpenError> {
    let Some(Checked { sealed, newest, scan, .. }) = Checked::read(storage)? else {
        return Ok(None);
    };
    // The segment gets its full size when a hub opens the log.
    let options = DiskOptions { segment_bytes: Some(length(HEADER)), ..DiskOptions::default() };
    let last = scan.summary.last;
    if !newest.header.supplied {
        begin_generation(storage, &options, sealed, newest, scan)?;
    }
    Ok(Some(last))
}

/// An undamaged log. Remains of a crash are removed, except a torn end.
pub(crate) struct Checked {
    sealed: VecDeque<Arc<Sealed>>,
    newest: Segment,
    scan: Scanned,
    lifecycle: Lifecycle,
    erasures: Erasures,
}

impl Checked {
    pub(crate) fn read(storage: &dyn Storage) -> Result<Option<Self>, OpenError> {
        let mut segments = segments(storage)?;
        let Some(newest) = segments.pop_back() else { return Ok(None) };
        let mut sealed = VecDeque::new();
        let (mut lifecycle, mut erasures) = (Lifecycle::default(), Erasures::default());
        let mut apply = |control: &[Entry]| {
            for entry in control {
                lifecycle.apply(entry);
                erasures.add(entry);
            }
        };
        for segment in segments {
            let (segment, control) = Sealed::open(storage, segment)?;
            sealed.push_back(Arc::new(segment));
            apply(&control);
        }
        check_chain(&sealed, &newest)?;
        let scan = newest.scan()?;
        apply(&scan.control);
        let clean = clean_mark(storage)?;
        // The mark stays if opening fails. Without the mark, damage at the end would pass for a
        // torn commit at the next attempt.
        check_end(&newest, &scan, clean)?;
        if clean.is_none() {
            newest.make_durable(&scan)?;
            storage.sync()?;
        }
        tidy(storage, &sealed)?;
        Ok(Some(Self { sealed, newest, scan, lifecycle, erasures }))
    }
}

/// Whether an entry after an offset is an erasure.
pub(crate) fn erases_after(log: &Checked, to: Offset) -> bool {
    log.erasures.newest() > to
}

/// The segments in order, each with its last offset.
pub(crate) fn segments_of(log: &Checked) -> Vec<(Segment, Offset)> {
    let sealed = log.sealed.iter();
    let sealed = sealed.map(|sealed| (sealed.segment.clone(), sealed.last_offset()));
    sealed.chain([(log.newest.clone(), log.scan.summary.last.offset)]).collect()
}

fn begin(storage: &dyn Storage, options: &DiskOptions) -> io::Result<(State, u32)> {
    let generation = options.supplied.unwrap_or_else(|| Generation::new(rand::random()));
    let tail = Position { generation, offset: options.begins_after, nonce: 0 };
    let supplied = options.supplied.is_some();
    let header = Header { supplied, ..Header::new(rand::random(), generation, tail) };
    let segment = Segment::create(storage, header, options.segment_size())?;
    Ok((state(VecDeque::new(), Active::empty(segment), tail), options.segment_size()))
}

fn state(sealed: VecDeque<Arc<Sealed>>, active: Active, tail: Position) -> State {
    State {
        sealed: Arc::new(sealed),
        active,
        tail,
        followers: Vec::new(),
        erasures: None,
        erased_to: 0,
    }
}

/// All segments in order, except one that was being created when the machine stopped.
fn segments(storage: &dyn Storage) -> Result<VecDeque<Segment>, OpenError> {
    let names = files::segments(storage)?;
    let mut segments = VecDeque::new();
    let newest = names.last().cloned();
    for name in names {
        match Segment::open(storage, name.clone())? {
            Some(segment) => segments.push_back(segment),
            None if Some(&name) == newest.as_ref() => {
                storage.remove(&name)?;
                storage.sync()?;
            }
            None => {
                return Err(OpenError::Damaged(format!("{name} is empty, and others follow it")));
            }
        }
    }
    Ok(segments)
}

/// Checks that each segment names the last position of the one before it, unless a repair has
/// recorded a hole.
fn check_chain(sealed: &VecDeque<Arc<Sealed>>, newest: &Segment) -> Result<(), OpenError> {
    let next = sealed.iter().skip(1).map(|sealed| &sealed.segment).chain([newest]);
    for (one, next) in sealed.iter().zip(next) {
        if !follows(one.summary.last, &next.header) {
            let (one, next) = (&one.segment.name, &next.name);
            return Err(OpenError::Damaged(format!(
                "entries are missing between {one} and {next}"
            )));
        }
    }
    Ok(())
}

/// Whether no entry is missing between a position and the next segment, or the missing entries are
/// recorded as a hole.
pub(crate) fn follows(last: Position, next: &Header) -> bool {
    next.previous == last || (next.after_hole && next.previous.offset >= last.offset)
}

/// Removes unfinished files, and files that belong to no segment.
fn tidy(storage: &dyn Storage, sealed: &VecDeque<Arc<Sealed>>) -> io::Result<()> {
    let keeps =
        |number: &str| sealed.iter().any(|sealed| files::number(&sealed.segment.name) == number);
    let foreign = files::tidy(storage, keeps)?;
    if !foreign.is_empty() {
        let files = foreign.join(", ");
        tracing::warn!(
            files,
            "the directory has files that do not belong to the log; they are left alone"
        );
    }
    Ok(())
}

/// Checks the end of the log. With a clean mark, the log has to end where the mark says. Without
/// one, it may end with a torn commit.
fn check_end(
    newest: &Segment,
    scan: &Scanned,
    clean: Option<(Position, CommitEnd)>,
) -> Result<(), OpenError> {
    let is_as_marked = clean.is_none_or(|clean| clean == (scan.summary.last, scan.end));
    match scan.rest {
        Rest::Nothing if is_as_marked => Ok(()),
        Rest::Torn if clean.is_none() => Ok(()),
        _ => {
            let (name, at) = (&newest.name, scan.end.at);
            Err(OpenError::Damaged(format!("{name} is not what was written from byte {at} on")))
        }
    }
}

fn open_newest(
    storage: &dyn Storage,
    options: &DiskOptions,
    sealed: VecDeque<Arc<Sealed>>,
    segment: Segment,
    scan: Scanned,
) -> Result<(State, u32), OpenError> {
    if scan.rest == Rest::Torn {
        let (name, at) = (&segment.name, scan.end.at);
        tracing::warn!(
            segment = name,
            at,
            "removed a commit that was incomplete when the machine stopped"
        );
        if segment.header.supplied {
            return Ok(go_on_after_torn(options, sealed, segment, scan)?);
        }
        return begin_generation(storage, options, sealed, segment, scan);
    }
    if !segment.header.kinds {
        return go_on_in_new_format(storage, options, sealed, segment, scan);
    }
    let room_to = u32::try_from(segment.file.size()?).unwrap_or(u32::MAX);
    Ok((active(sealed, segment, scan), room_to))
}

/// Goes on in the newest segment.
fn active(sealed: VecDeque<Arc<Sealed>>, segment: Segment, scan: Scanned) -> State {
    let Scanned { end, index, summary, .. } = scan;
    let first = (summary.entries > 0).then_some(summary.first);
    let active = Active { segment, index: Arc::new(index), first, end, newest: summary.newest };
    state(sealed, active, summary.last)
}

/// Cuts off a torn commit, and goes on in the same segment and generation: what is lost is supplied
/// again, with the positions that it had.
fn go_on_after_torn(
    options: &DiskOptions,
    sealed: VecDeque<Arc<Sealed>>,
    segment: Segment,
    scan: Scanned,
) -> io::Result<(State, u32)> {
    let (end, size) = (scan.end.at, options.segment_size());
    segment.file.truncate(u64::from(end))?;
    let is_allocated = size > end && segment.file.allocate(u64::from(size)).is_ok();
    // The torn bytes must not appear behind the next commit.
    segment.file.sync()?;
    Ok((active(sealed, segment, scan), if is_allocated { size } else { end }))
}

/// Begins a new generation of a log that is not supplied. Positions that were assigned to lost
/// entries after the cut must not equal those of new entries.
fn begin_generation(
    storage: &dyn Storage,
    options: &DiskOptions,
    mut sealed: VecDeque<Arc<Sealed>>,
    segment: Segment,
    scan: Scanned,
) -> Result<(State, u32), OpenError> {
    let generation = Generation::new(rand::random());
    let header = Header::new(rand::random(), generation, scan.summary.last);
    // The torn commit is removed: once another segment follows, it would count as damage.
    segment.file.truncate(u64::from(scan.end.at))?;
    segment.file.sync()?;
    if scan.summary.entries > 0 {
        sealed.push_back(seal(storage, segment, scan)?);
    }
    // A segment without entries has the same name as the new one and is replaced.
    let last = header.previous;
    let segment = Segment::create(storage, header, options.segment_size())?;
    Ok((state(sealed, Active::empty(segment), last), options.segment_size()))
}

/// Begins a segment of the newest version: no entry that an older program does not know may get
/// into a segment that it would read. The generation stays.
fn go_on_in_new_format(
    storage: &dyn Storage,
    options: &DiskOptions,
    mut sealed: VecDeque<Arc<Sealed>>,
    segment: Segment,
    scan: Scanned,
) -> Result<(State, u32), OpenError> {
    let (Header { salt, generation, .. }, last) = (segment.header, scan.summary.last);
    let header = Header::new(salt, generation, last);
    let segment = if scan.summary.entries > 0 {
        sealed.push_back(seal(storage, segment, scan)?);
        Segment::create(storage, header, options.segment_size())?
    } else {
        // The hole before it stays, and so does its generation, whenever the machine stops.
        let header = Header { kinds: true, ..segment.header };
        Segment::replace(storage, header, options.segment_size())?
    };
    Ok((state(sealed, Active::empty(segment), last), options.segment_size()))
}

fn seal(storage: &dyn Storage, segment: Segment, scan: Scanned) -> io::Result<Arc<Sealed>> {
    let sealed = Sealed::freeze(segment, scan.end.at, Arc::new(scan.index), scan.summary)?;
    sealed.settle(storage, &Pace::urgent())?;
    Ok(Arc::new(sealed))
}
