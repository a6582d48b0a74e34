//! What is not needed any more goes.

use super::{filled, segments};
use crate::log::tests::world::{World, settings};
use crate::log::tests::{File, Fsync, Progress, ReadFrom, first_of};
use crate::log::{Refused, Retention};
use alloc::vec::Vec;

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
pub(in crate::log::tests) fn what_every_group_has_settled_goes_and_what_is_read_meanwhile_goes_on()
{
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
