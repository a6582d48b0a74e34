//! What is lost, or waits, where there is no room.

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
fn frames_that_are_not_whole_count_and_the_largest_goes_where_there_is_no_room() {
    assert_trace!(
        r#"
        config delivery=queue backlog_bytes=2000000 broker_bytes=2000000
        c1 opens
        c1 sends "PRODUCER\n" bytes "\0\x10\0\0" "x"*700000
        c2 opens
        c2 sends "PRODUCER\n" bytes "\0\x10\0\0" "y"*600000
        # 699,992 bytes are left, but one largest message may wait in any case. The next has no room.
        c3 opens
        c3 sends "PRODUCER\n" frames "z"*600000
        c3 sends frames "z"*500000
        c2 sends bytes "y"*90000
        # Now they are too many, and c4 holds most.
        c4 opens
        c4 sends "PRODUCER\n" bytes "\0\x10\0\0" "w"*800000
        c1 stalls
        # What is whole is a message, and no part of one any more.
        c2 sends bytes "y"*358576
        c3 sends frames "z"*300000
        "#
    );
}

#[test]
fn frames_that_are_not_whole_give_way_to_a_message_that_waits_for_bytes() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block backlog_bytes=2500000 broker_bytes=2500000
        c1 opens
        c1 sends "PRODUCER\n" frames "x"*900000
        c2 opens
        c2 sends "PRODUCER\n" bytes "\0\x10\0\0" "y"*600000
        c3 opens
        c3 sends "PRODUCER\n" bytes "\0\x10\0\0" "z"*600000
        # 400,000 bytes are left. Of those that hold as much, the one that came last goes.
        c1 sends frames "x"*700000
        c2 stalls
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
fn a_purge_drops_what_waits_and_lets_those_go_on_who_wait_for_room() {
    assert_trace!(
        r#"
        config delivery=queue overflow=block queue_capacity=2
        c1 opens
        c1 sends "PRODUCER\n" frames "a" "b" "c"
        c2 opens
        c2 sends "PRODUCER\n" frames "d" "e"
        purge
        # What is in flight is delivered.
        c3 opens
        c3 sends "CONSUMER\n"
        purge
        c3's socket takes all
        c3's socket takes all
        purge
        "#
    );
}

#[test]
fn in_broadcast_mode_there_is_nothing_to_purge() {
    assert_trace!(
        r#"
        c1 opens
        c1 sends "CONSUMER\n"
        c2 opens
        c2 sends "PRODUCER\n" frames "a" "b" frame by frame
        purge
        "#
    );
}

#[test]
fn a_purge_while_draining_lets_everybody_go() {
    assert_trace!(
        r#"
        config delivery=queue
        c1 opens
        c1 sends "PRODUCER\n" frames "a"
        drain 5s
        c1 has nothing to read
        # One that comes late, and is no consumer yet.
        c2 opens
        purge
        "#
    );
}

#[test]
fn what_a_closing_consumers_socket_takes_makes_room_for_who_waits_for_bytes() {
    assert_trace!(
        r#"
        config overflow=block max_connections=4 max_consumers=2 backlog_bytes=1048580 broker_bytes=2097160 write_timeout=0.5s
        c1 opens
        c1 sends "CONSUMER\n"
        c1's socket is sealed late
        c2 opens
        c2 sends "PRODUCER\n" frames "a"
        c3 opens
        c3 sends "CONSUMER\n"
        # Two of these are all that the broker may hold.
        c2 sends frames "b"*1048576
        0.5s pass
        c1's socket takes all
        "#
    );
}
