//! The next segment is made beside what is appended to the last one.

use super::sim_disk::SimDisk;
use super::world::{Process, World, settings};
use super::{File, Fsync, Operation};
use alloc::vec;
use alloc::vec::Vec;

/// So much is appended at a time in these tests.
const MESSAGE: usize = 500;

/// Carries out everything, in the order in which it is asked for, and returns it.
fn run(world: &mut World, process: &mut Process) -> Vec<Operation> {
    let mut done = Vec::new();
    while !process.asked.is_empty() {
        let (id, operation) = process.asked.remove(0);
        let result = world.disk.execute(&operation);
        process.log.completed(id, result, crate::time::Now::START);
        world.poll(process);
        done.push(operation);
    }
    done
}

fn append(world: &mut World, process: &mut Process) -> Vec<Operation> {
    world.append(process, &[MESSAGE]).expect("it is open");
    run(world, process)
}

fn spare(world: &World) -> Option<(File, usize)> {
    let files = world.disk.files();
    let mut spares = files.iter();
    spares
        .find(|(file, _)| matches!(file, File::Spare(_)))
        .map(|(file, data)| (*file, data.len()))
}

fn world(fsync: Fsync) -> (World, Process) {
    let mut world = World::new(1, settings(fsync));
    let process = world.open();
    (world, process)
}

#[test]
fn a_segment_that_is_full_costs_a_few_small_operations() {
    let (mut world, mut process) = world(Fsync::Always);
    let segments = |process: &Process| process.log.size().0;
    append(&mut world, &mut process);
    assert_eq!(segments(&process), 1);
    assert_eq!(spare(&world), None, "not before the last one is half full");
    let mut last = Vec::new();
    while segments(&process) == 1 {
        last = append(&mut world, &mut process);
    }
    let last: Vec<_> = last
        .iter()
        .filter(|it| it.file() != Some(File::Index(1)))
        .collect();
    let names: Vec<_> = last.iter().map(|it| it.name()).collect();
    let roll = [
        "truncate",
        "sync",
        "write",
        "sync",
        "rename",
        "sync of the folder",
    ];
    let noted = ["write", "sync"];
    let appended = ["write", "sync"];
    assert_eq!(names, [&roll[..], &noted, &appended].concat());
    let bytes = last.iter().map(|it| {
        if let Operation::Write { pieces, .. } = it {
            pieces.iter().map(bytes::Bytes::len).sum()
        } else {
            0
        }
    });
    assert!(bytes.sum::<usize>() < MESSAGE + 300);
}

/// A segment in which there is room for many syncs of little.
const SEGMENT: u64 = 8192;

/// How large the spare is while the first segment fills with messages of this size.
fn sizes(message: usize) -> Vec<u64> {
    let mut world = World::new(1, settings(Fsync::Always));
    world.settings.segment_bytes = SEGMENT;
    let mut process = world.open();
    let mut sizes = Vec::new();
    while process.log.size().0 < 2 {
        world.append(&mut process, &[message]).expect("it is open");
        run(&mut world, &mut process);
        sizes.extend(spare(&world).map(|(_, size)| size as u64));
    }
    assert_eq!(spare(&world), None, "it is the segment");
    sizes
}

#[test]
fn it_is_filled_in_time_where_syncs_are_small_and_in_part_where_they_are_large() {
    let small = sizes(20);
    assert_eq!(small[0], 0, "step by step: {small:?}");
    assert!(small.is_sorted() && small.contains(&(SEGMENT / 4)));
    assert_eq!(small.last(), Some(&SEGMENT), "{small:?}");
    assert!(sizes(MESSAGE).last() < Some(&SEGMENT));
}

/// So its syncs are as fast as those of the others.
#[test]
fn the_first_one_is_filled_before_it_is_used() {
    let (mut world, mut process) = world(Fsync::Always);
    append(&mut world, &mut process);
    let files = world.disk.files();
    assert_eq!(
        files[&File::Segment(1)].len() as u64,
        world.settings.segment_bytes
    );
}

#[test]
fn appends_go_on_while_the_disk_is_at_it() {
    let (mut world, mut process) = world(Fsync::Always);
    append(&mut world, &mut process);
    let is_for_spare = |operation: &Operation| matches!(operation.file(), Some(File::Spare(_)));
    // The disk does everything but that.
    for _ in 0..6 {
        world.append(&mut process, &[MESSAGE]).expect("it is open");
        while let Some(at) = process.asked.iter().position(|(_, it)| !is_for_spare(it)) {
            let (id, operation) = process.asked.remove(at);
            let result = world.disk.execute(&operation);
            process.log.completed(id, result, crate::time::Now::START);
            world.poll(&mut process);
        }
        assert_eq!(world.model.appended, world.model.last());
    }
    assert_eq!(process.asked.len(), 1, "it is at it");
}

#[test]
fn without_room_for_it_nothing_waits_before_it_is_needed() {
    let (mut world, mut process) = world(Fsync::Always);
    let append = |world: &mut World, process: &mut Process| {
        world.append(process, &[20]).expect("it is open");
        run(world, process);
    };
    append(&mut world, &mut process);
    world.disk.faults.room = Some(0);
    while process.log.poll_timeout().is_none() {
        append(&mut world, &mut process);
    }
    let so_far = world.model.appended;
    append(&mut world, &mut process);
    assert_eq!(world.model.appended, so_far + 1);
    assert!(process.full.is_empty());
    while process.full.is_empty() {
        assert_eq!(world.model.appended, world.model.last());
        append(&mut world, &mut process);
    }
    assert_eq!(process.full, [true]);
    assert_eq!(process.log.size().0, 1);
    assert!(world.model.appended < world.model.last());
    world.disk.faults.room = None;
    assert!(world.wait(&mut process), "it tries again");
    world.run(&mut process);
    assert_eq!(process.full, [true, false]);
    assert_eq!(world.model.appended, world.model.last());
    assert_eq!(process.log.size().0, 2);
    world.check(&mut process);
}

/// It may have a head of an earlier life, and be of any size.
#[test]
fn what_an_earlier_life_has_made_is_not_used() {
    let (mut world, mut process) = world(Fsync::Always);
    while spare(&world).is_none() {
        append(&mut world, &mut process);
    }
    let (file, _) = spare(&world).expect("there is one");
    let mut files = world.disk.files();
    let head = files[&File::Segment(1)].clone();
    files.extend([(file, head.clone()), (File::Spare(99), head)]);
    world.disk = SimDisk::with(files);
    let mut process = world.start();
    let mut done = run(&mut world, &mut process);
    assert_eq!(process.stopped, None);
    done.retain(|it| matches!(it.file(), Some(File::Spare(_))));
    let deletes = [file, File::Spare(99)].map(|file| Operation::Delete { file });
    assert_eq!(done[..2], deletes);
    while process.log.size().0 < 3 {
        append(&mut world, &mut process);
    }
    world.check(&mut process);
}

#[test]
fn nothing_is_filled_where_nothing_is_synced() {
    let (mut world, mut process) = world(Fsync::Never);
    while process.log.size().0 < 3 {
        append(&mut world, &mut process);
    }
    let files = world.disk.files();
    let last = files.keys().rfind(|it| matches!(it, File::Segment(_)));
    let last = &files[last.expect("there is one")];
    assert!((last.len() as u64) < world.settings.segment_bytes);
    assert_ne!(last[last.len() - MESSAGE..], vec![0; MESSAGE]);
    world.check(&mut process);
}
