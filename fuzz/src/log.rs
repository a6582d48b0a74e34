//! Logs whose files are not what was written.

use bytes::{BufMut, Bytes, BytesMut};
use message_queue_core::Now;
use message_queue_core::log::{
    Chunk, DiskError, Done, Event, File, Fsync, Inspection, InspectionStep, Log, Operation, Output,
    Part, Plan, Progress, ReadError, ReadFrom, Recovered, Settings, Stored,
};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Control, Mark};
use std::collections::BTreeMap;

#[path = "../../core/src/log/tests/carry_out.rs"]
mod carry_out;
#[path = "../../core/src/log/tests/sim_disk.rs"]
mod sim_disk;

use carry_out::carry_out;
use sim_disk::{Rng, SimDisk};

const SETTINGS: Settings = Settings {
    fsync: Fsync::Always,
    segment_bytes: 1024,
    preallocate: false,
    max_producers: 3,
};

const EPOCH: u64 = 25;

/// Carries out what the log wants until it wants nothing more. Gives what has happened.
fn run(log: &mut Log, disk: &mut SimDisk) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(output) = log.poll_output() {
        match output {
            Output::Disk(id, operation) => {
                let result = disk.execute(&operation);
                log.completed(id, result, Now::START);
            }
            Output::Event(event) => events.push(event),
        }
    }
    events
}

fn open(disk: &mut SimDisk) -> (Log, Option<Recovered>) {
    let mut log = Log::open("jobs", EPOCH, SETTINGS, Now::START);
    let events = run(&mut log, disk);
    let recovered = events.into_iter().find_map(|event| match event {
        Event::Recovered(recovered) => Some(recovered),
        _ => None,
    });
    (log, recovered)
}

/// Everything that can be read, and whether that is all.
fn read(log: &mut Log, disk: &mut SimDisk) -> (Vec<Stored>, bool) {
    let (mut all, mut from) = (Vec::new(), ReadFrom::First);
    loop {
        log.read(from, 256);
        let events = run(log, disk);
        let [Event::Read { result, .. }] = &events[..] else {
            panic!("one answer: {events:?}");
        };
        match result {
            Ok(Chunk {
                stored,
                next,
                is_end,
            }) => {
                all.extend_from_slice(stored);
                if *is_end {
                    return (all, true);
                }
                from = ReadFrom::At(*next);
            }
            Err(ReadError::Damaged(_)) => return (all, false),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The bodies of what was read, by sequence.
fn bodies(stored: &[Stored]) -> BTreeMap<u64, Bytes> {
    let mut bodies = BTreeMap::new();
    for it in stored {
        if let Stored::Run { first, batch, .. } = it {
            bodies.extend((*first..).zip(batch.bodies()));
        }
    }
    bodies
}

/// A log that was written as it should be: its files, and what is in them.
fn written() -> (SimDisk, BTreeMap<u64, Bytes>) {
    let mut disk = SimDisk::default();
    let (mut log, recovered) = open(&mut disk);
    assert!(recovered.is_some());
    for number in 1..=12_u8 {
        let batch = FrameBatch::encode([&[number; 90][..], b"", &[number; 3]]).expect("small");
        let mark = Mark {
            name: "p".into(),
            session: "s".into(),
            position: u64::from(number),
        };
        let appended = log.append(&batch, 1000, vec![mark]);
        assert!(appended.is_ok());
        run(&mut log, &mut disk);
        let progress = Progress {
            settled_up_to: u64::from(number),
            ..Progress::default()
        };
        assert!(log.save_group("g", &progress).is_ok());
        run(&mut log, &mut disk);
    }
    let (stored, is_all) = read(&mut log, &mut disk);
    assert!(is_all);
    (disk, bodies(&stored))
}

/// Changes the files of a log as the input says, three bytes a change, and opens it: it stops, or what can be read
/// was written there, or the change was a torn tail; and the next opening finds the same.
///
/// # Panics
/// If not.
pub fn check_changed(input: &[u8]) {
    let (disk, appended) = written();
    let mut files: Vec<_> = disk.files().into_iter().collect();
    for change in input.chunks_exact(3) {
        let place = usize::from(change[0]) % files.len();
        let data = &mut files[place].1;
        let at = usize::from(change[1]) * data.len() / 256;
        match change[2] {
            0 => data.truncate(at),
            1 => data[at..].fill(0),
            2 => {
                let part = data[..at].to_vec();
                data.extend(part);
            }
            value => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= value;
                }
            }
        }
    }
    let is_real = |sequence, body: &Bytes| appended.get(&sequence) == Some(body);
    check_repair(&SimDisk::with(files.clone()), true, is_real);
    check_opening(SimDisk::with(files), is_real);
}

/// Files of records whose sums are right and whose contents are the input.
///
/// # Panics
/// If something is read that stands in none of them.
pub fn check_contents(input: &[u8]) {
    let mut files = BTreeMap::new();
    for (place, part) in input.split(|byte| *byte == b'\n').enumerate() {
        let file = match place % 3 {
            0 => File::Journal(1),
            1 => File::Segment(1),
            _ => File::Segment(2),
        };
        let data: &mut Vec<u8> = files.entry(file).or_default();
        data.extend_from_slice(&record(part));
    }
    let everything: Vec<u8> = files.values().flatten().copied().collect();
    let is_real =
        |_, body: &Bytes| body.is_empty() || everything.windows(body.len()).any(|it| it == body);
    // No log has ever written them. A repair need not make sense of whole records that contradict each other.
    check_repair(&SimDisk::with(files.clone()), false, is_real);
    check_opening(SimDisk::with(files), is_real);
}

/// Files of any bytes.
///
/// # Panics
/// If something is read from them.
pub fn check_bytes(input: &[u8]) {
    let (disk, written) = written();
    let is_real = |sequence, body: &Bytes| written.get(&sequence) == Some(body);
    let mut files: BTreeMap<_, _> = disk.files();
    let middle = input.len() / 2;
    files.insert(File::Journal(9), input[..middle].to_vec());
    check_repair(&SimDisk::with(files.clone()), true, is_real);
    check_opening(SimDisk::with(files.clone()), |_, _| false);
    files.remove(&File::Journal(9));
    files.insert(File::Segment(1), input[middle..].to_vec());
    check_repair(&SimDisk::with(files.clone()), true, is_real);
    check_opening(SimDisk::with(files), is_real);
}

/// Opens a log and reads it; what is read has to be `real`. A power cut later, it is the same.
fn check_opening(mut disk: SimDisk, real: impl Fn(u64, &Bytes) -> bool) {
    let (mut log, Some(recovered)) = open(&mut disk) else {
        return;
    };
    let (stored, is_all) = read(&mut log, &mut disk);
    let found = bodies(&stored);
    for (sequence, body) in &found {
        assert!(real(*sequence, body), "{sequence} is invented");
    }
    disk.cut_power(&mut Rng(1));
    let (mut log, again) = open(&mut disk);
    let again = again.expect("it was open before");
    assert_eq!(
        (again.epoch, again.first, again.next),
        (recovered.epoch, recovered.first, recovered.next)
    );
    assert_eq!(
        (again.groups, again.producers),
        (recovered.groups, recovered.producers)
    );
    let (stored, is_all_again) = read(&mut log, &mut disk);
    assert_eq!((bodies(&stored), is_all_again), (found, is_all));
}

/// Repairs a log: then it is whole, can be opened, if it `has_to_open`, and read to its end, and what is read is `real`.
fn check_repair(disk: &SimDisk, has_to_open: bool, real: impl Fn(u64, &Bytes) -> bool) {
    let mut files = disk.files();
    // A later format is left alone.
    let Ok(plan) = inspect(&files).plan(EPOCH) else {
        return;
    };
    carry_out(&mut files, &plan);
    let inspection = inspect(&files);
    assert_eq!(inspection.damage(), [], "{plan:?}");
    let mut disk = SimDisk::with(files);
    let (mut log, recovered) = open(&mut disk);
    if recovered.is_none() {
        assert!(!has_to_open, "it cannot be opened: {plan:?}");
        return;
    }
    let (stored, is_all) = read(&mut log, &mut disk);
    assert!(is_all, "{plan:?}");
    for (sequence, body) in &bodies(&stored) {
        assert!(real(*sequence, body), "{sequence} is invented");
    }
}

/// Looks at all of a log.
fn inspect(files: &BTreeMap<File, Vec<u8>>) -> Inspection {
    let sizes = files.iter().map(|(file, data)| (*file, data.len() as u64));
    let sizes: Vec<_> = sizes.collect();
    let mut disk = SimDisk::with(files.clone());
    let mut inspection = Inspection::new("jobs", &sizes, ReadFrom::First);
    loop {
        match inspection.next() {
            InspectionStep::Read(operation) => match disk.execute(&operation) {
                Ok(Done::Read(bytes)) => inspection.read(bytes),
                other => panic!("{operation:?}: {other:?}"),
            },
            InspectionStep::Record(_) => {}
            InspectionStep::Done => return inspection,
        }
    }
}

/// A record of this content: its first byte is what it calls safe.
fn record(content: &[u8]) -> Bytes {
    let (safe, content) = content.split_first().unwrap_or((&0, &[]));
    let mut out = BytesMut::new();
    let check = Control::Check {
        crc32c: 0,
        length: content.len() as u32,
        safe: u64::from(*safe),
        producers: Vec::new(),
    };
    check.encode(&mut out);
    out.put_slice(content);
    let sum = crc32c(&out[9..]);
    out[5..9].copy_from_slice(&sum.to_be_bytes());
    out.freeze()
}

/// Bit by bit: an account of its own.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 * (sum & 1));
        }
    }
    !sum
}
