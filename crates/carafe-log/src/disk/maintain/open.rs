//! Opening a log: what a crash left behind is put in order, and damage is told from it.

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
use crate::disk::segment::file::{Scanned, Segment};
use crate::disk::segment::files;
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::{Active, State};
use crate::disk::storage::Storage;

/// Opens what is there, or begins a log. The number is how far the active segment has room.
pub(crate) fn open(
    storage: &Arc<dyn Storage>,
    options: &DiskOptions,
) -> Result<(State, u32), OpenError> {
    let storage = &**storage;
    match Checked::read(storage)? {
        None => Ok(begin(storage, options)?),
        Some(Checked { sealed, newest, scan }) => {
            open_newest(storage, options, sealed, newest, scan)
        }
    }
}

/// Begins a new generation after the last entry, whose position it gives; `None` if there is no
/// log.
pub(crate) fn restore(storage: &dyn Storage) -> Result<Option<Position>, OpenError> {
    let Some(Checked { sealed, newest, scan }) = Checked::read(storage)? else { return Ok(None) };
    // The hub gives it the room that it wants.
    let options = DiskOptions { segment_bytes: Some(length(HEADER)), ..DiskOptions::default() };
    let last = scan.summary.last;
    begin_generation(storage, &options, sealed, newest, scan)?;
    Ok(Some(last))
}

/// A log that is not damaged, with what a crash left half done removed, but for a torn end.
struct Checked {
    sealed: VecDeque<Arc<Sealed>>,
    newest: Segment,
    scan: Scanned,
}

impl Checked {
    fn read(storage: &dyn Storage) -> Result<Option<Self>, OpenError> {
        let mut segments = segments(storage)?;
        let Some(newest) = segments.pop_back() else { return Ok(None) };
        let sealed =
            segments.into_iter().map(|segment| Sealed::open(storage, segment).map(Arc::new));
        let sealed = sealed.collect::<Result<VecDeque<_>, _>>()?;
        check_chain(&sealed, &newest)?;
        let scan = newest.scan()?;
        let clean = clean_mark(storage)?;
        // The mark stays on a log that is refused: without it, damage at the end would pass for a
        // torn commit.
        check_end(&newest, &scan, clean)?;
        if clean.is_none() {
            newest.make_durable(&scan)?;
            storage.sync()?;
        }
        tidy(storage, &sealed)?;
        Ok(Some(Self { sealed, newest, scan }))
    }
}

fn begin(storage: &dyn Storage, options: &DiskOptions) -> io::Result<(State, u32)> {
    let generation = Generation::new(rand::random());
    let tail = Position { generation, offset: 0, nonce: 0 };
    let header = Header { salt: rand::random(), generation, previous: tail, after_hole: false };
    let segment = Segment::create(storage, header, options.segment_size())?;
    Ok((state(VecDeque::new(), Active::empty(segment), tail), options.segment_size()))
}

fn state(sealed: VecDeque<Arc<Sealed>>, active: Active, tail: Position) -> State {
    State { sealed: Arc::new(sealed), active, tail, followers: Vec::new() }
}

/// All segments in order, but one that was only being made when the machine stopped.
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

/// Each segment names the last position of the one before. None may be missing in between, unless a
/// repair says so.
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

/// Whether nothing is missing between an entry and the next segment, or it is known what is.
pub(crate) fn follows(last: Position, next: &Header) -> bool {
    next.previous == last || (next.after_hole && next.previous.offset >= last.offset)
}

/// Removes what a crash left half done, and what no segment belongs to.
fn tidy(storage: &dyn Storage, sealed: &VecDeque<Arc<Sealed>>) -> io::Result<()> {
    let keeps =
        |number: &str| sealed.iter().any(|sealed| files::number(&sealed.segment.name) == number);
    let foreign = files::tidy(storage, keeps)?;
    if !foreign.is_empty() {
        let files = foreign.join(", ");
        tracing::warn!(
            files,
            "these files in the log's folder are not the log's; they stay as they are"
        );
    }
    Ok(())
}

/// A log that was closed in order ends where its mark says. Another may end with what a crash left
/// of a commit.
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
            "cut off what was being written when the machine stopped"
        );
        return begin_generation(storage, options, sealed, segment, scan);
    }
    let room_to = u32::try_from(segment.file.size()?).unwrap_or(u32::MAX);
    let Scanned { end, index, summary, .. } = scan;
    let first = (summary.entries > 0).then_some(summary.first);
    let active = Active { segment, index: Arc::new(index), first, end, newest: summary.newest };
    Ok((state(sealed, active, summary.last), room_to))
}

/// Goes on in a new generation: whatever stood beyond the cut must not be taken for what comes
/// there now.
fn begin_generation(
    storage: &dyn Storage,
    options: &DiskOptions,
    mut sealed: VecDeque<Arc<Sealed>>,
    segment: Segment,
    scan: Scanned,
) -> Result<(State, u32), OpenError> {
    let generation = Generation::new(rand::random());
    let Scanned { end, index, summary, .. } = scan;
    let header =
        Header { salt: rand::random(), generation, previous: summary.last, after_hole: false };
    // Once others follow, what is cut off here would be damage.
    segment.file.truncate(u64::from(end.at))?;
    segment.file.sync()?;
    if summary.entries > 0 {
        let newest = Sealed::freeze(segment, end.at, Arc::new(index), summary)?;
        newest.settle(storage)?;
        sealed.push_back(Arc::new(newest));
    }
    // An empty one has the same name, and is replaced.
    let segment = Segment::create(storage, header, options.segment_size())?;
    Ok((state(sealed, Active::empty(segment), summary.last), options.segment_size()))
}
