//! One thing at a time.

pub(super) mod appending;
pub(super) mod deleting;
pub(super) mod opening;
mod reading;

use crate::log::Damage;
use crate::log::tests::sim_disk::SimDisk;
use crate::log::tests::world::{Process, World, settings};
use crate::log::tests::{DiskError, File, Fsync, OpId, Stop};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

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
