//! Logs that were damaged, what is found in them, and what becomes of them.

use super::sim_disk::{Rng, SimDisk};
use super::world::settings;
use super::{Chunk, Event, File, Fsync, Log, Mark, Operation, Output, Progress, ReadFrom};
use super::{Recovered, Settings, Stop, Stored};
use crate::log::{
    Damage, DamageKind, Groups, Inspection, InspectionStep, Note, Part, Plan, SeenContent,
};
use crate::time::Now;
use crate::wire::FrameBatch;
use crate::wire::control::Range;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

type Files = BTreeMap<File, Vec<u8>>;

/// Bodies of messages, by their sequences.
type Bodies = BTreeMap<u64, Bytes>;

/// The epoch of the log, and that of one that has lost its own.
const EPOCH: u64 = 25;
const NEW_EPOCH: u64 = 77;

/// A log on a disk that does at once what it is asked for.
struct Host {
    log: Log,
    disk: SimDisk,
    recovered: Option<Recovered>,
    stopped: Option<Stop>,
    chunk: Option<Chunk>,
}

impl Host {
    fn open(epoch: u64, files: Files) -> Self {
        let settings = Settings {
            segment_bytes: 2000,
            ..settings(Fsync::Always)
        };
        let mut host = Self {
            log: Log::open("jobs", epoch, settings, Now::START),
            disk: SimDisk::with(files),
            recovered: None,
            stopped: None,
            chunk: None,
        };
        host.run();
        host
    }

    fn run(&mut self) {
        while let Some(output) = self.log.poll_output() {
            match output {
                Output::Disk(id, operation) => {
                    let done = self.disk.execute(&operation);
                    self.log.completed(id, done, Now::START);
                }
                Output::Event(Event::Recovered(it)) => self.recovered = Some(it),
                Output::Event(Event::Stopped(it)) => self.stopped = Some(it),
                Output::Event(Event::Read { result, .. }) => self.chunk = result.ok(),
                Output::Event(_) => {}
            }
        }
    }

    /// Appends two messages of `number`, and saves a group that has settled the first.
    fn append(&mut self, number: u64, bodies: &mut Bodies) {
        let pair = ["a", "b"].map(|it| Bytes::from(format!("{number} {it} {}", "x".repeat(100))));
        let batch = FrameBatch::encode(&pair).expect("small");
        let mark = Mark {
            name: format!("p{}", number % 3),
            session: "s".into(),
            position: number,
        };
        let appending = self.log.append(&batch, 1000 + number, vec![mark]);
        let first = appending.expect("it is open").first;
        bodies.extend([first, first + 1].into_iter().zip(pair));
        self.run();
        let progress = Progress {
            settled_up_to: first,
            ..Progress::default()
        };
        self.log.save_group("g", &progress).expect("it is open");
        self.run();
    }

    fn read_all(&mut self) -> Vec<Stored> {
        let (mut all, mut from) = (Vec::new(), ReadFrom::First);
        loop {
            self.log.read(from, 1000);
            self.run();
            let chunk = self.chunk.take().expect("it can be read");
            all.extend(chunk.stored);
            if chunk.is_end {
                return all;
            }
            from = ReadFrom::At(chunk.next);
        }
    }
}

/// A log of some segments that nobody has open, and the messages in it: 1 to 80.
fn filled() -> (Files, Bodies) {
    let mut host = Host::open(EPOCH, Files::new());
    let mut bodies = Bodies::new();
    for number in 1..=40 {
        host.append(number, &mut bodies);
    }
    let files = host.disk.files();
    assert!(segments(&files).len() >= 5);
    (files, bodies)
}

fn segments(files: &Files) -> Vec<u64> {
    let all = files.keys();
    all.filter_map(|file| {
        if let File::Segment(first) = file {
            Some(*first)
        } else {
            None
        }
    })
    .collect()
}

fn journal(files: &Files) -> File {
    let mut all = files.keys().copied();
    all.find(|it| matches!(it, File::Journal(_))).expect("one")
}

/// Has an inspection look at all that it wants to.
fn drive(inspection: &mut Inspection, files: &Files, mut each: impl FnMut(crate::log::Seen)) {
    loop {
        match inspection.next() {
            InspectionStep::Read(Operation::Read {
                file,
                offset,
                length,
            }) => {
                let data = &files[&file];
                let begin = (offset as usize).min(data.len());
                let end = (begin + length).min(data.len());
                inspection.read(Bytes::copy_from_slice(&data[begin..end]));
            }
            InspectionStep::Read(other) => panic!("it changes something: {other:?}"),
            InspectionStep::Record(seen) => {
                assert!(seen.offset + seen.bytes <= files[&seen.file].len() as u64);
                each(seen);
            }
            InspectionStep::Done => return,
        }
    }
}

/// Looks at a log. Returns what was found, and what is stored.
fn inspect(files: &Files, from: ReadFrom) -> (Inspection, Vec<Stored>) {
    let sizes = files.iter().map(|(file, data)| (*file, data.len() as u64));
    let sizes: Vec<_> = sizes.collect();
    let mut inspection = Inspection::new("jobs", &sizes, from);
    let mut all = Vec::new();
    drive(&mut inspection, files, |seen| {
        if let SeenContent::Stored(stored) = seen.content {
            all.push(stored);
        }
    });
    (inspection, all)
}

fn damage(files: &Files) -> Vec<Damage> {
    inspect(files, ReadFrom::First).0.damage().to_vec()
}

/// Does what a plan says. Returns what was moved aside.
fn carry_out(files: &mut Files, plan: &Plan) -> Files {
    let mut new = Files::new();
    for file in &plan.new {
        let mut data = Vec::new();
        for part in &file.parts {
            match part {
                Part::Bytes(bytes) => data.extend_from_slice(bytes),
                Part::Copy { file, bytes } => {
                    let bytes = bytes.start as usize..bytes.end as usize;
                    data.extend_from_slice(&files[file][bytes]);
                }
            }
        }
        assert!(new.insert(file.file, data).is_none(), "{}", file.file);
    }
    let mut aside = Files::new();
    for file in &plan.aside {
        let data = files.remove(file).expect("it is moved once");
        aside.insert(*file, data);
    }
    for (file, data) in new {
        assert!(files.insert(file, data).is_none(), "{file} is overwritten");
    }
    aside
}

/// Repairs a log, and looks whether it can be opened and read, has the messages that it should, and goes on.
#[track_caller]
fn repaired(files: &Files, bodies: &Bodies) -> (Plan, Recovered) {
    let (inspection, _) = inspect(files, ReadFrom::First);
    let plan = inspection.plan(NEW_EPOCH).expect("it can be repaired");
    let mut after = files.clone();
    carry_out(&mut after, &plan);
    assert_eq!(damage(&after), [], "what is repaired is whole");
    let again = inspect(&after, ReadFrom::First).0;
    let again = again.plan(NEW_EPOCH).expect("it is whole");
    assert!(again.is_empty(), "once is enough");

    let mut host = Host::open(EPOCH, after);
    assert_eq!(host.stopped, None);
    let recovered = host.recovered.clone().expect("it is open");
    let mut bodies = bodies.clone();
    host.append(99, &mut bodies);
    let (mut next, mut gaps) = (recovered.first, Vec::new());
    for stored in host.read_all() {
        let range = stored.sequences();
        assert_eq!(range.from, next, "no hole");
        next = range.to + 1;
        match stored {
            Stored::Run { first, batch, .. } => {
                for (place, body) in batch.bodies().enumerate() {
                    assert_eq!(body, bodies[&(first + place as u64)]);
                }
            }
            Stored::Gap(range) => gaps.push(range),
        }
    }
    assert_eq!(next, recovered.next + 2, "it goes on behind what it had");
    let mut lost = plan.lost.clone();
    lost.retain(|it| it.from >= recovered.first);
    assert_eq!(gaps, lost, "what is lost is said, and nothing else is");
    (plan, recovered)
}

fn lost(plan: &Plan) -> Vec<(u64, u64)> {
    plan.lost.iter().map(|it| (it.from, it.to)).collect()
}

fn kinds(files: &Files) -> Vec<(File, DamageKind)> {
    let all = damage(files).into_iter();
    all.map(|it| (it.file, it.kind)).collect()
}

/// The records of a segment that hold messages: where each begins and ends, and its sequences.
fn records(files: &Files, segment: u64) -> Vec<(core::ops::Range<usize>, Range)> {
    let sizes = [(
        File::Segment(segment),
        files[&File::Segment(segment)].len() as u64,
    )];
    let only = Files::from([(
        File::Segment(segment),
        files[&File::Segment(segment)].clone(),
    )]);
    let mut inspection = Inspection::new("jobs", &sizes, ReadFrom::First);
    let mut all = Vec::new();
    drive(&mut inspection, &only, |seen| {
        if let SeenContent::Stored(stored) = &seen.content {
            let begin = seen.offset as usize;
            all.push((begin..begin + seen.bytes as usize, stored.sequences()));
        }
    });
    all
}

#[test]
fn a_whole_log_is_whole_and_everything_in_it_is_seen() {
    let (files, bodies) = filled();
    let (inspection, all) = inspect(&files, ReadFrom::First);
    assert_eq!(
        (inspection.damage(), inspection.notes()),
        (&[][..], &[][..])
    );
    let plan = inspection.plan(NEW_EPOCH).expect("it is whole");
    assert!(plan.is_empty() && plan == Plan::default());
    let seen = all.iter().map(|it| it.sequences());
    assert!(seen.eq((0..40).map(|it| Range {
        from: 2 * it + 1,
        to: 2 * it + 2
    })));
    let summary = inspection.summary();
    assert_eq!(summary.epoch, Some(EPOCH));
    assert_eq!((summary.first, summary.next), (1, bodies.len() as u64 + 1));
    assert_eq!(summary.published, Some((1001, 1040)));
    assert_eq!(summary.groups[0].1.settled_up_to, 79);
    let positions: Vec<_> = summary.producers.iter().map(|it| it.position).collect();
    assert_eq!(positions, [39, 40, 38]);
    let firsts: Vec<_> = summary.segments.iter().map(|it| it.first).collect();
    assert_eq!(firsts, segments(&files));
    let nexts = summary.segments.iter().map(|it| it.next);
    assert!(nexts.eq(firsts[1..].iter().copied().chain([81])));
    let (walked, all) = inspection.position();
    assert_eq!(walked, all);
}

#[test]
fn what_lies_before_is_passed_over() {
    let (files, _) = filled();
    let firsts = segments(&files);
    let summary = inspect(&files, ReadFrom::First).0.summary();
    for from in [
        ReadFrom::Last,
        ReadFrom::Sequence(firsts[2]),
        ReadFrom::Time(1000 + firsts[2] / 2 + 1),
    ] {
        let (inspection, all) = inspect(&files, from);
        assert_eq!(inspection.summary(), summary, "{from:?}");
        let begins = all.iter().map(|it| it.sequences().from);
        let begins: Vec<_> = begins.collect();
        let wanted = if from == ReadFrom::Last {
            firsts[firsts.len() - 1]
        } else {
            firsts[2]
        };
        assert_eq!(begins[0], wanted, "{from:?}");
        assert!(begins.len() < 40);
    }
}

#[test]
fn a_record_that_is_damaged_becomes_a_gap_and_those_around_it_are_kept() {
    let (files, bodies) = filled();
    for segment in segments(&files) {
        let all = records(&files, segment);
        for (place, (bytes, range)) in all.iter().enumerate() {
            let is_last = range.to == 80;
            for at in [
                bytes.start,
                bytes.start + 5,
                bytes.start + 15,
                bytes.end - 1,
            ] {
                let mut files = files.clone();
                let data = files.get_mut(&File::Segment(segment)).expect("there");
                data[at] ^= 0x10;
                let found = damage(&files);
                let offset = bytes.start as u64;
                assert_eq!(found[0].file, File::Segment(segment));
                assert_eq!(found[0].offset, offset, "{at}");
                // Of the very last only the group says that it was safe.
                assert_eq!((&found[0].kind, found.len()), (&DamageKind::NotARecord, 1));
                let (plan, _) = repaired(&files, &bodies);
                let to = if is_last { 79 } else { range.to };
                assert_eq!(lost(&plan), [(range.from, to)], "{place} of {segment}");
                assert_eq!(plan.is_end_unknown, is_last);
                assert_eq!(plan.groups, Groups::Kept);
            }
            // Zeros, as a disk has them that has lost a sector.
            let mut files = files.clone();
            let data = files.get_mut(&File::Segment(segment)).expect("there");
            data[bytes.clone()].fill(0);
            assert_eq!(damage(&files).len(), 1);
            repaired(&files, &bodies);
        }
    }
}

/// Every byte before the first message of every segment, changed one at a time.
#[test]
fn a_head_that_is_damaged_is_made_anew_with_the_producers_and_loses_nothing() {
    let (files, bodies) = filled();
    for segment in segments(&files) {
        let begin = records(&files, segment)[0].0.start;
        for at in 0..begin {
            let mut files = files.clone();
            files.get_mut(&File::Segment(segment)).expect("there")[at] ^= 0x20;
            let found = damage(&files);
            assert_eq!(found.len(), 1, "{at} of {segment}: {found:?}");
            let (plan, recovered) = repaired(&files, &bodies);
            assert_eq!(plan.lost, [], "{at} of {segment}");
            let positions = recovered.producers.iter().map(|it| it.position);
            assert!(positions.eq([39, 40, 38]), "{at} of {segment}");
        }
    }
}

#[test]
fn a_segment_that_is_cut_off_keeps_its_front() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let all = records(&files, firsts[1]);
    let next = firsts[2];
    for cut in 0..files[&File::Segment(firsts[1])].len() {
        let mut files = files.clone();
        files
            .get_mut(&File::Segment(firsts[1]))
            .expect("there")
            .truncate(cut);
        let found = damage(&files);
        assert_eq!(found.len(), 1, "{cut}: {found:?}");
        let (plan, _) = repaired(&files, &bodies);
        let whole = all.iter().filter(|(bytes, _)| bytes.end <= cut).count();
        let begin = all.get(whole).map_or(next, |(_, range)| range.from);
        assert_eq!(lost(&plan), [(begin, next - 1)], "{cut}");
    }
}

#[test]
fn segments_that_are_missing_become_gaps() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let last = firsts.len() - 1;
    for (from, to) in [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 2),
        (last, last),
        (1, last),
        (0, last),
    ] {
        let mut files = files.clone();
        for first in &firsts[from..=to] {
            files.remove(&File::Segment(*first));
        }
        let found = kinds(&files);
        assert!(
            found.iter().any(|(_, kind)| *kind == DamageKind::Missing),
            "{found:?}"
        );
        let (plan, recovered) = repaired(&files, &bodies);
        // Of the last nothing says how far it went but the group.
        let end = firsts.get(to + 1).map_or(79, |it| it - 1);
        let total: u64 = plan.lost.iter().map(|it| it.to - it.from + 1).sum();
        assert_eq!(
            total,
            end + 1 - firsts[from],
            "{from} to {to}: {:?}",
            plan.lost
        );
        assert_eq!(plan.is_end_unknown, to == last);
        assert_eq!(recovered.next, if to == last { 80 } else { 81 });
    }
}

#[test]
fn segments_that_were_swapped_are_put_right_and_lose_nothing() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let last = firsts.len() - 1;
    for (one, other) in [(0, 1), (1, 3), (2, last)] {
        let [one, other] = [one, other].map(|it| File::Segment(firsts[it]));
        let mut files = files.clone();
        let taken = files.remove(&one).expect("there");
        let put = files.insert(other, taken).expect("there");
        files.insert(one, put);
        let found = kinds(&files);
        assert_eq!(found, [one, other].map(|it| (it, DamageKind::Misplaced)));
        let (plan, _) = repaired(&files, &bodies);
        assert_eq!(plan.lost, []);
    }
}

#[test]
fn a_segment_of_another_log_is_moved_aside() {
    let (files, bodies) = filled();
    let mut other = Host::open(EPOCH + 1, Files::new());
    for number in 1..=40 {
        other.append(number, &mut Bodies::new());
    }
    let others = other.disk.files();
    let firsts = segments(&files);
    assert_eq!(firsts, segments(&others));
    for first in &firsts[..3] {
        let file = File::Segment(*first);
        let mut files = files.clone();
        files.insert(file, others[&file].clone());
        assert_eq!(damage(&files)[0].kind, DamageKind::Misplaced);
        let (plan, _) = repaired(&files, &bodies);
        assert!(plan.aside.contains(&file));
        let end = firsts[firsts.iter().position(|it| it == first).expect("there") + 1] - 1;
        assert_eq!(lost(&plan), [(*first, end)]);
    }
    // So is one that is only in the way.
    let mut files = files.clone();
    let stray = File::Segment(firsts[1] + 1);
    files.insert(stray, others[&File::Segment(firsts[1])].clone());
    let (plan, _) = repaired(&files, &bodies);
    assert_eq!((plan.aside, plan.lost), (vec![stray], Vec::new()));
}

#[test]
fn a_later_format_is_left_alone() {
    let (files, _) = filled();
    let head = crate::log::content::Head {
        format: 2,
        epoch: EPOCH,
        first: segments(&files)[1],
        previous: 1,
        published: 0,
    };
    let head = crate::log::content::head_of_segment(head, 0, core::iter::empty());
    let mut later = files.clone();
    let file = File::Segment(segments(&files)[1]);
    later.get_mut(&file).expect("there")[..head.len()].copy_from_slice(&head);
    let (inspection, _) = inspect(&later, ReadFrom::First);
    let expected = Damage {
        file,
        offset: 0,
        kind: DamageKind::NewerFormat(2),
    };
    assert_eq!(inspection.damage(), core::slice::from_ref(&expected));
    assert_eq!(inspection.plan(NEW_EPOCH), Err(&expected));
}

#[test]
fn a_journal_that_is_lost_or_of_another_topic_is_made_anew_without_groups() {
    let (files, bodies) = filled();
    let journal = journal(&files);
    let mut missing = files.clone();
    missing.remove(&journal);
    let mut empty = files.clone();
    empty.insert(journal, Vec::new());
    let mut zeros = files.clone();
    zeros.get_mut(&journal).expect("there").fill(0);
    let mut other = files.clone();
    let text = other.get_mut(&journal).expect("there");
    let mut elsewhere = Vec::new();
    {
        let mut host = Host::open(EPOCH, Files::new());
        host.append(1, &mut Bodies::new());
        let log = crate::log::journal::Journal::new("other", EPOCH);
        let bounds = crate::log::journal::Bounds { begin: 1, tail: 1 };
        for piece in log.made_anew(1, EPOCH, bounds) {
            elsewhere.extend_from_slice(&piece);
        }
    }
    *text = elsewhere;
    for (files, kind) in [
        (missing, DamageKind::NoJournal),
        (empty, DamageKind::NotARecord),
        (zeros, DamageKind::NotARecord),
        (other, DamageKind::Misplaced),
    ] {
        assert_eq!(damage(&files)[0].kind, kind);
        let (plan, recovered) = repaired(&files, &bodies);
        assert_eq!((plan.groups, plan.lost), (Groups::Lost, Vec::new()));
        assert_eq!(recovered.groups, []);
        assert_eq!(
            (recovered.epoch, recovered.first, recovered.next),
            (EPOCH, 1, 81)
        );
        assert_eq!(recovered.producers.len(), 3);
    }
}

#[test]
fn without_a_journal_nothing_says_what_came_before() {
    let (mut files, bodies) = filled();
    files.remove(&journal(&files));
    let (plan, _) = repaired(&files, &bodies);
    assert_eq!(plan.begin, None);
    let firsts = segments(&files);
    files.remove(&File::Segment(firsts[0]));
    let (plan, recovered) = repaired(&files, &bodies);
    assert_eq!((plan.begin, plan.lost), (Some(firsts[1]), Vec::new()));
    assert_eq!(recovered.first, firsts[1]);
}

/// Every byte of the journal, changed one at a time.
#[test]
fn a_journal_that_is_damaged_keeps_what_it_still_says() {
    let (files, bodies) = filled();
    let journal = journal(&files);
    let mut known = BTreeMap::new();
    for at in 0..files[&journal].len() {
        let mut files = files.clone();
        files.get_mut(&journal).expect("there")[at] ^= 0x55;
        let found = damage(&files);
        if found.is_empty() {
            // Only the last record can be taken for torn.
            assert!(at + 200 > files[&journal].len());
            continue;
        }
        assert_eq!(found.len(), 1, "{at}: {found:?}");
        assert_eq!(found[0].file, journal);
        let (plan, recovered) = repaired(&files, &bodies);
        assert_eq!((plan.groups, plan.lost), (Groups::Uncertain, Vec::new()));
        assert_eq!(recovered.groups.len(), 1, "{at}");
        let settled = recovered.groups[0].1.settled_up_to;
        *known.entry(settled).or_insert(0) += 1;
        assert_eq!(recovered.next, 81);
    }
    assert!(known[&79] > 1000, "{known:?}");
}

#[test]
fn a_torn_end_and_what_was_being_made_are_no_damage() {
    let (files, bodies) = filled();
    let firsts = segments(&files);
    let last = File::Segment(firsts[firsts.len() - 1]);
    let end = records(&files, firsts[firsts.len() - 1])
        .last()
        .expect("there are some")
        .0
        .end;
    let mut torn = files.clone();
    let data = torn.get_mut(&last).expect("there");
    data.truncate(end);
    data.extend([b'?'; 30]);
    let mut unfinished = files.clone();
    unfinished.insert(File::Segment(81), vec![0; 500]);
    let new = File::NewJournal(9);
    unfinished.insert(new, vec![1; 10]);
    let mut old = files.clone();
    old.insert(File::Index(7), Vec::new());
    let index = File::Index(firsts[1]);
    assert!(old.contains_key(&index));
    old.get_mut(&index).expect("there")[20] ^= 1;
    for (files, notes) in [
        (
            torn,
            vec![Note::Torn {
                file: last,
                offset: end as u64,
                bytes: 30,
            }],
        ),
        (
            unfinished,
            vec![Note::Unfinished(new), Note::Unfinished(File::Segment(81))],
        ),
        (
            old,
            vec![Note::Leftover(File::Index(7)), Note::BadIndex(index)],
        ),
    ] {
        let (inspection, _) = inspect(&files, ReadFrom::First);
        assert_eq!(
            (inspection.damage(), inspection.notes()),
            (&[][..], &notes[..])
        );
        let (plan, _) = repaired(&files, &bodies);
        assert!(plan.is_empty());
    }
    let deleted = Files::from([(File::Deleted(3), Vec::new()), (last, files[&last].clone())]);
    let (inspection, _) = inspect(&deleted, ReadFrom::First);
    assert_eq!(inspection.notes(), [Note::Deleted(File::Deleted(3))]);
    assert_eq!(inspection.damage(), []);
}

#[test]
fn a_message_that_holds_records_is_not_taken_for_them() {
    let mut host = Host::open(EPOCH, Files::new());
    let mut bodies = Bodies::new();
    host.append(1, &mut bodies);
    // A copy of the log itself is published.
    let copy = Bytes::from(host.disk.files()[&File::Segment(1)][..600].to_vec());
    let batch = FrameBatch::encode([&copy]).expect("small");
    let first = host
        .log
        .append(&batch, 1002, Vec::new())
        .expect("open")
        .first;
    bodies.insert(first, copy);
    host.run();
    for number in 2..=4 {
        host.append(number, &mut bodies);
    }
    let files = host.disk.files();
    let segment = File::Segment(1);
    let (bytes, range) = records(&files, 1)[1].clone();
    assert_eq!(range, Range { from: 3, to: 3 });
    for at in [bytes.start, bytes.start + 11, bytes.start + 40] {
        let mut files = files.clone();
        files.get_mut(&segment).expect("there")[at] ^= 0x10;
        let (plan, _) = repaired(&files, &bodies);
        assert_eq!(lost(&plan), [(3, 3)], "{at}");
    }
}

/// Records that were written together all call only what came before them safe. A group has had messages of them.
#[test]
fn records_behind_damage_are_kept_if_only_a_group_knows_that_they_were_safe() {
    let mut host = Host::open(EPOCH, Files::new());
    let mut bodies = Bodies::new();
    host.append(1, &mut bodies);
    for number in 2..=5_u8 {
        let body = Bytes::from(vec![number; 50]);
        let batch = FrameBatch::encode([&body]).expect("small");
        let appending = host.log.append(&batch, 1002, Vec::new());
        bodies.insert(appending.expect("it is open").first, body);
    }
    host.run();
    let progress = Progress {
        settled_up_to: 4,
        ..Progress::default()
    };
    host.log.save_group("g", &progress).expect("it is open");
    host.run();
    let mut files = host.disk.files();
    let (bytes, range) = records(&files, 1)[1].clone();
    assert_eq!(range, Range { from: 3, to: 3 });
    let data = files.get_mut(&File::Segment(1)).expect("there");
    data[bytes.end - 1] ^= 1;
    // Opening it stops, and cuts nothing off.
    let stopped = Host::open(EPOCH, files.clone());
    let Some(Stop::Damaged(found)) = &stopped.stopped else {
        panic!("{:?}", stopped.stopped);
    };
    assert_eq!(found.kind, DamageKind::EndsBefore(4));
    assert_eq!(stopped.disk.files(), files);
    assert_eq!(kinds(&files), [(File::Segment(1), DamageKind::NotARecord)]);
    let (plan, recovered) = repaired(&files, &bodies);
    assert_eq!((lost(&plan), recovered.next), (vec![(3, 3)], 7));
    assert!(!plan.is_end_unknown);
}

/// Found by fuzzing: what is no segment was left in the place of one.
#[test]
fn what_is_in_the_place_of_the_next_segment_is_moved_aside() {
    let (files, bodies) = filled();
    let (bytes, _) = records(&files, 1)[0].clone();
    let stray = files[&File::Segment(1)][bytes].to_vec();
    let mut with = files.clone();
    with.insert(File::Segment(81), stray.clone());
    assert_eq!(damage(&with)[0].kind, DamageKind::Misplaced);
    let (plan, recovered) = repaired(&with, &bodies);
    assert_eq!(plan.aside, [File::Segment(81)]);
    assert_eq!((plan.lost.len(), recovered.next), (0, 81));
    // Whatever it is, there was something before it.
    let mut later = files;
    later.insert(File::Segment(85), stray);
    let (plan, recovered) = repaired(&later, &bodies);
    assert_eq!((lost(&plan), recovered.next), (vec![(81, 84)], 85));
}

/// Found by fuzzing: a segment that was to be deleted came back.
#[test]
fn what_was_to_be_deleted_does_not_come_back() {
    let (files, bodies) = filled();
    let mut host = Host::open(EPOCH, files.clone());
    let retention = crate::log::Retention {
        settled_up_to: 80,
        ..crate::log::Retention::default()
    };
    host.log.trim(&retention).expect("it is open");
    host.run();
    let mut after = host.disk.files();
    let last = segments(&after)[0];
    assert_eq!(segments(&after).len(), 1);
    // It had not been deleted yet, and the last one is gone.
    after.insert(File::Segment(1), files[&File::Segment(1)].clone());
    after.remove(&File::Segment(last));
    let (_, recovered) = repaired(&after, &bodies);
    assert_eq!((recovered.first, recovered.next), (last, 80));
    // Nor is it taken in where only a stray file follows.
    let stray = vec![7; 100];
    after.insert(File::Segment(last), stray);
    let (plan, recovered) = repaired(&after, &bodies);
    assert!(plan.aside.contains(&File::Segment(1)));
    assert_eq!((recovered.first, recovered.next), (last, 80));
}

/// Anything anywhere: it is found, and what is repaired can be opened.
#[test]
fn whatever_is_damaged_can_be_repaired() {
    let (files, bodies) = filled();
    let names: Vec<_> = files.keys().copied().collect();
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut files = files.clone();
        for _ in 0..=rng.below(4) {
            let file = names[rng.below(names.len())];
            let Some(data) = files.get_mut(&file) else {
                continue;
            };
            let at = rng.below(data.len().max(1));
            let end = (at + rng.below(1500)).min(data.len());
            match rng.below(6) {
                0 => data.truncate(at),
                1 => data[at..end].fill(0),
                2 => data[at..end].fill(0xa5),
                3 => drop(data.drain(at..end)),
                4 => {
                    let copy = data[at..end].to_vec();
                    let to = rng.below(data.len().max(1));
                    let tail = data.split_off(to.min(data.len()));
                    data.extend(copy);
                    data.extend(tail);
                }
                _ => drop(files.remove(&file)),
            }
        }
        repaired(&files, &bodies);
    }
}
