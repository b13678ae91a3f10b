//! Repairing gives up what is damaged, and nothing else.

use carafe_log::contract::helpers::{
    NO_LIMIT, append_one, keyed, positions, publication, topic, wait,
};
use carafe_log::{Append, Appended, DiskLog, Find, Read, ReadError, RepairPlan, Storage};
use carafe_protocol::{Position, TopicMatcher};

use crate::disk::{flip, offline, open, segments, small_segments, verify};
use crate::sim::SimDisk;

/// Bytes of a segment's header, and of each entry's commit below.
const HEADER: usize = 48;

/// A log that was closed in order, with entries of one size and a key each.
fn filled(count: usize) -> (SimDisk, Vec<Position>) {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let stored_at =
        (0..count).map(|number| append_one(&log, keyed("a", &format!("{number:03}")))).collect();
    (disk, stored_at)
}

fn plan(disk: &SimDisk) -> RepairPlan {
    offline(disk).plan_repair(&mut |_, _| {}).unwrap()
}

/// Where the commit of the entry with this number in its segment stands.
fn commit(number: usize) -> usize {
    let (one, _) = filled(1);
    let size =
        one.content()["00000000000000000001.segment"].iter().rposition(|byte| *byte != 0).unwrap()
            + 1;
    HEADER + number * (size - HEADER)
}

/// All entries that a reader gets, and the positions after which it got an error that entries are
/// lost.
fn read_over_holes(log: &DiskLog) -> (Vec<Position>, Vec<u64>) {
    read_wanted_over_holes(log, &TopicMatcher::any())
}

/// The same for what is wanted.
fn read_wanted_over_holes(log: &DiskLog, wanted: &TopicMatcher) -> (Vec<Position>, Vec<u64>) {
    let (mut entries, mut holes, mut after) = (Vec::new(), Vec::new(), log.span().start.offset);
    while after < log.span().tail.offset {
        match wait(log.read(after, vec![wanted.clone()], NO_LIMIT)) {
            Ok(block) => {
                entries.extend(positions(&block.entries));
                after = block.up_to.offset;
            }
            Err(ReadError::Lost { after: lost, up_to }) => {
                assert_eq!(
                    wait(log.find(up_to)).unwrap(),
                    Find::Found,
                    "a client resumes from the gap"
                );
                holes.push(lost);
                after = up_to.offset;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (entries, holes)
}

/// Damages one entry, repairs the log, and expects all others to stay.
fn loses_only(number: usize, count: usize, flip_at: impl Fn(usize) -> usize) {
    let (disk, stored_at) = filled(count);
    let name = segments(&disk).into_iter().rfind(|name| first(name) <= number as u64 + 1).unwrap();
    let content = disk.content();
    flip(&disk, &name, flip_at(number + 1 - usize::try_from(first(&name)).unwrap()));
    assert!(!verify(&disk).is_empty());
    let damaged = disk.content();
    let planned = plan(&disk);
    assert_eq!(disk.content(), damaged, "a plan changes nothing");
    let lost = stored_at[number].offset;
    assert_eq!(
        planned.losses().iter().map(|loss| loss.offsets.clone()).collect::<Vec<_>>(),
        [Some(lost..=lost)]
    );
    assert_eq!(
        (planned.kept(), planned.backups()),
        (count as u64 - 1, &[format!("{name}.damaged")][..])
    );
    planned.apply().unwrap();
    assert_eq!(disk.content()[&format!("{name}.damaged")], damaged[&name]);
    assert_ne!(content[&name], damaged[&name]);
    is_whole_but_for(&disk, &stored_at, number);
}

fn is_whole_but_for(disk: &SimDisk, stored_at: &[Position], number: usize) {
    assert_eq!(verify(disk), []);
    assert!(plan(disk).is_empty());
    let lost = stored_at[number];
    for _ in 0..2 {
        let log = open(disk, small_segments()).unwrap();
        let kept: Vec<_> = stored_at.iter().copied().filter(|position| *position != lost).collect();
        let is_last = number == stored_at.len() - 1;
        let (mut entries, holes) = read_over_holes(&log);
        entries.truncate(kept.len());
        assert_eq!(entries, kept);
        assert_eq!(holes, if is_last || number == 0 { vec![] } else { vec![lost.offset - 1] });
        assert!(kept.iter().all(|position| wait(log.find(*position)).unwrap() == Find::Found));
        assert!(!matches!(wait(log.find(lost)).unwrap(), Find::Found));
        let key = usize::from(number == 0);
        let again = wait(log.append(vec![keyed("a", &format!("{key:03}"))])).unwrap();
        assert_eq!(again, [Appended { position: stored_at[key], repeated: true }]);
        append_one(&log, keyed("a", "next"));
    }
}

fn first(name: &str) -> u64 {
    name.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn one_damaged_entry_costs_one_entry_wherever_it_is() {
    let in_its_record = |at: usize| commit(at) + 60;
    for number in [0, 1, 7, 15, 20, 33, 57, 58] {
        loses_only(number, 60, in_its_record);
    }
}

#[test]
fn a_damaged_head_of_a_commit_costs_one_entry() {
    loses_only(20, 60, |at| commit(at) + 1);
    loses_only(20, 60, |at| commit(at) + 13);
}

#[test]
fn a_lost_end_begins_a_new_generation() {
    let (disk, stored_at) = filled(10);
    flip(&disk, "00000000000000000001.segment", commit(9) + 60);
    let planned = plan(&disk);
    assert_eq!(planned.losses().len(), 1);
    assert_eq!(
        planned.losses()[0].offsets,
        Some(10..=10),
        "the mark of an orderly end knows the last one"
    );
    planned.apply().unwrap();
    assert_eq!(verify(&disk), []);
    let log = open(&disk, small_segments()).unwrap();
    assert_eq!(read_over_holes(&log).0, stored_at[..9]);
    assert_eq!(wait(log.find(stored_at[9])).unwrap(), Find::Lost { common: stored_at[8] });
    assert_ne!(append_one(&log, keyed("a", "next")).generation, stored_at[0].generation);
}

#[test]
fn several_damaged_places_cost_what_they_hit() {
    let (disk, stored_at) = filled(60);
    let names = segments(&disk);
    flip(&disk, &names[0], commit(2) + 60);
    flip(&disk, &names[0], commit(5) + 60);
    flip(&disk, &names[1], 3);
    plan(&disk).apply().unwrap();
    assert_eq!(verify(&disk), []);
    let log = open(&disk, small_segments()).unwrap();
    let gone = first(&names[1])..first(&names[2]);
    let kept: Vec<_> = stored_at
        .into_iter()
        .filter(|position| ![3, 6].contains(&position.offset) && !gone.contains(&position.offset))
        .collect();
    assert_eq!(read_over_holes(&log), (kept, vec![2, 5, gone.start - 1]));
}

#[test]
fn a_segment_that_is_missing_is_a_hole_after_a_repair() {
    let (disk, stored_at) = filled(60);
    let names = segments(&disk);
    disk.remove(&names[1]).unwrap();
    assert!(open(&disk, small_segments()).is_err());
    plan(&disk).apply().unwrap();
    let log = open(&disk, small_segments()).unwrap();
    let (entries, holes) = read_over_holes(&log);
    assert_eq!(holes, [first(&names[1]) - 1]);
    assert_eq!(entries.len() as u64, 60 - (first(&names[2]) - first(&names[1])));
    let last_lost =
        stored_at.iter().find(|position| position.offset == first(&names[2]) - 1).unwrap();
    assert_eq!(wait(log.find(*last_lost)).unwrap(), Find::Found, "nothing after it is missing");
}

/// Segments without the topic are passed over without a look at their index.
#[test]
fn a_reader_of_a_topic_that_is_only_after_a_hole_receives_the_hole() {
    let damages: [fn(&SimDisk, &str) -> u64; 2] = [
        |disk, name| {
            flip(disk, name, commit(3) + 60);
            first(name) + 2
        },
        |disk, name| {
            disk.remove(name).unwrap();
            first(name) - 1
        },
    ];
    for damage in damages {
        let disk = SimDisk::default();
        let log = open(&disk, small_segments()).unwrap();
        let append = |to| {
            (0..60).map(|_| append_one(&log, publication(to, "in a segment"))).collect::<Vec<_>>()
        };
        let (_, after) = (append("before"), append("after"));
        drop(log);
        let name = &segments(&disk)[1];
        let hole = damage(&disk, name);
        plan(&disk).apply().unwrap();
        let log = open(&disk, small_segments()).unwrap();
        assert_eq!(read_wanted_over_holes(&log, &topic("after").into()), (after, vec![hole]));
    }
}

/// A repair that fails half-way is repaired by the next one.
#[test]
fn an_interrupted_repair_can_be_repeated() {
    use crate::sim::{Call, Errno, Fault};
    let calls =
        [Call::Create, Call::Write, Call::SyncFile, Call::SyncNames, Call::Remove, Call::Truncate];
    for (call, after) in calls.into_iter().flat_map(|call| (0..6).map(move |after| (call, after))) {
        let (disk, stored_at) = filled(60);
        let names = segments(&disk);
        flip(&disk, &names[1], commit(3) + 60);
        disk.fail_once(call, after, Fault::Error(Errno::Io));
        let interrupted = plan(&disk).apply();
        disk.heal();
        if interrupted.is_err() {
            plan(&disk).apply().unwrap();
        }
        let lost = usize::try_from(first(&names[1])).unwrap() + 2;
        is_whole_but_for(&disk, &stored_at, lost);
    }
}
