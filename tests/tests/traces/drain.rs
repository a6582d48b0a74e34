//! The orderly end.

#[test]
fn the_end_of_a_drain_is_orderly_when_everybody_comes_to_an_end() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a"
        c3 opens
        drain 5s
        # Nobody new; but what producers have sent is read.
        c4 opens
        c3 sends "CONSUMER\n"
        c2 sends frames "b"
        c2 has nothing to read
        c1's socket takes all
        c1's socket takes all
        "#
    );
}

#[test]
fn a_drain_that_takes_too_long_is_ended_and_what_is_lost_is_counted() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b"
        c2 sends frames "c"
        drain 5s
        c2 has nothing to read
        c1's socket takes 5 bytes
        5s pass
        "#
    );
}

#[test]
fn a_drain_keeps_a_consumer_until_what_is_parked_has_been_published() {
    assert_trace!(
        r#"
        config overflow=block consumer_backlog=1
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a" "b" "c"
        c2's socket takes all
        c2's socket takes all
        c3 resets
        # Nothing waits for c2 now, but something will.
        drain 5s
        c1's socket takes all
        c2's socket takes all
        c1's socket takes all
        c1's socket takes all
        "#
    );
}

#[test]
fn the_drain_of_a_queue_waits_for_a_consumer() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b"
        c2 opens
        drain 5s
        c1 has nothing to read
        # It was there before, and may say what it likes.
        c2 sends "PRODUCER\n" frames "c"
        c2 has nothing to read
        c3 opens
        c3 sends "PRODUCER\n" frames "d"
        # Whoever comes now is waited for: it may be a consumer.
        c4 opens
        c5 opens
        c4 has nothing to read
        4s pass
        c4 sends "CONSUMER\n"
        c4's socket takes all
        # Nothing waits any more.
        c6 opens
        "#
    );
}

#[test]
fn the_drain_of_a_queue_waits_for_a_consumer_no_longer_than_it_may() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block queue_capacity=1
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b" "c"
        drain 5s
        4s pass
        c2 opens
        1s pass
        c3 opens
        "#
    );
}

#[test]
fn who_is_blocked_in_a_drain_goes_on_when_a_consumer_comes() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block queue_capacity=1
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b"
        drain 5s
        c1 sends frames "c"
        c2 opens
        c2 sends "CONSUMER\n"
        c1 has nothing to read
        c2's socket takes all
        c2's socket takes all
        c2's socket takes all
        "#
    );
}
