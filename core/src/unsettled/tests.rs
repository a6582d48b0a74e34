//! What is tricky, step by step; all of it at random in [`reference`].

mod reference;

use super::*;
use alloc::vec;

/// A batch of messages of these sizes, each filled with a number of its own.
fn batch_of(first: u64, sizes: &[usize]) -> FrameBatch {
    let messages = (first..).zip(sizes).map(|(i, size)| vec![i as u8; *size]);
    FrameBatch::encode(messages).expect("small messages")
}

/// Runs of messages of these sizes. The mark of each is its number, from 0.
fn unsettled(runs: &[&[usize]]) -> Unsettled<u64> {
    let mut unsettled = Unsettled::new();
    for (mark, sizes) in (0..).zip(runs) {
        unsettled.push(batch_of(unsettled.next_position(), sizes), mark, 0);
    }
    unsettled
}

fn range(from: u64, to: u64) -> Range {
    Range { from, to }
}

/// What is settled of each run, as mark, messages and bytes, and how many were gone.
fn settle(unsettled: &mut Unsettled<u64>, from: u64, to: u64) -> (Vec<(u64, u64, u64)>, u64) {
    let mut settled = Vec::new();
    let gone = unsettled.settle(
        range(from, to),
        0,
        &mut |mark, count| {
            settled.push((*mark, count.messages, count.bytes));
        },
        &mut |_, _, _| {},
    );
    unsettled.check();
    (settled, gone)
}

/// The positions, offset and mark of each part, and how many were gone.
fn take(unsettled: &mut Unsettled<u64>, from: u64, to: u64) -> (Vec<(Range, u64, u64)>, u64) {
    let mut taken = Vec::new();
    let gone = unsettled.take(range(from, to), &mut |part| {
        let end = part.position + part.batch.messages() as u64 - 1;
        taken.push((range(part.position, end), part.offset, part.mark));
    });
    unsettled.check();
    (taken, gone)
}

impl<M: Clone> Unsettled<M> {
    fn only_run(&self) -> &Run {
        assert_eq!(self.runs.len(), 1);
        &self.runs.first_key_value().expect("one run").1.run
    }
}

#[test]
fn positions_begin_at_1_and_go_on_over_runs() {
    let mut unsettled = Unsettled::new();
    assert!(unsettled.is_empty() && unsettled.next_position() == 1);
    assert_eq!(unsettled.push(batch_of(1, &[1, 0, 2]), 'a', 0), 1);
    assert_eq!(unsettled.push(batch_of(4, &[3]), 'b', 0), 4);
    assert_eq!(unsettled.next_position(), 5);
    assert_eq!(unsettled.count(), Count::new(4, 22));
}

#[test]
fn a_range_over_several_runs_tells_what_of_each_is_settled() {
    let mut unsettled = unsettled(&[&[1, 2, 3], &[4, 5], &[6, 7, 8]]);
    assert_eq!(settle(&mut unsettled, 1, 1), (vec![(0, 1, 5)], 0));
    assert_eq!(
        settle(&mut unsettled, 1, 6),
        (vec![(0, 2, 13), (1, 2, 17), (2, 1, 10)], 1)
    );
    assert_eq!(settle(&mut unsettled, 1, 6), (vec![], 6));
    assert_eq!(settle(&mut unsettled, 5, 8), (vec![(2, 2, 23)], 2));
    assert!(unsettled.is_empty() && unsettled.runs.is_empty());
    assert_eq!(settle(&mut unsettled, 1, 8), (vec![], 8));
    assert_eq!(unsettled.next_position(), 9);
}

#[test]
fn what_is_taken_comes_in_parts_of_consecutive_messages() {
    let mut unsettled = unsettled(&[&[1; 4], &[1; 6], &[1; 2]]);
    settle(&mut unsettled, 2, 2);
    settle(&mut unsettled, 7, 8);
    assert_eq!(
        take(&mut unsettled, 1, 11),
        (
            vec![
                (range(1, 1), 0, 0),
                (range(3, 4), 2, 0),
                (range(5, 6), 0, 1),
                (range(9, 10), 4, 1),
                (range(11, 11), 0, 2),
            ],
            3
        )
    );
    let mut rest = Vec::new();
    unsettled.take_all(&mut |part| rest.push(part));
    assert_eq!(
        rest,
        [Part {
            position: 12,
            batch: batch_of(12, &[1]),
            offset: 1,
            mark: 2
        }]
    );
    unsettled.take_all(&mut |_| panic!("nothing is left"));
    unsettled.check();
}

#[test]
fn the_oldest_are_ranges_over_runs_and_gaps() {
    let mut unsettled = unsettled(&[&[1; 3], &[1; 100], &[1; 3]]);
    assert_eq!(unsettled.oldest(0), []);
    assert_eq!(unsettled.oldest(5), [range(1, 5)]);
    settle(&mut unsettled, 2, 2);
    settle(&mut unsettled, 6, 101);
    let all = [range(1, 1), range(3, 5), range(102, 103), range(104, 106)];
    assert_eq!(unsettled.oldest(4), all[..2]);
    assert_eq!(unsettled.oldest(5), [all[0], all[1], range(102, 102)]);
    assert_eq!(
        unsettled.oldest(u64::MAX),
        [all[0], all[1], range(102, 106)]
    );
}

#[test]
fn settling_from_the_front_makes_no_index_and_copies_only_when_half_has_gone() {
    let exact = batch_of(1, &[16; 1000]).as_bytes().to_vec();
    let mut unsettled = Unsettled::new();
    unsettled.push(FrameBatch::parse(exact.into()).expect("whole frames"), 0, 0);
    let at = |unsettled: &Unsettled<u64>| {
        let batch = unsettled.only_run().batch();
        (batch.as_bytes().as_ptr() as usize, batch.byte_len())
    };
    let (start, _) = at(&unsettled);
    for position in 1..=500 {
        settle(&mut unsettled, position, position);
        assert!(!unsettled.only_run().has_index());
        let gone = position as usize * 20;
        assert_eq!(at(&unsettled), (start + gone, 20_000 - gone));
    }
    settle(&mut unsettled, 501, 501);
    assert_ne!(at(&unsettled).0, start + 501 * 20);
    assert_eq!(at(&unsettled).1, 20_000 - 501 * 20);
}

#[test]
fn an_index_goes_when_what_is_left_is_consecutive_again() {
    let mut unsettled = unsettled(&[&[16; 1000]]);
    settle(&mut unsettled, 1000, 1000);
    assert!(unsettled.only_run().has_index());
    settle(&mut unsettled, 1, 300);
    assert!(!unsettled.only_run().has_index());
    assert_eq!(unsettled.count().messages, 699);
    assert_eq!(
        take(&mut unsettled, 299, 301),
        (vec![(range(301, 301), 300, 0)], 2)
    );
}

#[test]
fn one_large_message_among_many_small_ones_keeps_neither_them_nor_their_places() {
    let mut sizes = vec![0; 100_000];
    sizes[50_000] = 600_000;
    sizes[99_999] = 1;
    let mut unsettled = unsettled(&[&sizes]);
    settle(&mut unsettled, 2, 50_000);
    settle(&mut unsettled, 50_002, 99_999);
    assert!(unsettled.overhead() < 500, "{}", unsettled.overhead());
    settle(&mut unsettled, 50_001, 50_001);
    assert_eq!(unsettled.only_run().batch().byte_len(), 9);
    assert_eq!(
        take(&mut unsettled, 1, 100_000),
        (
            vec![(range(1, 1), 0, 0), (range(100_000, 100_000), 99_999, 0)],
            99_998
        )
    );
}

#[test]
fn a_sliver_of_a_large_buffer_is_copied_where_it_cannot_be_spared_that() {
    let mut large = batch_of(1, &[1; 100]);
    let all = large.pinned();
    let [first, second] = [(); 2].map(|()| large.split_to(10));
    let place = |batch: &FrameBatch| batch.as_bytes().as_ptr();
    let (at_first, at_second) = (place(&first), place(&second));
    let mut unsettled = Unsettled::new();
    unsettled.push(first, 0, all);
    assert_eq!(place(unsettled.runs[&1].run.batch()), at_first);
    // One is all that there is room for.
    unsettled.push(second, 0, all);
    assert_ne!(place(unsettled.runs[&11].run.batch()), at_second);
    assert_eq!(unsettled.pinned(), all);
    unsettled.check();
    unsettled.settle(range(1, 3), all, &mut |_, _| {}, &mut |_, _, _| {});
    assert_eq!(unsettled.pinned(), all);
    // Now there is less.
    settle(&mut unsettled, 4, 4);
    assert_eq!(unsettled.pinned(), 0);
}

/// What the broker notes of each run is no larger.
type Noted = [u64; 10];

/// What a run takes by itself, in bytes, as long as a message of it is left: its place among others, what is noted of it,
/// and an index before the first message in that.
const A_RUN: usize = 450;

/// Settles a million messages in this order, in runs of 1,000. To the very last, they take no more than `each` bytes beside
/// their batches and what the runs take that are left. Returns the most that they take in all for each that is left, as
/// long as `least` are left.
fn hold_to(each: usize, order: impl Iterator<Item = u64>, least: u64) -> f64 {
    const RUN: u64 = 1_000;
    const ALL: u64 = 1_000_000;
    let mut unsettled = Unsettled::new();
    for run in 0..ALL / RUN {
        let noted: Noted = [run; 10];
        unsettled.push(batch_of(run, &[16; RUN as usize]), noted, 0);
    }
    let mut worst: f64 = 0.0;
    for (settled, position) in (1..).zip(order) {
        let again = unsettled.settle(
            range(position, position),
            0,
            &mut |noted, count| {
                assert_eq!((noted[0], count.bytes), ((position - 1) / RUN, 20));
            },
            &mut |_, _, _| {},
        );
        assert_eq!(again, 0);
        let left = ALL - settled;
        if left.is_multiple_of(1_000) || (left < 30_000 && left.is_multiple_of(50)) || left < 100 {
            let overhead = unsettled.overhead();
            let most = each * left as usize + A_RUN * (unsettled.runs.len() + 1);
            assert!(overhead <= most, "{left} take {overhead} bytes");
            if left >= least {
                worst = worst.max(overhead as f64 / left as f64);
            }
        }
        if settled % 100_000 == 0 {
            unsettled.check();
        }
    }
    assert!(unsettled.is_empty());
    worst
}

#[test]
fn what_the_broker_notes_of_a_run_is_as_large_as_is_counted_here() {
    assert!(size_of::<crate::session::Held>() <= size_of::<Noted>());
}

#[test]
fn a_million_messages_settled_in_order_take_next_to_nothing() {
    let worst = hold_to(0, 1..=1_000_000, 1_000);
    assert!(worst < 1.0, "{worst}");
}

#[test]
fn a_million_messages_settled_at_random_take_little() {
    // Each position once, each far from the one before.
    let order = (0..1_000_000).map(|i| i * 618_033 % 1_000_000 + 1);
    let worst = hold_to(12, order, 30_000);
    assert!(worst < 32.0, "{worst}");
}

#[test]
fn the_largest_run_is_settled_from_both_ends_and_in_the_middle() {
    let mut unsettled = unsettled(&[&[0; 262_144]]);
    assert_eq!(settle(&mut unsettled, 2, 60_001).1, 0);
    assert_eq!(settle(&mut unsettled, 2, 60_001).1, 60_000);
    assert_eq!(unsettled.count().messages, 202_144);
    assert_eq!(unsettled.oldest(2), [range(1, 1), range(60_002, 60_002)]);
    assert_eq!(settle(&mut unsettled, 2, 262_143).1, 60_000);
    assert_eq!(unsettled.oldest(9), [range(1, 1), range(262_144, 262_144)]);
    assert_eq!(unsettled.only_run().batch().byte_len(), 8);
}
