//! Sequences, and the offsets that they stand for.

use super::*;
use crate::store::kafka::record::Content;
use message_queue_core::GroupId;
use message_queue_core::log::Progress;
use message_queue_core::store::Answer;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Range;

const GROUP: GroupId = GroupId::Shared;

/// A window on these partitions, of which nothing was settled.
fn window(partitions: &[i32]) -> Window {
    let mut window = Window::new(5, 3, true);
    let offsets = partitions.iter();
    window.assign(offsets.map(|it| (*it, Offsets::committed(0, ""))).collect());
    window
}

fn take(window: &mut Window, partition: i32, offset: i64, text: &str) {
    window.take(
        partition,
        offset,
        7,
        Content::Message(text.as_bytes(), None),
    );
}

fn batch(window: &mut Window, partition: i32, offset: i64, texts: &[&str]) {
    let batch = FrameBatch::encode(texts).unwrap();
    window.take(partition, offset, 7, Content::Batch(batch));
}

/// The sequences and the texts of what is fetched, and where the next fetch begins.
fn fetch(window: &mut Window, from: u64, bytes: usize) -> (Vec<(u64, String)>, u64) {
    let Answer::Fetched { runs, next, .. } = window.fetch(GROUP, from, bytes) else {
        panic!("not fetched");
    };
    let mut messages = Vec::new();
    for run in runs {
        for (sequence, body) in (run.first..).zip(run.batch.bodies()) {
            let text = String::from_utf8(body.as_ref().to_vec()).unwrap();
            messages.push((sequence, text));
        }
    }
    (messages, next)
}

fn settle(window: &mut Window, up_to: u64, ranges: &[(u64, u64)]) {
    let settled = ranges.iter().map(|(from, to)| Range {
        from: *from,
        to: *to,
    });
    window.settle(&Progress {
        settled_up_to: up_to,
        settled: settled.collect(),
        failed: Vec::new(),
    });
}

fn commits(window: &mut Window) -> Vec<(i32, i64, String)> {
    window.take_commits(false)
}

#[test]
fn sequences_rise_over_partitions_and_stand_for_their_offsets() {
    let mut window = window(&[0, 1]);
    take(&mut window, 0, 0, "a");
    take(&mut window, 1, 0, "b");
    take(&mut window, 0, 1, "c");
    let arrived = Answer::Arrived {
        group: GROUP,
        up_to: 7,
    };
    assert_eq!(window.arrived(GROUP), Some(arrived));
    assert_eq!(window.arrived(GROUP), None);
    let (messages, next) = fetch(&mut window, 5, 1_000);
    let expected = [(5, "a"), (6, "b"), (7, "c")].map(|(it, text)| (it, text.to_owned()));
    assert_eq!((messages, next), (expected.to_vec(), 8));
    settle(&mut window, 4, &[(6, 7)]);
    assert_eq!(
        commits(&mut window),
        [(0, 0, "mq1 2 1-2".into()), (1, 1, "mq1 1".into())]
    );
    assert!(commits(&mut window).is_empty());
    window.not_committed(&[1]);
    assert_eq!(commits(&mut window), [(1, 1, "mq1 1".into())]);
    settle(&mut window, 7, &[]);
    assert_eq!(commits(&mut window), [(0, 2, "mq1 2".into())]);
}

#[test]
fn a_record_is_settled_when_all_of_its_messages_are() {
    let mut window = window(&[0]);
    batch(&mut window, 0, 0, &["a", "b", "c"]);
    batch(&mut window, 0, 1, &["d", "e"]);
    settle(&mut window, 6, &[(8, 9)]);
    assert_eq!(commits(&mut window), [(0, 0, "mq1 0 1-2".into())]);
    settle(&mut window, 9, &[]);
    assert_eq!(commits(&mut window), [(0, 2, "mq1 0".into())]);
}

#[test]
fn it_is_full_until_the_core_has_fetched_some_and_what_it_did_not_take_it_fetches_again() {
    let mut window = window(&[0]);
    for (offset, text) in (0..).zip(["a", "b", "c"]) {
        assert!(!window.is_full());
        take(&mut window, 0, offset, text);
    }
    assert!(window.is_full());
    let (messages, next) = fetch(&mut window, 5, 10);
    assert_eq!((messages.len(), next), (2, 7));
    assert!(!window.is_full());
    let (messages, next) = fetch(&mut window, 6, 10);
    assert_eq!(messages[0], (6, "b".to_owned()));
    assert_eq!((messages.len(), next), (2, 8));
    assert_eq!(fetch(&mut window, 8, 10), (vec![], 8));
}

#[test]
fn what_is_passed_over_is_settled_and_holds_up_nothing() {
    let mut window = window(&[0]);
    window.pass_over(0, 0);
    take(&mut window, 0, 1, "a");
    assert_eq!(fetch(&mut window, 5, 10).0, [(5, "a".to_owned())]);
    assert_eq!(commits(&mut window), [(0, 1, "mq1 2".into())]);
}

#[test]
fn a_group_of_ones_own_remembers_nothing_of_what_came() {
    let mut window = Window::new(1, 100, false);
    window.assign([(0, Offsets::committed(0, ""))].into());
    for offset in [0, 1, 4, 7] {
        take(&mut window, 0, offset, "a");
    }
    assert_eq!(window.take_commits(true), [(0, 8, "mq1 0".into())]);
    assert!(window.held.is_empty());
}

#[test]
fn after_a_rebalance_what_was_settled_does_not_come_and_what_was_seen_is_another_attempt() {
    let mut window = window(&[0]);
    for (offset, text) in (0..).zip(["a", "b", "c"]) {
        take(&mut window, 0, offset, text);
    }
    fetch(&mut window, 5, 10);
    settle(&mut window, 4, &[(6, 6)]);
    let (partition, low, metadata) = window.take_commits(true).remove(0);
    window.assign([(partition, Offsets::committed(low, &metadata))].into());
    for (offset, text) in (0..).zip(["a", "b", "c"]) {
        take(&mut window, 0, offset, text);
    }
    // Of a partition that it has not.
    take(&mut window, 1, 0, "x");
    let Answer::Fetched { runs, .. } = window.fetch(GROUP, 8, 1_000) else {
        panic!("not fetched");
    };
    let runs: Vec<_> = runs.iter().map(|it| (it.first, it.attempts)).collect();
    assert_eq!(runs, [(8, 1), (9, 0)]);
}
