//! Opening a log: cleans up after a crash, and distinguishes a crash from damage.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use carafe_protocol::{Generation, Position};

use crate::disk::format::clean_mark::clean_mark;
use crate::disk::format::codec::length;
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

/// Begins a new generation after the last entry, and returns its position. `None` if there is no
/// log.
pub(crate) fn restore(storage: &dyn Storage) -> Result<Option<Position>, OpenError> {
    let Some(Checked { sealed, newest, scan, .. }) = Checked::read(storage)? else {
        return Ok(None);
    };
    // The segment gets its full size when a hub opens the log.
    let options = DiskOptions { segment_bytes: Some(length(HEADER)), ..DiskOptions::default() };
    let last = scan.summary.last;
    begin_generation(storage, &options, sealed, newest, scan)?;
    Ok(Some(last))
}

/// An undamaged log. Remains of a crash are removed, except a torn end.
struct Checked {
    sealed: VecDeque<Arc<Sealed>>,
    newest: Segment,
    scan: Scanned,
    lifecycle: Lifecycle,
    erasures: Erasures,
}

impl Checked {
    fn read(storage: &dyn Storage) -> Result<Option<Self>, OpenError> {
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

fn begin(storage: &dyn Storage, options: &DiskOptions) -> io::Result<(State, u32)> {
    let generation = Generation::new(rand::random());
    let tail = Position { generation, offset: 0, nonce: 0 };
    let header = Header::new(rand::random(), generation, tail);
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
        return begin_generation(storage, options, sealed, segment, scan);
    }
    if !segment.header.kinds {
        return go_on_in_new_format(storage, options, sealed, segment, scan);
    }
    let room_to = u32::try_from(segment.file.size()?).unwrap_or(u32::MAX);
    let Scanned { end, index, summary, .. } = scan;
    let first = (summary.entries > 0).then_some(summary.first);
    let active = Active { segment, index: Arc::new(index), first, end, newest: summary.newest };
    Ok((state(sealed, active, summary.last), room_to))
}

/// Begins a new generation. Positions that were assigned to lost entries after the cut must not
/// equal those of new entries.
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
