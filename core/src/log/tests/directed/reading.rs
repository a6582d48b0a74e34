//! Reading, and finding where to begin.

use super::{filled, one, segments};
use crate::log::tests::sim_disk::SimDisk;
use crate::log::tests::world::{Process, World, settings};
use crate::log::tests::{File, Fsync, Operation, ReadFrom, Stored, first_of};
use alloc::vec::Vec;

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

/// What is read of a log from its first message to its last in so many bytes of messages at a time, in bytes.
fn bytes_read(world: &mut World, process: &mut Process, limit: usize) -> usize {
    let (mut from, mut bytes) = (ReadFrom::First, 0);
    loop {
        let id = process.log.read(from, limit);
        world.poll(process);
        while !process.reads.contains_key(&id) {
            for (_, operation) in &process.asked {
                if let Operation::Read { length, .. } = operation {
                    bytes += length;
                }
            }
            one(world, process);
        }
        let chunk = process.reads.remove(&id).expect("an answer");
        let chunk = chunk.expect("it is there");
        if chunk.is_end {
            return bytes;
        }
        from = ReadFrom::At(chunk.next);
    }
}

#[test]
fn who_reads_on_where_it_stopped_reads_little_twice_however_large_the_records() {
    for (records, messages) in [(400, 1), (40, 20), (8, 60), (3, 200)] {
        let mut world = World::new(6, settings(Fsync::Never));
        world.settings.segment_bytes = 64 << 20;
        let mut process = world.open();
        for _ in 0..records {
            let message = alloc::vec![10_000; messages];
            world.append(&mut process, &message).expect("it is open");
            world.run(&mut process);
        }
        let written = records * messages * 10_004;
        for limit in [32 << 10, 100_000, 1 << 20] {
            let read = bytes_read(&mut world, &mut process, limit);
            assert!(
                read < written + written / 4 + (256 << 10),
                "{read} bytes of {written} with {messages} messages a record, {limit} at a time"
            );
        }
    }
}
