//! Any steps at all, against the same done message by message.

use super::{batch_of, range};
use crate::stats::Count;
use crate::unsettled::Unsettled;
use crate::wire::FrameBatch;
use crate::wire::control::Range;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use proptest::prelude::*;

/// What happens to it, positions in parts of those that there are.
#[derive(Clone, Debug)]
enum Step {
    Push(Vec<usize>),
    Settle(f64, f64),
    SettleOne(f64),
    Take(f64, f64),
    TakeOne(f64),
    TakeAll,
}

fn step() -> impl Strategy<Value = Step> {
    let small = proptest::collection::vec(0_usize..20, 1..200);
    let large = proptest::collection::vec(prop_oneof![9 => 0_usize..3, 1 => 0_usize..2000], 1..100);
    let part = || 0.0..1.0_f64;
    prop_oneof![
        20 => prop_oneof![small, large].prop_map(Step::Push),
        30 => (part(), 0.0..0.2_f64).prop_map(|(from, more)| Step::Settle(from, more)),
        50 => part().prop_map(Step::SettleOne),
        10 => (part(), 0.0..0.2_f64).prop_map(|(from, more)| Step::Take(from, more)),
        20 => part().prop_map(Step::TakeOne),
        1 => Just(Step::TakeAll),
    ]
}

/// The same, message by message: the offset, the message and the mark of each position.
type Reference = BTreeMap<u64, (u64, Vec<u8>, u64)>;

/// Takes this range out of both, in one way or the other, and compares what comes out.
fn remove(unsettled: &mut Unsettled<u64>, reference: &mut Reference, range: Range, taking: bool) {
    let positions: Vec<u64> = reference
        .range(range.from..=range.to)
        .map(|(position, _)| *position)
        .collect();
    let expected: Reference = positions
        .iter()
        .filter_map(|position| reference.remove_entry(position))
        .collect();
    let gone = if taking {
        let mut taken = Vec::new();
        let gone = unsettled.take(range, &mut |part| {
            for (i, body) in (0..).zip(part.batch.bodies()) {
                let message = (part.offset + i, body.to_vec(), part.mark);
                taken.push((part.position + i, message));
            }
        });
        assert_eq!(taken, expected.into_iter().collect::<Vec<_>>());
        gone
    } else {
        let mut settled = Vec::new();
        let mut pieces: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let gone = unsettled.settle(
            range,
            4096,
            &mut |mark, count| settled.push((*mark, count)),
            &mut |mark, offset, messages| {
                let offsets = pieces.entry(*mark).or_default();
                offsets.extend(offset..offset + messages);
            },
        );
        let mut by_run: BTreeMap<u64, Count> = BTreeMap::new();
        let mut offsets: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (offset, message, mark) in expected.into_values() {
            offsets.entry(mark).or_default().push(offset);
            *by_run.entry(mark).or_default() += Count::new(1, 4 + message.len());
        }
        assert_eq!(settled, by_run.into_iter().collect::<Vec<_>>());
        assert_eq!(pieces, offsets);
        gone
    };
    assert_eq!(gone, range.to - range.from + 1 - positions.len() as u64);
}

/// What is restored from a checkpoint: the same frames, each batch in memory of its own.
fn restored(unsettled: &Unsettled<u64>) -> Unsettled<u64> {
    let mut restored = unsettled.clone();
    restored.each_batch(&mut |batch| {
        *batch = FrameBatch::parse(batch.as_bytes().to_vec().into()).expect("whole frames");
    });
    restored
}

fn compare(unsettled: &Unsettled<u64>, reference: &Reference) {
    unsettled.check();
    let bytes = reference.values().map(|(_, body, _)| 4 + body.len()).sum();
    assert_eq!(unsettled.count(), Count::new(reference.len(), bytes));
    for messages in [1, reference.len() / 2, usize::MAX] {
        let oldest = unsettled.oldest(messages as u64);
        assert!(oldest.windows(2).all(|two| two[0].to + 1 < two[1].from));
        let oldest = oldest.iter().flat_map(|it| it.from..=it.to);
        assert!(oldest.eq(reference.keys().take(messages).copied()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_is_done_message_by_message(steps in proptest::collection::vec(step(), 1..120)) {
        let mut unsettled = Unsettled::new();
        let mut reference = Reference::new();
        for (mark, step) in (0..).zip(steps) {
            // What a restored broker does is what the one does that went on.
            let mut twin = restored(&unsettled);
            let last = unsettled.next_position() - 1;
            let at = |part: f64| 1 + (part * last as f64) as u64;
            let (range, taking) = match step {
                Step::Push(sizes) => {
                    let batch = batch_of(last, &sizes);
                    for (i, body) in (0..).zip(batch.bodies()) {
                        reference.insert(last + 1 + i, (i, body.to_vec(), mark));
                    }
                    prop_assert_eq!(unsettled.push(batch, mark, 4096 * usize::from(mark % 2 == 0)), last + 1);
                    compare(&unsettled, &reference);
                    continue;
                }
                Step::Settle(from, more) => (range(at(from), at(from + more).min(last)), false),
                Step::SettleOne(part) => (range(at(part), at(part)), false),
                Step::Take(from, more) => (range(at(from), at(from + more).min(last)), true),
                Step::TakeOne(part) => (range(at(part), at(part)), true),
                Step::TakeAll => (range(1, last), true),
            };
            if last == 0 {
                continue;
            }
            let mut twins = reference.clone();
            remove(&mut twin, &mut twins, range, taking);
            remove(&mut unsettled, &mut reference, range, taking);
            compare(&unsettled, &reference);
            // But for the memory that it keeps alive: it has not read what it holds.
            compare(&twin, &twins);
        }
        let mut left = Vec::new();
        unsettled.take_all(&mut |part| {
            left.extend((part.position..).take(part.batch.messages()));
        });
        prop_assert!(left.iter().eq(reference.keys()));
        prop_assert!(unsettled.is_empty());
    }
}
