//! Connections come, are refused, break the rules, stall and go.

#[test]
fn one_consumer_too_many_is_refused_and_a_freed_place_can_be_taken() {
    assert_trace!(
        r#"
        config max_consumers=1
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        # Producers do not count.
        c3 opens
        c3 sends "PRODUCER\n"
        c1 closes
        c4 opens
        c4 sends "CONSUMER\n"
        "#
    );
}

#[test]
fn one_connection_too_many_is_refused_whatever_it_wants_to_be() {
    assert_trace!(
        r#"
        config max_connections=2
        c1 opens
        c1 sends "PRODUCER\n"
        c2 opens
        c3 opens
        c2 resets
        c4 opens
        "#
    );
}

#[test]
fn a_role_line_may_come_in_pieces_and_with_the_first_frames() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\r\n" byte by byte
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b" cut at 4 11 16
        "#
    );
}

#[test]
fn an_unknown_role_is_closed() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "GET / HTTP/1.1\r\n"
        "#
    );
}

#[test]
fn a_role_line_that_does_not_end_is_closed_at_its_limit() {
    assert_trace!(
        r#"
        config role_line_bytes=16
        c1 opens
        c1 sends "CONSUMER "
        c1 sends "x"*7
        c1 sends "x"
        "#
    );
}

#[test]
fn silence_is_closed_when_its_time_is_up_and_so_is_a_drip() {
    assert_trace!(
        r#"
        c1 opens
        c2 opens
        6s pass
        c2 sends "PROD"
        4s pass
        "#
    );
}

#[test]
fn a_peer_that_leaves_inside_its_role_line_is_told_from_one_that_leaves_in_order() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "PRODUCE"
        c1 closes
        c2 opens
        c2 sends "PRODUCER\n"
        c2 closes
        "#
    );
}

#[test]
fn what_came_whole_before_an_oversize_frame_is_delivered() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" bytes "\0\x10\0\x01"
        # c1 has not noticed.
        c1's socket takes all
        "#
    );
}

#[test]
fn a_truncated_frame_is_not_delivered_and_what_came_before_it_is() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" bytes "\0\0\0\x05hal"
        c2 closes
        "#
    );
}

#[test]
fn a_consumer_that_sends_something_is_closed() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n" frames "a"
        "#
    );
}

#[test]
fn a_consumer_that_stalls_in_a_write_is_closed_and_its_messages_go_to_another() {
    assert_trace!(
        r#"
        config delivery=queue write_timeout=5s min_consumer_rate=0
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a" "b" "c" "d"
        c2's socket takes all
        # The time is counted from the last byte that was taken.
        4s pass
        c1's socket takes 5 bytes
        4s pass
        1s pass
        "#
    );
}

#[test]
fn a_consumer_that_takes_a_little_steadily_is_not_stuck() {
    assert_trace!(
        r#"
        config delivery=queue write_timeout=5s min_consumer_rate=0
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "abcdef"
        4s pass
        c1's socket takes 1 bytes
        4s pass
        c1's socket takes 1 bytes
        4s pass
        c1's socket takes 1 bytes
        4s pass
        c1's socket takes all
        10s pass
        "#
    );
}

#[test]
fn a_consumer_below_the_least_rate_is_closed_though_it_takes_a_little_steadily() {
    assert_trace!(
        r#"
        config delivery=queue write_timeout=5s min_consumer_rate=2
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        # Ten bytes: they may take 5s, and 5s more.
        c2 sends "PRODUCER\n" frames "abcdef"
        4s pass
        c1's socket takes 1 bytes
        4s pass
        c1's socket takes 1 bytes
        1s pass
        1s pass
        "#
    );
}

#[test]
fn producers_that_are_blocked_leave_a_place_for_a_consumer() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block max_connections=4 queue_capacity=1
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b"
        c2 opens
        c2 sends "PRODUCER\n" frames "c"
        c3 opens
        c3 sends "PRODUCER\n" frames "d"
        c4 opens
        # The last place is not for a producer.
        c4 sends "PRODUCER\n"
        # One that has left something parked keeps its place.
        c1 resets
        c5 opens
        c6 opens
        c5 sends "PRODUCER\n"
        c7 opens
        c7 sends "CONSUMER\n"
        c7's socket takes all
        c7's socket takes all
        c7's socket takes all
        c7's socket takes all
        "#
    );
}

#[test]
fn what_is_noticed_late_happens_in_the_order_in_which_it_was_due() {
    assert_trace!(
        r#"
        config write_timeout=5s
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a"
        c1's socket takes all
        1s pass
        c3 opens
        c3 sends "CONSUMER\n"
        c2 sends frames "b"
        c1's socket takes all
        1s pass
        # Due at 7s for c1, and at 6s for c3.
        c2 sends frames "c"
        10s pass unnoticed
        0s pass
        "#
    );
}

#[test]
fn an_operator_ends_a_consumer_and_its_write_goes_to_another() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b"
        c1's socket takes 7 bytes
        c1 is ended by an operator
        c3 opens
        c3 sends "CONSUMER\n"
        c3's socket takes all
        # It is gone already.
        c1 is ended by an operator
        # What it has sent is kept.
        c2 is ended by an operator
        "#
    );
}
