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
fn a_drain_without_consumers_does_not_wait_for_room() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block queue_capacity=1
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b" "c"
        drain 5s
        c1 has nothing to read
        "#
    );
}
