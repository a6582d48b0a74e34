//! What the broker does, as traces to be read: under each thing that happens, what it makes of it.
//!
//! The traces are in `snapshots/`. Each is played to the model too, so it shows what the rules say
//! and not only what the core happens to do. To write one, give a script without a snapshot, read
//! what comes out, and accept it (`cargo insta review`, or `INSTA_UPDATE=always`).

use message_queue_tests::script::{Script, play};

/// Plays a script and compares the trace with the test's snapshot.
macro_rules! assert_trace {
    ($script:expr) => {
        let script: Script = $script.parse().expect("a script");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(play(&script));
        });
    };
}

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
fn a_full_consumer_misses_the_newest_messages_alone() {
    assert_trace!(
        r#"
        config consumer_backlog=2
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a"
        c2's socket takes all
        # c1 reads nothing. Two messages wait for it, and no more.
        c3 sends frames "b" "c" "d"
        c2's socket takes all
        c3 sends frames "e"
        c2's socket takes all
        # It reads again, and has missed d and e.
        c1's socket takes all
        c3 sends frames "f"
        c1's socket takes all
        "#
    );
}

#[test]
fn a_full_queue_drops_the_newest_messages() {
    assert_trace!(
        r#"
        config delivery=queue queue_capacity=3
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b"
        c1 sends frames "c" "d" "e"
        c1 sends frames "f"
        c2 opens
        c2 sends "CONSUMER\n"
        "#
    );
}

#[test]
fn idle_consumers_take_their_share_before_room_is_looked_at() {
    assert_trace!(
        r#"
        config delivery=queue queue_capacity=1
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a" "b" "c" "d"
        c3 sends frames "e" "f"
        "#
    );
}

#[test]
fn a_backlog_that_is_full_in_bytes_drops_the_newest_too() {
    assert_trace!(
        r#"
        config delivery=queue backlog_bytes=1048580
        c1 opens
        c1 sends "PRODUCER\n" frames "half"*131072 "half"*131072 "more"
        # The end of a batch goes with the first that does not fit. The next batch may fit.
        c1 sends frames "less"
        "#
    );
}

#[test]
fn a_broker_that_is_full_in_bytes_drops_the_newest_too() {
    assert_trace!(
        r#"
        config backlog_bytes=1048580 broker_bytes=1048580
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a"
        c3 sends frames "most"*180000
        "#
    );
}

#[test]
fn with_block_a_producer_is_not_read_from_until_there_is_room() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block queue_capacity=2
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b" "c" "d" "e"
        # What it sends now stays in its socket.
        c1 sends frames "f"
        c2 opens
        # There is room for none of this, and c1 was first.
        c2 sends "PRODUCER\n" frames "g"
        c3 opens
        c3 sends "CONSUMER\n"
        c3's socket takes all
        c3's socket takes all
        c3's socket takes all
        c3's socket takes all
        "#
    );
}

#[test]
fn with_block_in_broadcast_a_message_waits_until_every_consumer_has_room() {
    assert_trace!(
        r#"
        config overflow=block consumer_backlog=1 write_timeout=5s
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a" "b" "c"
        # c1 reads; c2 does not, and holds everybody up for as long as a write may take.
        c1's socket takes all
        c1's socket takes all
        5s pass
        "#
    );
}

#[test]
fn with_block_in_broadcast_the_brokers_bytes_are_for_all_consumers_alike() {
    assert_trace!(
        r#"
        config overflow=block max_consumers=2 backlog_bytes=2097160 broker_bytes=2097160
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a"
        # With these for each of the two, there is room for ten bytes more for each.
        c3 sends frames "b"*262141 "c"*262141 "d"*262141 "e"*262131
        c3 sends frames "f" "g" "h"
        c1's socket takes all
        "#
    );
}

#[test]
fn what_a_producer_left_parked_is_published_after_it_has_gone() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block queue_capacity=1
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b"
        c1 resets
        c2 opens
        c2 sends "CONSUMER\n"
        c2's socket takes all
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
        c1 sends "A"*16
        c1 sends "A"
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
        config delivery=queue write_timeout=5s
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "CONSUMER\n"
        c3 opens
        c3 sends "PRODUCER\n" frames "a" "b" "c" "d"
        c2's socket takes all
        # Some progress is not enough: the whole write must be done.
        4s pass
        c1's socket takes 5 bytes
        1s pass
        "#
    );
}

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
