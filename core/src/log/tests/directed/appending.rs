//! Appending, and what stands in its way.

use super::{filled, names, one};
use crate::log::tests::world::{World, settings};
use crate::log::tests::{DiskError, Fsync, Operation, Progress, ReadError, ReadFrom, Stop, Stored};
use crate::log::{MAX_CONTENT, Refused};
use crate::wire::FrameBatch;
use crate::wire::control::{Mark, Origin};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

#[test]
fn what_is_appended_during_a_sync_is_written_beside_it_and_shares_the_next() {
    let mut world = World::new(1, settings(Fsync::Always));
    let mut process = world.open();
    world.append(&mut process, &[1]).expect("it is open");
    world.run(&mut process);
    world.append(&mut process, &[1]).expect("it is open");
    assert_eq!(one(&mut world, &mut process), "write");
    for _ in 0..10 {
        world.append(&mut process, &[1, 2]).expect("it is open");
    }
    // One write of the first that came, and one of the others.
    for _ in 0..2 {
        assert_eq!(names(&process), ["sync", "write"]);
        process.asked.rotate_left(1);
        assert_eq!(one(&mut world, &mut process), "write");
    }
    assert_eq!(names(&process), ["sync"]);
    assert_eq!(world.model.appended, 1);
    assert_eq!(one(&mut world, &mut process), "sync");
    assert_eq!(world.model.appended, 2, "what was written before it began");
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
        let crate::log::Output::Disk(_, Operation::Write { pieces, .. }) = output else {
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
pub(in crate::log::tests) fn a_sync_that_fails_is_not_tried_again() {
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
