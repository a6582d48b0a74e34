//! One thing at a time.

use super::sim_disk::SimDisk;
use super::world::{Process, World, settings};
use super::{
    DiskError, File, Fsync, OpId, Operation, Progress, ReadError, ReadFrom, Stop, Stored, first_of,
};
use crate::log::content::{Head, head_of_segment};
use crate::log::{Damage, DamageKind, MAX_CONTENT, Refused, Retention};
use crate::wire::FrameBatch;
use crate::wire::control::{Mark, Origin};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// A log of some segments, at rest.
fn filled() -> (World, Process) {
    let mut world = World::new(7, settings(Fsync::Always));
    let mut process = world.open();
    for _ in 0..30 {
        world.append(&mut process, &[100, 300]).expect("it is open");
        world.run(&mut process);
        world.save(&mut process).expect("it is open");
        world.run(&mut process);
    }
    (world, process)
}

fn names(process: &Process) -> Vec<&'static str> {
    let asked = process.asked.iter();
    asked.map(|(_, operation)| operation.name()).collect()
}

/// Does the first thing that the disk was asked for, and says which that was.
fn one(world: &mut World, process: &mut Process) -> &'static str {
    let (id, operation) = process.asked.remove(0);
    let result = world.disk.execute(&operation);
    finish(world, process, id, result);
    operation.name()
}

fn finish(
    world: &mut World,
    process: &mut Process,
    id: OpId,
    result: Result<super::Done, DiskError>,
) {
    process.log.completed(id, result, crate::time::Now::START);
    world.poll(process);
}

/// What becomes of the log if its files are these.
fn opened(world: &World, files: BTreeMap<File, Vec<u8>>) -> Process {
    let mut world = world.clone();
    world.disk = SimDisk::with(files);
    let mut process = world.start();
    world.run(&mut process);
    process
}

fn damage(process: &Process) -> &Damage {
    match &process.stopped {
        Some(Stop::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

fn segments(files: &BTreeMap<File, Vec<u8>>) -> Vec<File> {
    let all = files.keys().copied();
    all.filter(|file| matches!(file, File::Segment(_)))
        .collect()
}

#[test]
fn what_is_appended_during_a_sync_shares_the_next() {
    let mut world = World::new(1, settings(Fsync::Always));
    let mut process = world.open();
    world.append(&mut process, &[1]).expect("it is open");
    world.run(&mut process);
    world.append(&mut process, &[1]).expect("it is open");
    assert_eq!(one(&mut world, &mut process), "write");
    for _ in 0..10 {
        world.append(&mut process, &[1, 2]).expect("it is open");
    }
    assert_eq!(names(&process), ["sync"], "one at a time");
    assert_eq!(world.model.appended, 1);
    assert_eq!(one(&mut world, &mut process), "sync");
    assert_eq!(world.model.appended, 2);
    assert_eq!(one(&mut world, &mut process), "write");
    assert_eq!(one(&mut world, &mut process), "sync");
    assert_eq!((names(&process).len(), world.model.appended), (0, 22));
}

#[test]
fn a_message_is_not_copied_on_its_way_to_the_disk() {
    let mut world = World::new(1, settings(Fsync::Always));
    let mut process = world.open();
    world.append(&mut process, &[1]).expect("it is open");
    world.run(&mut process);
    let batch = FrameBatch::encode(["some message"]).expect("small");
    process
        .log
        .append(&batch, 0, Vec::new())
        .expect("it is open");
    while let Some(output) = process.log.poll_output() {
        let super::Output::Disk(_, Operation::Write { pieces, .. }) = output else {
            panic!("{output:?}");
        };
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[1].as_ptr(), batch.as_bytes().as_ptr());
    }
}

#[test]
fn a_dead_letter_is_found_with_where_it_came_from() {
    let mut world = World::new(1, settings(Fsync::Always));
    let mut process = world.open();
    let letter = FrameBatch::encode(["poison"]).expect("small");
    let from = Origin {
        sequence: 7,
        failures: 3,
        published: 5,
        topic: "jobs".into(),
        group: "workers".into(),
        reason: "failed".into(),
    };
    let log = &mut process.log;
    let appending = log.append_dead_letter(&letter, 9, &from);
    world.model.append(
        appending.expect("it is open").published,
        vec![Bytes::from("poison")],
        Vec::new(),
    );
    world.poll(&mut process);
    world.run(&mut process);
    for life in 0..2 {
        let chunk = world.read(&mut process, ReadFrom::First, 1);
        let stored = chunk.expect("it is there").stored;
        let [Stored::Run { batch, origin, .. }] = &stored[..] else {
            panic!("life {life}: {stored:?}");
        };
        assert_eq!(batch, &letter);
        assert_eq!(origin.as_deref(), Some(&from));
        process = world.open();
    }
}

#[test]
fn syncs_come_when_they_are_due_or_never() {
    let after = Duration::from_millis(10);
    for (fsync, due) in [(Fsync::Every(after), 1), (Fsync::Never, 0)] {
        let mut world = World::new(1, settings(fsync));
        let mut process = world.open();
        world.append(&mut process, &[1]).expect("it is open");
        world.run(&mut process);
        while world.wait(&mut process) {
            world.run(&mut process);
        }
        world.append(&mut process, &[1]).expect("it is open");
        world.append(&mut process, &[1]).expect("it is open");
        assert_eq!(one(&mut world, &mut process), "write");
        assert_eq!(world.model.appended, 2, "it is reported without a sync");
        assert_eq!(one(&mut world, &mut process), "write");
        assert!(process.asked.is_empty());
        let mut syncs = 0;
        while world.wait(&mut process) {
            assert_eq!(one(&mut world, &mut process), "sync");
            syncs += 1;
        }
        assert_eq!(syncs, due);
    }
}

#[test]
fn what_was_written_by_another_setting_is_synced_as_the_new_one_says() {
    let mut world = World::new(1, settings(Fsync::Never));
    let mut process = world.open();
    world.append(&mut process, &[1]).expect("it is open");
    world.run(&mut process);
    world.save(&mut process).expect("it is open");
    world.run(&mut process);
    process.log.set_fsync(Fsync::Always);
    world.poll(&mut process);
    assert_eq!(
        names(&process),
        ["sync", "sync"],
        "the segment and the journal"
    );
    world.run(&mut process);
    process.log.set_fsync(Fsync::Never);
    world.append(&mut process, &[1]).expect("it is open");
    process.log.set_fsync(Fsync::Always);
    assert_eq!(one(&mut world, &mut process), "write");
    assert_eq!(world.model.appended, 2, "it is reported as it was written");
    assert_eq!(one(&mut world, &mut process), "sync");
    world.append(&mut process, &[1]).expect("it is open");
    assert_eq!(one(&mut world, &mut process), "write");
    assert_eq!(world.model.appended, 2);
    assert_eq!(one(&mut world, &mut process), "sync");
    assert_eq!(world.model.appended, 3);
}

#[test]
pub(super) fn a_sync_that_fails_is_not_tried_again() {
    for fails in 0..4 {
        let (mut world, mut process) = filled();
        // A write into the segment, or into the journal; the sync of either fails.
        if fails % 2 == 0 {
            world.append(&mut process, &[1]).expect("it is open");
        } else {
            let _ = process.log.save_group("g", &Progress::default());
            world.poll(&mut process);
        }
        let read = process.log.read(ReadFrom::First, 1);
        world.poll(&mut process);
        if fails < 2 {
            assert_eq!(one(&mut world, &mut process), "write");
            process.asked.retain(|(_, it)| it.name() == "sync");
            world.disk.faults.fail_sync = true;
        } else {
            world.disk.faults.fail_next = true;
        }
        one(&mut world, &mut process);
        let Some(Stop::Disk {
            operation, error, ..
        }) = &process.stopped
        else {
            panic!("{:?}", process.stopped);
        };
        assert_eq!(*operation, if fails < 2 { "sync" } else { "write" });
        assert_eq!(*error, DiskError::Failed);
        assert_eq!(process.reads[&read], Err(ReadError::Closed));
        assert_eq!(process.log.poll_timeout(), None);
        let before = process.asked.len();
        let batch = FrameBatch::encode(["a"]).expect("small");
        let refused = process.log.append(&batch, 0, Vec::new());
        assert_eq!(refused, Err(Refused::NotOpen));
        world.run(&mut process);
        world.poll(&mut process);
        assert!(process.asked.len() <= before);
    }
}

#[test]
fn what_has_no_room_waits_for_it() {
    let (mut world, mut process) = filled();
    world.disk.faults.room = Some(0);
    for _ in 0..20 {
        world.append(&mut process, &[500]).expect("it is open");
    }
    world.run(&mut process);
    assert_eq!(process.full, [true]);
    let reported = world.model.appended;
    assert!(reported < world.model.last());
    assert!(world.wait(&mut process), "it tries again");
    world.run(&mut process);
    assert_eq!(process.full, [true], "told once");
    world.check(&mut process);

    world.disk.faults.room = None;
    world.wait(&mut process);
    world.run(&mut process);
    assert_eq!(process.full, [true, false]);
    assert_eq!(world.model.appended, world.model.last());
    world.check(&mut process);
}

#[test]
fn what_is_not_allowed_is_refused() {
    let (_, mut process) = filled();
    let log = &mut process.log;
    let batch = FrameBatch::encode(["a"]).expect("small");
    let mark = |length: usize| Mark {
        name: "n".repeat(length),
        session: "s".repeat(255),
        position: 1,
    };
    let mut append = |batch: &FrameBatch, marks| log.append(batch, 0, marks).map(|_| ());
    let empty = FrameBatch::parse(Bytes::new()).expect("nothing");
    assert_eq!(append(&empty, Vec::new()), Err(Refused::Empty));
    let large = vec![0; 1 << 20];
    let large = FrameBatch::encode(vec![&large; 8]).expect("they fit");
    assert!(large.byte_len() > MAX_CONTENT);
    assert_eq!(append(&large, Vec::new()), Err(Refused::TooLarge));
    assert_eq!(append(&batch, vec![mark(256)]), Err(Refused::TooLarge));
    assert_eq!(append(&batch, vec![mark(255); 127]), Err(Refused::TooLarge));
    assert_eq!(append(&batch, vec![mark(255); 125]), Ok(()));
    let refused = process
        .log
        .save_group(&"g".repeat(256), &Progress::default());
    assert_eq!(refused, Err(Refused::TooLarge));
}

#[test]
fn reading_begins_where_it_is_asked_to() {
    let (mut world, mut process) = filled();
    let last = world.model.last();
    for sequence in [1, 2, 3, 30, last - 1, last] {
        let chunk = world.read(&mut process, ReadFrom::Sequence(sequence), 1);
        let chunk = chunk.expect("it is there");
        assert_eq!(first_of(&chunk.stored[0]), sequence);
        assert_eq!(chunk.stored.len(), 1, "no more than it has to");
        world.model.check_read(sequence, &chunk.stored);
    }
    let chunk = world
        .read(&mut process, ReadFrom::Last, 1)
        .expect("it is there");
    assert_eq!(first_of(&chunk.stored[0]), last);
    let behind = ReadFrom::Sequence(last + 100);
    let chunk = world.read(&mut process, behind, 1).expect("it is the end");
    assert!(chunk.is_end && chunk.stored.is_empty());
    assert_eq!(chunk.next.sequence(), last + 1);
    // Where it has stopped it goes on, when there is more.
    world.append(&mut process, &[1, 2, 3]).expect("it is open");
    world.run(&mut process);
    let more = world.read(&mut process, ReadFrom::At(chunk.next), 1);
    assert_eq!(first_of(&more.expect("it is there").stored[0]), last + 1);
}

#[test]
fn reading_begins_at_a_time() {
    let (mut world, mut process) = filled();
    let mut times = Vec::new();
    let mut from = ReadFrom::First;
    loop {
        let chunk = world.read(&mut process, from, 1).expect("it is there");
        for stored in &chunk.stored {
            if let Stored::Run {
                published, first, ..
            } = stored
            {
                times.push((*published, *first));
            }
        }
        if chunk.is_end {
            break;
        }
        from = ReadFrom::At(chunk.next);
    }
    assert!(times.is_sorted(), "time does not run backwards");
    assert!(times.len() > 20);
    let latest = times[times.len() - 1].0;
    for time in times[0].0 - 1..=latest + 1 {
        let expected = times.iter().find(|(published, _)| *published >= time);
        let chunk = world.read(&mut process, ReadFrom::Time(time), 1);
        let chunk = chunk.expect("it is there");
        let found = chunk.stored.first().map(first_of);
        assert_eq!(found, expected.map(|(_, first)| *first), "at {time}");
        assert_eq!(chunk.stored.is_empty(), time > latest);
    }
}

#[test]
pub(super) fn what_is_missing_is_not_taken_for_empty() {
    let (world, process) = filled();
    drop(process);
    let files = world.disk.files();
    let segments = segments(&files);
    assert!(segments.len() >= 4);
    let journal = *files
        .keys()
        .find(|it| matches!(it, File::Journal(_)))
        .expect("one");
    let without = |file: File| {
        let mut files = files.clone();
        files.remove(&file);
        opened(&world, files)
    };
    let process = without(journal);
    assert_eq!(damage(&process).kind, DamageKind::NoJournal);
    for (place, segment) in segments.iter().enumerate() {
        let process = without(*segment);
        let is_between = place > 0 && place + 1 < segments.len();
        let (file, kind) = if is_between {
            // The one behind says that another comes before it.
            (segments[place + 1], DamageKind::Misplaced)
        } else {
            (*segment, DamageKind::Missing)
        };
        assert_eq!(
            damage(&process),
            &Damage {
                file,
                offset: 0,
                kind
            }
        );
    }
    // A journal without its log.
    let journal_alone = files.iter().filter(|(file, _)| **file == journal);
    let process = opened(
        &world,
        journal_alone
            .map(|(file, data)| (*file, data.clone()))
            .collect(),
    );
    assert_eq!(damage(&process).kind, DamageKind::Missing);
}

#[test]
fn what_belongs_elsewhere_or_is_newer_is_refused() {
    let (world, process) = filled();
    drop(process);
    let files = world.disk.files();
    let segments = segments(&files);
    let with = |file: File, data: Vec<u8>| {
        let mut files = files.clone();
        files.insert(file, data);
        opened(&world, files)
    };
    // Two that were swapped, a segment under another name.
    for [file, other] in
        [[0, 1], [1, 0], [segments.len() - 1, 0]].map(|it| it.map(|it| segments[it]))
    {
        let process = with(file, files[&other].clone());
        assert_eq!(
            damage(&process),
            &Damage {
                file,
                offset: 0,
                kind: DamageKind::Misplaced
            }
        );
    }
    let File::Segment(first) = segments[0] else {
        panic!("a segment");
    };
    let head = Head {
        format: 2,
        epoch: world.epoch,
        first,
        previous: 0,
        published: 0,
    };
    let newer = head_of_segment(head, 0, core::iter::empty());
    let process = with(segments[0], newer.to_vec());
    assert_eq!(damage(&process).kind, DamageKind::NewerFormat(2));

    let mut other = World::new(7, world.settings);
    other.epoch = 26;
    let mut process = other.open();
    other.append(&mut process, &[1]).expect("it is open");
    other.run(&mut process);
    let foreign = other.disk.files();
    let process = with(segments[0], foreign[&segments[0]].clone());
    assert_eq!(damage(&process).kind, DamageKind::Misplaced);

    let mut elsewhere = world.clone();
    elsewhere.topic = "other";
    let mut process = elsewhere.start();
    elsewhere.run(&mut process);
    assert_eq!(damage(&process).kind, DamageKind::Misplaced);
    for text in [
        damage(&process).to_string(),
        process.stopped.expect("it has").to_string(),
    ] {
        assert!(text.contains(".journal holds at byte 0"), "{text}");
    }
}

/// Every byte of every file, changed one at a time: what was safe, as the files themselves say, is there, or it is said
/// where the damage is.
#[test]
fn a_byte_that_has_changed_is_found_out_or_was_not_known_to_be_safe() {
    let mut world = World::new(3, settings(Fsync::Always));
    world.settings.segment_bytes = 1000;
    world.settings.preallocate = false;
    let mut process = world.open();
    for _ in 0..14 {
        world.append(&mut process, &[20, 100]).expect("it is open");
        world.run(&mut process);
        let progress = Progress {
            settled_up_to: world.model.appended,
            ..Progress::default()
        };
        let id = process.log.save_group("g", &progress).expect("it is open");
        world.model.save("g", id, Some(progress));
        world.poll(&mut process);
        world.run(&mut process);
    }
    let files = world.disk.files();
    let last = world.model.last();
    let segments = segments(&files);
    let tail = segments[segments.len() - 1];
    assert!(segments.len() >= 3);
    let (mut stopped, mut torn) = (0, 0);
    for (file, data) in &files {
        for at in 0..data.len() {
            let mut files = files.clone();
            files.get_mut(file).expect("it is there")[at] ^= 0x55;
            let mut world = world.clone();
            world.disk = SimDisk::with(files);
            // What the last records say cannot be known to be safe from the files alone.
            world.model.appended = 0;
            world.model.forget_saved();
            let mut process = world.start();
            world.run(&mut process);
            if let Some(stop) = &process.stopped {
                let Stop::Damaged(damage) = stop else {
                    panic!("{stop}");
                };
                assert!(
                    damage.file == *file || damage.kind != DamageKind::NotARecord,
                    "{file} at {at}: {damage}"
                );
                stopped += 1;
                continue;
            }
            let recovered = process.recovered.as_ref().expect("it is open");
            torn += u32::from(recovered.torn_bytes > 0);
            // The journal says how far groups had got, so not even the last message can go unnoticed.
            assert_eq!(recovered.next, last + 1, "{file} at {at}");
            // What is damaged before the tail is found out when it is read.
            if *file == tail || !segments.contains(file) {
                world.check(&mut process);
            } else {
                let read = world.read(&mut process, ReadFrom::First, usize::MAX);
                let mut next = read;
                while let Ok(chunk) = &next
                    && !chunk.is_end
                {
                    next = world.read(&mut process, ReadFrom::At(chunk.next), usize::MAX);
                }
                let Err(ReadError::Damaged(damage)) = next else {
                    panic!("{file} at {at} goes unnoticed");
                };
                assert_eq!(damage.file, *file);
            }
        }
    }
    assert!(stopped > 500 && torn == 0, "{stopped} {torn}");
}

/// Appends a message of 500 bytes that nobody has published.
fn append_plain(world: &mut World, process: &mut Process, byte: u8) {
    let body = Bytes::from(vec![byte; 500]);
    let batch = FrameBatch::encode([&body]).expect("small");
    let appending = process.log.append(&batch, 2_000_000, Vec::new());
    let published = appending.expect("it is open").published;
    world.model.append(published, vec![body], Vec::new());
    world.poll(process);
}

/// What is written anew is as long as what was torn: what stood behind that must not be taken for what follows.
#[test]
pub(super) fn nothing_of_a_torn_tail_comes_back_behind_what_is_written_in_its_place() {
    let mut world = World::new(1, settings(Fsync::Always));
    let mut process = world.open();
    append_plain(&mut world, &mut process, b'a');
    world.run(&mut process);
    for byte in *b"bcd" {
        append_plain(&mut world, &mut process, byte);
    }
    world.run(&mut process);
    drop(process);
    // The first of the three was not written whole, so none of them was reported.
    world.model.appended = 1;
    let mut files = world.disk.files();
    let data = files.get_mut(&File::Segment(1)).expect("it is there");
    let torn = data
        .iter()
        .position(|byte| *byte == b'b')
        .expect("it is there");
    data[torn..torn + 100].fill(0);
    world.disk = SimDisk::with(files);
    let mut process = world.open();
    assert_eq!(world.model.last(), 1);
    append_plain(&mut world, &mut process, b'x');
    world.run(&mut process);
    world.kill(process);
    let mut process = world.open();
    assert_eq!(world.model.last(), 2);
    world.check(&mut process);
}

#[test]
fn what_a_power_cut_has_taken_is_a_gap() {
    let mut world = World::new(1, settings(Fsync::Never));
    let mut process = world.open();
    world.append(&mut process, &[1, 1, 1]).expect("it is open");
    world.run(&mut process);
    let progress = Progress {
        settled_up_to: 3,
        ..Progress::default()
    };
    let id = process.log.save_group("g", &progress).expect("it is open");
    world.model.save("g", id, Some(progress));
    world.poll(&mut process);
    world.run(&mut process);
    // The journal was written out, the segment was not.
    let mut files = world.disk.files();
    let segment = segments(&files)[0];
    let data = files.get_mut(&segment).expect("it is there");
    let head = data
        .windows(5)
        .rposition(|it| it == b"\x80\0\0\x15\x20")
        .expect("a RUN")
        - 21;
    data[head..].fill(0);
    world.disk = SimDisk::with(files);
    let mut process = world.open();
    let recovered = process.recovered.clone().expect("it is open");
    let lost = recovered.lost.expect("they are gone");
    assert_eq!((lost.from, lost.to, recovered.next), (1, 3, 4));
    world.append(&mut process, &[2]).expect("it is open");
    world.run(&mut process);
    world.check(&mut process);
    // With a promise it would have been damage.
    let chunk = world
        .read(&mut process, ReadFrom::First, 1000)
        .expect("it is there");
    assert_eq!(chunk.stored[0], Stored::Gap(lost));
    world.kill(process);
    let process = world.open();
    let recovered = process.recovered.clone().expect("it is open");
    assert_eq!((recovered.lost, recovered.next), (None, 5));
}

#[test]
fn a_log_is_deleted_as_a_whole_whenever_the_power_goes() {
    for steps in 0.. {
        let (mut world, mut process) = filled();
        for _ in 0..3 {
            world.append(&mut process, &[800]).expect("it is open");
        }
        world.step(&mut process);
        process.log.delete().expect("it is open");
        world.poll(&mut process);
        assert_eq!(process.log.delete(), Err(Refused::NotOpen));
        let went_on = (0..steps).all(|_| world.step(&mut process));
        let is_deleted = process.is_deleted;
        let before = world.model.clone();
        world.cut_power(process);
        if is_deleted {
            assert_eq!(world.disk.files().len(), 0);
        }
        let epoch = world.epoch;
        world.epoch = 99;
        let mut fresh = world.clone();
        let mut process = world.start();
        while process.recovered.is_none() && world.try_step_raw(&mut process) {}
        let found = process.recovered.clone().expect("it is open");
        if found.epoch == epoch {
            // It had not begun: all is there.
            assert!(!is_deleted);
            fresh.model = before;
            let mut process = fresh.open();
            fresh.check(&mut process);
        } else {
            assert_eq!((found.epoch, found.next), (99, 1));
            assert!(found.groups.is_empty() && found.producers.is_empty());
        }
        if !went_on {
            assert!(is_deleted);
            break;
        }
    }
}

#[test]
pub(super) fn what_every_group_has_settled_goes_and_what_is_read_meanwhile_goes_on() {
    let (mut world, mut process) = filled();
    let chunk = world
        .read(&mut process, ReadFrom::First, 1)
        .expect("it is there");
    let reading = process.log.read(ReadFrom::At(chunk.next), 1);
    world.poll(&mut process);
    let asked = core::mem::take(&mut process.asked);
    let settled_up_to = world.model.appended - 5;
    world.model.trimming = settled_up_to + 1;
    let retention = Retention {
        settled_up_to,
        ..Retention::default()
    };
    process.log.trim(&retention).expect("it is open");
    world.poll(&mut process);
    world.run(&mut process);
    let first = world.model.trimmed;
    assert!(first > 1);
    let files = world.disk.files();
    assert_eq!(segments(&files)[0], File::Segment(first));
    // What was asked for is not there any more: it goes on where the log begins.
    process.asked = asked;
    world.run(&mut process);
    let chunk = process.reads.remove(&reading).expect("an answer");
    assert_eq!(first_of(&chunk.expect("it is there").stored[0]), first);
    world.check(&mut process);
    world.kill(process);
    let mut process = world.open();
    world.check(&mut process);
}

#[test]
fn a_journal_that_has_grown_is_replaced() {
    let mut world = World::new(1, settings(Fsync::Never));
    let mut process = world.open();
    let failed = (1..=1000).map(|sequence| crate::log::Failed {
        sequence,
        failures: 1,
        not_before_ms: 0,
    });
    let mut progress = Progress {
        failed: failed.collect(),
        ..Progress::default()
    };
    let mut journals = Vec::new();
    for settled_up_to in 0..120 {
        progress.settled_up_to = settled_up_to;
        let id = process.log.save_group("g", &progress).expect("it is open");
        world.model.save("g", id, Some(progress.clone()));
        world.poll(&mut process);
        world.run(&mut process);
        let files = world.disk.files();
        let now: Vec<_> = files.keys().copied().collect();
        assert_eq!(now.len(), 1, "there is no other file: {now:?}");
        assert!(files[&now[0]].len() < (1 << 20) + 50_000);
        if journals.last() != Some(&now[0]) {
            journals.push(now[0]);
        }
    }
    assert!(journals.len() >= 3, "{journals:?}");
    world.kill(process);
    let process = world.open();
    let recovered = process.recovered.expect("it is open");
    assert_eq!(recovered.groups[0].1, progress);
}

/// A log of two large segments with many records each.
fn large() -> (World, Process) {
    let mut world = World::new(5, settings(Fsync::Never));
    world.settings.segment_bytes = 1 << 20;
    let mut process = world.open();
    for _ in 0..100 {
        world
            .append(&mut process, &[10_000; 2])
            .expect("it is open");
        world.run(&mut process);
    }
    assert_eq!(segments(&world.disk.files()).len(), 2);
    (world, process)
}

/// The offset at which a segment is first read to find a sequence, and the files that were read.
fn first_read(world: &mut World, process: &mut Process, from: ReadFrom) -> (u64, Vec<File>) {
    let id = process.log.read(from, 1);
    world.poll(process);
    let (mut first, mut files) = (None, Vec::new());
    while !process.reads.contains_key(&id) {
        for (_, operation) in &process.asked {
            if let Operation::Read { file, offset, .. } = operation {
                files.push(*file);
                if let File::Segment(_) = file {
                    first.get_or_insert(*offset);
                }
            }
        }
        one(world, process);
    }
    let chunk = process.reads.remove(&id).expect("an answer");
    let chunk = chunk.expect("it is there");
    world
        .model
        .check_read(first_of(&chunk.stored[0]), &chunk.stored);
    world.run(process);
    (first.expect("a segment was read"), files)
}

#[test]
fn the_index_leads_close_to_where_it_begins() {
    let (mut world, mut process) = large();
    let record = 20_000;
    let last = world.model.last();
    let (offset, files) = first_read(&mut world, &mut process, ReadFrom::Sequence(last));
    assert!(
        matches!(files[..], [File::Segment(second)] if second > 1),
        "the last is in memory"
    );
    let second = segments(&world.disk.files())[1];
    let size = world.disk.files()[&second].iter().rposition(|it| *it != 0);
    assert!(
        offset as usize + 100_000 > size.expect("it is not empty"),
        "{offset}"
    );
    let (offset, files) = first_read(&mut world, &mut process, ReadFrom::Sequence(90));
    assert_eq!(files, [File::Index(1), File::Segment(1)]);
    assert!(
        offset > 44 * record - 100_000 && offset <= 44 * record + 10_000,
        "{offset}"
    );
}

#[test]
fn an_index_that_is_missing_torn_or_wrong_is_made_again() {
    let (mut world, process) = large();
    drop(process);
    let good = world.disk.files();
    let index = good[&File::Index(1)].clone();
    let mut other = crate::log::index::Index::default();
    other.note(crate::log::index::Entry {
        first: 7,
        published: 0,
        offset: 99_999,
    });
    let wrong = other.encode(world.epoch, 1).expect("it is short");
    let foreign = other.encode(1, 1).expect("it is short");
    for bad in [
        None,
        Some(&index[..50]),
        Some(&wrong[..]),
        Some(&foreign[..]),
        Some(&[]),
    ] {
        let mut files = good.clone();
        files.remove(&File::Index(1));
        files.extend(bad.map(|bad| (File::Index(1), bad.to_vec())));
        world.disk = SimDisk::with(files);
        let mut process = world.open();
        let (_, files) = first_read(&mut world, &mut process, ReadFrom::Sequence(90));
        assert_eq!(files[0], File::Index(1));
        assert!(files.len() > 3, "it walked there: {files:?}");
        assert_eq!(
            world.disk.files()[&File::Index(1)],
            index,
            "it is made again"
        );
        let (offset, _) = first_read(&mut world, &mut process, ReadFrom::Sequence(90));
        assert!(offset > 500_000);
        world.check(&mut process);
    }
}

#[test]
fn an_index_without_its_segment_is_deleted() {
    let (world, process) = large();
    drop(process);
    let mut files = world.disk.files();
    let index = files[&File::Index(1)].clone();
    files.insert(File::Index(9), index);
    let mut world = world;
    world.disk = SimDisk::with(files);
    let _process = world.open();
    let files = world.disk.files();
    assert!(files.contains_key(&File::Index(1)) && !files.contains_key(&File::Index(9)));
}
