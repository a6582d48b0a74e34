//! The real binary, and power cuts: nothing that was confirmed is lost, nothing of a producer with a name is there
//! twice, and nothing whose settling was flushed comes again.
//!
//! `shim.c` is loaded into the broker. It tells what the broker does to its files, and ends it at an operation that was
//! chosen beforehand. From what it told, `disk.rs` makes the folder as a power cut may have left it: without what was not
//! synced, or with any part of it. Then the broker is started on that, and the same again. A failure names its seed.
//!
//! That the shim loses what is not synced is shown by a broker that does not sync: it loses what it confirmed.

mod broker;
mod client;
mod disk;
mod story;

use disk::{Disk, Leaves};
use message_queue_tests::random::SplitMix64;
use message_queue_tests::shim;
use std::fs;
use std::path::Path;
use story::Story;

/// How many stories are told, and how often the broker is killed in each; three times in four the power goes, too.
const STORIES: u64 = 8;
const CUTS: usize = 8;

/// A cut comes within so many operations. Making a segment of 1 MiB takes some ten.
const OPERATIONS: usize = 150;

/// A story of power cuts. Returns it with all that has become of its messages.
fn tell(seed: u64, fsync: &str, shim: &Path) -> Story {
    let mut random = SplitMix64::new(seed);
    let work = tempfile::tempdir().expect("a folder");
    let root = work.path().join("disk");
    fs::create_dir(&root).expect("it can be made");
    let data = root.join("data");
    let mut disk = Disk::of(&root);
    let mut story = Story::default();
    for cut in 0..=CUTS {
        let journal = work.path().join(format!("journal-{cut}"));
        // The last life is not cut off.
        let cut_at = if cut < CUTS {
            1 + random.below(OPERATIONS)
        } else {
            0
        };
        let broker = broker::Broker::start(&broker::Setup {
            shim,
            disk: &root,
            data: &data,
            journal: &journal,
            fsync,
            cut_at,
        });
        if let Some(address) = broker.address {
            if cut < CUTS {
                story.goes_on(address, &mut random);
            } else {
                story.ends(address);
            }
        }
        broker.kill();
        disk.follow(&fs::read(&journal).unwrap_or_default());
        // Sometimes the broker alone is killed, and the power goes in a later life.
        if random.one_in(4) {
            disk.lives_on();
        } else {
            let leaves = Leaves::ALL[random.below(Leaves::ALL.len())];
            disk.cut(leaves, &mut random);
        }
    }
    story
}

#[test]
fn what_was_promised_is_kept_over_power_cuts() {
    let work = tempfile::tempdir().expect("a folder");
    let shim = shim::build("tests/power_cuts/shim.c", work.path());
    let mut told = 0;
    for seed in 0..STORIES {
        let story = tell(seed, "always", &shim);
        assert_eq!(story.broken(), Vec::<String>::new(), "seed {seed}");
        told += story.confirmed() + story.flushed();
    }
    assert!(told > 1000, "{told}: hardly anything was promised");
}

/// Otherwise the test above could not fail.
#[test]
fn a_broker_that_does_not_sync_breaks_its_promises() {
    let work = tempfile::tempdir().expect("a folder");
    let shim = shim::build("tests/power_cuts/shim.c", work.path());
    let broken: Vec<String> = (0..4)
        .flat_map(|seed| tell(seed, "never", &shim).broken())
        .collect();
    for promise in ["confirmed", "flushed"] {
        assert!(
            broken.iter().any(|it| it.contains(promise)),
            "no promise of what was {promise} was broken: {broken:?}"
        );
    }
}
