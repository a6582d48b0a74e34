//! Logs that were damaged, what is found in them, and what becomes of them.

mod journals;
mod segments;
mod tails;

use crate::log::tests::carry_out::carry_out;
use crate::log::tests::sim_disk::{Rng, SimDisk};
use crate::log::tests::world::settings;
use crate::log::tests::{
    Chunk, Event, File, Fsync, Log, Mark, Operation, Output, Progress, ReadFrom,
};
use crate::log::tests::{Recovered, Settings, Stop, Stored};
use crate::log::{Damage, DamageKind, Inspection, InspectionStep, Plan, SeenContent};
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
