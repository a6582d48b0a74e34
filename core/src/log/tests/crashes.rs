//! Histories in which the power goes, at every place and in every way.

use super::sim_disk::Rng;
use super::world::{Process, World, settings};
use super::{Fsync, ReadFrom, Settings, first_of};
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

pub(super) const POLICIES: [Fsync; 3] = [
    Fsync::Always,
    Fsync::Every(Duration::from_millis(10)),
    Fsync::Never,
];

/// What is done in a history, between operations of the disk.
fn act(world: &mut World, process: &mut Process) {
    match world.rng.below(8) {
        0..=3 => {
            let messages = 1 + world.rng.below(4);
            let length = [10, 200, 700][world.rng.below(3)];
            let lengths: Vec<_> = (0..messages).map(|_| world.rng.below(length)).collect();
            world.append(process, &lengths).expect("it is open");
        }
        4 => world.save(process).expect("it is open"),
        5 if world.rng.one_in(4) => world.trim(process).expect("it is open"),
        5 => {
            world.wait(process);
        }
        6 if world.rng.one_in(2) => look(world, process),
        _ => {
            world.step(process);
        }
    }
}

/// Reads from somewhere.
fn look(world: &mut World, process: &mut Process) {
    let sequence = world.rng.below(world.model.last() as usize + 2) as u64;
    let from = match world.rng.below(3) {
        0 => ReadFrom::Last,
        1 => ReadFrom::Sequence(sequence),
        _ => ReadFrom::Time(1_000_000 + world.rng.below(400) as u64),
    };
    let bytes = world.rng.below(1000);
    let appended = world.model.appended;
    let Ok(chunk) = world.read(process, from, bytes) else {
        assert!(process.stopped.is_some());
        return;
    };
    if let Some(first) = chunk.stored.first() {
        let first = first_of(first);
        if from == ReadFrom::Sequence(sequence) {
            assert!(first >= sequence.min(appended + 1));
            assert!(first <= sequence.max(world.model.trimmed).max(1));
        }
        world.model.check_read(first, &chunk.stored);
    }
}

/// Crashes at every operation of a history, and in the recovery from it at every operation as well.
fn crash_everywhere(seed: u64, settings: Settings, acts: usize) {
    let mut world = World::new(seed, settings);
    let mut process = world.open();
    let mut moments = Vec::new();
    for _ in 0..acts {
        act(&mut world, &mut process);
        moments.push((world.clone(), process.asked.clone()));
    }
    world.run(&mut process);
    world.check(&mut process);
    for (moment, (world, asked)) in moments.into_iter().enumerate() {
        for torn in 0..3 {
            let mut world = world.clone();
            world.rng = Rng(seed ^ (moment as u64 * 1000 + torn));
            for (_, operation) in &asked {
                if world.rng.one_in(2) {
                    let _ = world.disk.execute(operation);
                }
            }
            world.disk.cut_power(&mut world.rng);
            crash_in_recovery(world);
        }
    }
}

fn crash_in_recovery(world: World) {
    for steps in 0.. {
        let mut world = world.clone();
        let mut process = world.start();
        let is_open = (0..steps).all(|_| world.step(&mut process)) && process.recovered.is_some();
        if !is_open && process.recovered.is_none() {
            assert_eq!(process.stopped, None);
            world.cut_power(process);
            process = world.open();
        }
        world.run(&mut process);
        world.check(&mut process);
        // It goes on as if nothing had happened.
        world.append(&mut process, &[5, 600]).expect("it is open");
        world.run(&mut process);
        while process.log.poll_timeout().is_some() {
            world.wait(&mut process);
            world.run(&mut process);
        }
        world.check(&mut process);
        if is_open {
            break;
        }
    }
}

#[test]
fn a_power_cut_at_every_operation_of_twenty_histories_and_of_the_recovery() {
    for seed in 0..20 {
        let mut settings = settings(POLICIES[seed as usize % 3]);
        settings.preallocate = seed % 2 == 0;
        crash_everywhere(seed, settings, 40);
    }
}

/// Any number of crashes of any kind, one after the other.
pub(super) fn live_and_die(seed: u64, fsync: Fsync, lives: usize) -> World {
    let mut world = World::new(seed, settings(fsync));
    world.settings.preallocate = world.rng.one_in(2);
    for _ in 0..lives {
        let mut process = world.open();
        world.check(&mut process);
        for _ in 0..world.rng.below(60) {
            act(&mut world, &mut process);
            match world.rng.below(40) {
                0 => world.disk.faults.short_write = true,
                1 => world.disk.faults.room = Some(0),
                2 => world.disk.faults.room = None,
                3 => {
                    world.disk.faults.fail_sync = true;
                    break;
                }
                _ => {}
            }
        }
        if world.rng.one_in(2) {
            world.disk.faults.room = None;
            while process.stopped.is_none()
                && (world.step(&mut process) || world.wait(&mut process))
            {}
            if process.stopped.is_none() {
                assert_eq!(world.model.appended, world.model.last());
            }
        }
        if world.rng.one_in(3) {
            world.kill(process);
        } else {
            world.cut_power(process);
        }
    }
    world
}

proptest! {
    #[test]
    fn whatever_happens_what_was_promised_is_there(seed: u64, policy in 0..3_usize) {
        live_and_die(seed, POLICIES[policy], 6);
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..10 {
        let [one, other] = [0, 1].map(|_| live_and_die(seed, Fsync::Always, 4).disk.files());
        assert_eq!(one, other);
    }
}
