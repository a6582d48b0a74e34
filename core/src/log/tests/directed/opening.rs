//! Opening: what is whole, torn, damaged, or of somebody else.

use super::{damage, filled, opened, segments};
use crate::log::content::{Head, head_of_segment};
use crate::log::tests::sim_disk::SimDisk;
use crate::log::tests::world::{Process, World, settings};
use crate::log::tests::{File, Fsync, Progress, ReadError, ReadFrom, Stop, Stored};
use crate::log::{Damage, DamageKind};
use crate::wire::FrameBatch;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

#[test]
pub(in crate::log::tests) fn what_is_missing_is_not_taken_for_empty() {
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
pub(in crate::log::tests) fn nothing_of_a_torn_tail_comes_back_behind_what_is_written_in_its_place()
{
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
