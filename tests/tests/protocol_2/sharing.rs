//! Room that comes free is shared between producers with confirms and those without (section 11 of the specification).

use crate::decisions::{SECOND, accepted, queue, settle};
use message_queue_core::wire::control::Outcome;
use message_queue_core::{Config, ConnId, Overflow};
use message_queue_tests::frames::frames;
use message_queue_tests::world::World;
use proptest::prelude::*;

/// How many messages of each kind a consumer was handed: `w` of those that wait for room, `d` of those that do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Came {
    waiting: u64,
    others: u64,
}

struct Both {
    world: World,
    consumer: ConnId,
    waiting: ConnId,
    others: ConnId,
    /// The positions that the consumer has settled.
    settled: u64,
    came: Came,
}

impl Both {
    fn new(overflow: Overflow, capacity: usize, bytes: Option<usize>) -> Self {
        let mut config = Config {
            queue_capacity: capacity,
            overflow,
            write_bytes: 1,
            ..queue()
        };
        config.backlog_bytes = bytes.unwrap_or(config.backlog_bytes);
        let mut world = World::new(config);
        let waiting = accepted(&mut world, "PRODUCER confirm=1 heartbeat=0");
        let others = accepted(&mut world, "PRODUCER heartbeat=0");
        let consumer = accepted(&mut world, "CONSUMER ack=1 prefetch=1 heartbeat=0");
        Self {
            world,
            consumer,
            waiting,
            others,
            settled: 0,
            came: Came::default(),
        }
    }

    /// The consumer settles so many messages, one by one.
    fn settle(&mut self, messages: usize) {
        for _ in 0..messages {
            for message in self.world.messages(self.consumer) {
                match message.as_bytes()[0] {
                    b'w' => self.came.waiting += 1,
                    _ => self.came.others += 1,
                }
                self.settled += 1;
                let at = self.settled;
                let done = settle(Outcome::Done, 0, at, at);
                self.world.say(self.consumer, &done);
            }
            self.world.broker.check_invariants();
        }
    }

    fn send(&mut self, conn: ConnId, messages: usize, body: &str) {
        self.world.send(conn, frames(vec![body; messages]));
        self.world.broker.check_invariants();
    }
}

fn overflows() -> impl Strategy<Value = Overflow> {
    prop_oneof![Just(Overflow::Drop), Just(Overflow::DropOldest)]
}

proptest! {
    #[test]
    fn who_always_asks_gets_half_whatever_the_sizes(
        overflow in overflows(),
        capacity in 1..40_usize,
        sizes in prop::collection::vec((0..20_usize, 0..20_usize), 200),
    ) {
        let mut both = Both::new(overflow, capacity, None);
        // What waits is there from the start, and for longer than this lasts.
        for _ in 0..100 {
            both.send(both.waiting, 50, "w");
        }
        both.send(both.others, capacity * 2, "d");
        for (settled, more) in sizes {
            // No more than can be owed at a time: half of the capacity.
            let settled = 1 + settled % capacity.div_ceil(2);
            both.settle(settled);
            // At least what comes free.
            both.send(both.others, settled + more, "d");
        }
        let Came { waiting, others } = both.came;
        prop_assert!(waiting.abs_diff(others) <= 2 * capacity as u64, "{:?}", both.came);
    }

    #[test]
    fn who_asks_for_little_gets_it_and_the_rest_goes_to_who_waits(
        overflow in overflows(),
        capacity in 4..40_usize,
    ) {
        let mut both = Both::new(overflow, capacity, None);
        for _ in 0..100 {
            both.send(both.waiting, 50, "w");
        }
        // One of eight.
        for _ in 0..200 {
            both.send(both.others, 1, "d");
            both.settle(8);
        }
        prop_assert!(both.came.others >= 150, "{:?}", both.came);
        prop_assert!(both.came.waiting >= 1_200, "{:?}", both.came);
    }
}

#[test]
fn who_has_stopped_asking_is_waited_for_a_second() {
    let mut both = Both::new(Overflow::Drop, 4, None);
    both.send(both.waiting, 1000, "w");
    both.send(both.others, 10, "d");
    both.settle(200);
    let held = |both: &Both| both.world.broker.stats().flow.waiting.messages;
    // Those that wait go on, and half of the room is kept for the others.
    assert_eq!((both.came.waiting, held(&both)), (200, 2));
    both.world.pass(SECOND);
    assert_eq!(held(&both), 4);
}

#[test]
fn without_the_others_nothing_is_kept_for_them() {
    let mut both = Both::new(Overflow::Drop, 4, None);
    both.send(both.waiting, 1000, "w");
    both.settle(1000);
    assert_eq!(both.came.waiting, 1000);
}

#[test]
fn a_large_message_that_waits_gets_its_room_though_small_ones_would_fit() {
    const LARGEST: usize = 1 << 20;
    let mut both = Both::new(Overflow::Drop, 100_000, Some(LARGEST + 4));
    let large = format!("w{}", "x".repeat(LARGEST - 1));
    let small = format!("d{}", "x".repeat(10_000));
    both.send(both.others, 200, &small);
    both.send(both.waiting, 1, &large);
    assert!(!both.world.broker.stats().parked.is_zero());
    for _ in 0..400 {
        both.settle(1);
        both.send(both.others, 2, &small);
    }
    assert_eq!(both.came.waiting, 1, "{:?}", both.came);
    // And then they have their turn.
    assert!(both.came.others > 200, "{:?}", both.came);
}
