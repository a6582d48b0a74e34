//! Who gets a message, and in what order.

#[test]
fn in_broadcast_each_consumer_gets_each_message_published_after_it_came() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "PRODUCER\n" frames "nobody is here"
        c2 opens
        c2 sends "CONSUMER\n"
        c1 sends frames "a" "b"
        c3 opens
        c3 sends "CONSUMER\r\n"
        # c2 has one write in flight; what comes meanwhile waits for its end.
        c1 sends frames "c"
        c2's socket takes all
        c1 sends frames "d"
        c2's socket takes all
        c3's socket takes all
        "#
    );
}

#[test]
fn in_queue_mode_each_message_goes_to_one_consumer_and_waits_for_one() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b" "c"
        # Nobody is here: they wait.
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "CONSUMER\n"
        c2's socket takes all
        # Both are idle. An idle consumer waits for ever.
        3600s pass
        c1 sends frames "d"
        c1 sends frames "e"
        c3's socket takes all
        "#
    );
}

#[test]
fn a_batch_is_shared_evenly_by_idle_consumers() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "CONSUMER\n"
        c4 opens
        c4 sends "CONSUMER\n"
        c5 opens
        # Four messages, four workers.
        c5 sends "PRODUCER\n" frames "a" "b" "c" "d"
        c3's socket takes all
        c1's socket takes all
        # c3 has been idle for longest.
        c5 sends frames "e" "f" "g" "h" "i"
        # Nobody is idle: these wait, and the next who is takes them all, in one large run.
        c5 sends frames "j" "k" "l" "m"
        c5 sends frames "n"
        c4's socket takes all
        "#
    );
}

#[test]
fn a_run_is_no_larger_than_a_write_may_be_but_one_message_always_goes() {
    assert_trace!(
        r#"
        config delivery=queue write_bytes=10
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b" "c" "larger than that" "d"
        c1's socket takes all
        c1's socket takes all
        c1's socket takes all
        "#
    );
}

#[test]
fn what_a_leaving_consumer_was_not_given_whole_goes_to_another() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b" "c"
        c2 sends frames "d"
        # a is taken whole; of b, only a part.
        c1's socket takes 9 bytes
        c1 closes
        c3 opens
        c3 sends "CONSUMER\n"
        "#
    );
}

#[test]
fn what_several_leaving_consumers_hand_back_keeps_its_order() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a" "b" "c" "d"
        c3 sends frames "e"
        c1 resets
        c2 resets
        c4 opens
        c4 sends "CONSUMER\n"
        "#
    );
}

#[test]
fn in_broadcast_what_waited_for_a_leaving_consumer_is_counted() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b"
        c2 sends frames "c"
        c1's socket takes 5 bytes
        c1 closes
        "#
    );
}

#[test]
fn what_a_closed_socket_takes_until_it_is_sealed_goes_to_nobody_else() {
    assert_trace!(
        r#"
        config delivery=queue max_consumers=2
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b" "c"
        c3 opens
        c3 sends "CONSUMER\n"
        c1's socket takes 3 bytes
        c1's socket is sealed late
        c1 resets
        # It keeps its place, and what is in flight to it.
        c4 opens
        c4 sends "CONSUMER\n"
        c1's socket takes 9 bytes
        c1's socket is sealed
        "#
    );
}
