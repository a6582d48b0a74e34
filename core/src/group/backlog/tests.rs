use super::*;

/// Beyond all sequences here.
const END: u64 = 99;

fn batch(messages: &[&str]) -> FrameBatch {
    FrameBatch::encode(messages).expect("small messages")
}

fn mark(sequence: u64) -> Mark {
    Mark::new(sequence, Now::START)
}

fn backlog(capacity: usize, batches: &[&[&str]]) -> Backlog {
    let mut backlog = Backlog::new(Limits {
        messages: capacity,
        bytes: 1000,
        max_age: None,
    });
    let mut next = 0;
    for messages in batches {
        backlog.push_back(batch(messages), mark(next));
        next += messages.len() as u64;
    }
    backlog
}

fn put_back(backlog: &mut Backlog, taken: Vec<Waiting>) {
    for waiting in taken {
        backlog.put_back(waiting);
    }
    backlog.check(END);
}

fn take(backlog: &mut Backlog, messages: usize, bytes: usize) -> Vec<FrameBatch> {
    let taken = backlog.take(messages, bytes);
    backlog.check(END);
    taken.into_iter().map(|it| it.batch).collect()
}

#[test]
fn what_is_taken_is_gathered_and_cut_between_messages() {
    let mut backlog = backlog(10, &[&["a", "b"], &["c"], &["d", "e"]]);
    assert_eq!(
        take(&mut backlog, 4, 1000),
        [batch(&["a", "b"]), batch(&["c"]), batch(&["d"])]
    );
    assert_eq!(take(&mut backlog, 4, 1000), [batch(&["e"])]);
    assert_eq!(take(&mut backlog, 4, 1000), []);
}

#[test]
fn the_byte_bound_cuts_too_and_one_message_always_goes() {
    let mut backlog = backlog(10, &[&["aaaa", "b"], &["c"]]);
    assert_eq!(take(&mut backlog, 9, 3), [batch(&["aaaa"])]);
    assert_eq!(take(&mut backlog, 9, 10), [batch(&["b"]), batch(&["c"])]);
}

#[test]
fn only_the_newest_are_trimmed_and_the_bound_that_did_it_is_named() {
    let dropped = |messages, bytes, reason| Some((Count::new(messages, bytes), reason));
    let trim = |backlog: &mut Backlog, room| backlog.trim(Count::ZERO, room);

    let mut full = backlog(3, &[&["a", "b"], &["c", "d", "e"]]);
    assert_eq!(
        trim(&mut full, 1000),
        dropped(2, 10, DropReason::BacklogMessages)
    );
    assert_eq!(take(&mut full, 9, 999), [batch(&["a", "b"]), batch(&["c"])]);

    let mut full = backlog(9, &[&["a", "b"], &["c", "d", "e"]]);
    full.limits.bytes = 21;
    assert_eq!(
        trim(&mut full, 1000),
        dropped(1, 5, DropReason::BacklogBytes)
    );

    let mut full = backlog(9, &[&["a", "b"], &["c", "d", "e"]]);
    assert_eq!(trim(&mut full, 4), dropped(3, 15, DropReason::BrokerBytes));
    assert_eq!(trim(&mut full, 1000), None);
    full.check(END);

    let mut full = backlog(9, &[&["a", "b"], &["c", "d", "e"]]);
    let held = Count::new(6, 30);
    assert_eq!(
        full.trim(held, 1000),
        dropped(2, 10, DropReason::BacklogMessages)
    );
}

#[test]
fn the_oldest_go_where_that_was_asked_for() {
    let dropped = |messages, bytes, reason| Some((Count::new(messages, bytes), reason));
    let mut full = backlog(3, &[&["a", "b"], &["c", "d", "e"]]);
    assert_eq!(
        full.trim_oldest(Count::ZERO, 0),
        dropped(2, 10, DropReason::BacklogMessages)
    );
    assert_eq!(take(&mut full, 9, 999), [batch(&["c", "d", "e"])]);

    let mut full = backlog(9, &[&["a", "b"], &["c", "d", "e"]]);
    full.limits.bytes = 16;
    assert_eq!(
        full.trim_oldest(Count::ZERO, 0),
        dropped(2, 10, DropReason::BacklogBytes)
    );
    assert_eq!(
        full.trim_oldest(Count::ZERO, 6),
        dropped(2, 10, DropReason::BrokerBytes)
    );
    assert_eq!(full.trim_oldest(Count::ZERO, 0), None);
    assert_eq!(take(&mut full, 9, 999), [batch(&["e"])]);
}

#[test]
fn what_comes_back_goes_first_and_is_kept_beyond_the_bound() {
    let mut full = backlog(2, &[&["a"], &["b"]]);
    let taken = full.take(2, 999);
    full.push_back(batch(&["c", "d"]), mark(2));
    put_back(&mut full, taken);
    assert_eq!(full.room(Count::ZERO).messages, 0);
    full.push_back(batch(&["e"]), mark(4));
    assert!(full.trim(Count::ZERO, 1000).is_some());
    assert_eq!(
        take(&mut full, 3, 999),
        [batch(&["a"]), batch(&["b"]), batch(&["c"])]
    );
}

#[test]
fn what_several_hand_back_comes_back_in_the_order_it_had() {
    let mut backlog = backlog(9, &[&["a", "b", "c", "d", "e"]]);
    let (first, second) = (backlog.take(2, 999), backlog.take(2, 999));
    put_back(&mut backlog, second);
    put_back(&mut backlog, first);
    assert_eq!(
        take(&mut backlog, 9, 999),
        [batch(&["a", "b"]), batch(&["c", "d"]), batch(&["e"])]
    );
}

#[test]
fn a_write_reaches_over_gaps_and_comes_back_to_where_it_was() {
    let mut backlog = backlog(9, &[&["a", "b"]]);
    let (first, second) = (backlog.take(1, 999), backlog.take(1, 999));
    // Nobody had room for the messages 2 to 4.
    backlog.push_back(batch(&["f", "g"]), mark(5));
    put_back(&mut backlog, first);
    let third = backlog.take(2, 999);
    let sequences: Vec<u64> = third.iter().map(|it| it.mark.sequence).collect();
    assert_eq!(sequences, [0, 5]);
    put_back(&mut backlog, second);
    put_back(&mut backlog, third);
    assert_eq!(
        take(&mut backlog, 9, 999),
        [batch(&["a"]), batch(&["b"]), batch(&["f"]), batch(&["g"])]
    );
}

#[test]
fn the_sequence_of_a_dropped_message_is_not_used_again() {
    let mut full = backlog(1, &[&["a", "b"]]);
    assert!(full.trim(Count::ZERO, 1000).is_some());
    let taken = full.take(9, 999);
    full.push_back(batch(&["c"]), mark(2));
    put_back(&mut full, taken);
    let taken = full.take(9, 999);
    let sequences: Vec<u64> = taken.iter().map(|it| it.mark.sequence).collect();
    assert_eq!(sequences, [0, 2]);
}

#[test]
fn what_has_failed_often_waits_for_a_member_of_its_own() {
    let mut backlog = backlog(9, &[&["a", "b", "c"]]);
    let mut failed = backlog.take(2, 999);
    failed[0].mark.failures = ALONE_FROM;
    put_back(&mut backlog, failed);
    assert_eq!(take(&mut backlog, 9, 999), [batch(&["c"])]);
    assert!(backlog.is_empty() && backlog.has_alone());
    let alone = backlog.take_alone().expect("two wait");
    assert_eq!((alone.batch, alone.mark.sequence), (batch(&["a"]), 0));
    assert_eq!(backlog.waiting_since(), Some(Now::START));
    backlog.take_alone().expect("one waits");
    assert_eq!(backlog.take_alone(), None);
    assert_eq!(backlog.count(), Count::ZERO);
}

#[test]
fn what_is_too_old_goes_wherever_it_waits_and_what_is_younger_stays() {
    let at = |seconds| Now::START + Duration::from_secs(seconds);
    let mut backlog = Backlog::new(Limits {
        messages: 10,
        bytes: 1000,
        max_age: Some(Duration::from_secs(5)),
    });
    assert_eq!(backlog.expires(), None);
    for (sequence, published, messages) in [
        (0, 0, &["a", "b"][..]),
        (2, 1, &["c"]),
        (3, 2, &["d"]),
        (4, 3, &["e"]),
    ] {
        backlog.push_back(batch(messages), Mark::new(sequence, at(published)));
    }
    // The first comes back as one that goes with others, the second as one that goes alone.
    let mut taken = backlog.take(3, 1000);
    taken[1].mark.failures = ALONE_FROM;
    put_back(&mut backlog, taken);
    assert_eq!(backlog.expires(), Some(at(5)));
    assert_eq!(backlog.take_expired(at(4), &mut |_| {}), None);
    assert_eq!(
        backlog.take_expired(at(5), &mut |_| {}),
        Some((Count::new(2, 10), 2))
    );
    backlog.check(END);
    assert_eq!(
        backlog.take_expired(at(7), &mut |_| {}),
        Some((Count::new(2, 10), 4))
    );
    backlog.check(END);
    assert_eq!(take(&mut backlog, 9, 1000), [batch(&["e"])]);
    assert_eq!(backlog.expires(), None);
}
