//! A consumer, event by event.

use super::*;
use alloc::string::ToString;
use bytes::BufMut;

fn connected() -> ConsumerClient {
    let mut client = ConsumerClient::new(ConsumerOptions {
        ack: true,
        ..ConsumerOptions::default()
    });
    client.connected(Now::START);
    assert_eq!(transmitted(&mut client), "CONSUMER v=2 ack=1\\n");
    tell(&mut client, b"OK v=2 heartbeat=15 topic=gpu group=store\n");
    assert!(matches!(
        client.poll_event(),
        Some(ConsumerEvent::Connected(_))
    ));
    client
}

fn tell(client: &mut ConsumerClient, bytes: &[u8]) {
    client.recv_buf().expect("connected").put_slice(bytes);
    client.received(Now::START);
}

fn tell_control(client: &mut ConsumerClient, control: &Control) {
    let mut bytes = BytesMut::new();
    control.encode(&mut bytes);
    tell(client, &bytes);
}

fn transmitted(client: &mut ConsumerClient) -> String {
    let all = core::iter::from_fn(|| client.poll_transmit(Now::START));
    all.map(|bytes| bytes.escape_ascii().to_string()).collect()
}

fn delivery(client: &mut ConsumerClient) -> Delivery {
    match client.poll_event() {
        Some(ConsumerEvent::Delivered(delivery)) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

fn run(first: u64, attempt: u32) -> Control {
    Control::Run {
        first,
        published: 77,
        attempt,
    }
}

#[test]
fn each_message_has_its_sequence_its_attempt_and_its_position() {
    let mut client = connected();
    tell_control(&mut client, &run(5, 1));
    tell(&mut client, b"\0\0\0\x01a\0\0\0\x01b");
    tell(&mut client, b"\0\0\0\x01c");
    tell_control(&mut client, &run(2, 2));
    tell(&mut client, b"\0\0\0\x01d");
    let told: Vec<_> = (0..3)
        .map(|_| delivery(&mut client))
        .map(|it| (it.sequence, it.attempt, it.first.place, it.last().place))
        .collect();
    assert_eq!(told, [(5, 1, 1, 2), (7, 1, 3, 3), (2, 2, 4, 4)]);
}

#[test]
fn what_waits_is_asked_behind_what_was_settled_and_answered_by_number() {
    let mut client = ConsumerClient::new(ConsumerOptions::default());
    client.connected(Now::START);
    assert_eq!(client.ask_lag(), None, "nobody has accepted it");
    let mut client = connected();
    tell_control(&mut client, &run(1, 1));
    tell(&mut client, b"\0\0\0\x01a");
    let position = delivery(&mut client).last();
    assert!(client.settle(Outcome::Done, 0, position, position));
    assert_eq!(client.ask_lag(), Some(1));
    let said = transmitted(&mut client);
    let (settle, ping) = (said.find("0\\x01\\x00"), said.find("\\x02\\x00"));
    assert!(settle.is_some() && settle < ping, "{said}");
    assert_eq!(client.ask_lag(), Some(2));
    let lag = Lag {
        messages: 3,
        oldest_ms: 20,
    };
    tell_control(&mut client, &Control::Pong(2, Some(lag)));
    assert_eq!(client.poll_event(), Some(ConsumerEvent::Lag(2, lag)));
}

#[test]
fn positions_of_one_connection_can_be_counted() {
    let at = |connection, place| Position { connection, place };
    assert_eq!(at(1, 3).messages_to(at(1, 3)), 1);
    assert_eq!(at(1, 3).messages_to(at(1, 7)), 5);
    assert_eq!(at(1, 3).messages_to(at(1, 2)), 0);
    assert_eq!(at(1, 3).messages_to(at(2, 7)), 0);
}

#[test]
fn what_is_settled_one_by_one_is_one_range() {
    let mut client = connected();
    tell_control(&mut client, &run(1, 1));
    tell(&mut client, b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c");
    let delivery = delivery(&mut client);
    for place in [2, 0, 1] {
        let position = delivery.position(place);
        assert!(client.settle(Outcome::Done, 0, position, position));
    }
    let range = "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03";
    assert_eq!(
        transmitted(&mut client),
        alloc::format!("\\x80\\x00\\x00\\x160\\x01\\x00\\x00\\x00\\x00{range}")
    );
}

#[test]
fn what_an_ended_connection_handed_out_cannot_be_settled() {
    let mut client = connected();
    tell_control(&mut client, &run(1, 1));
    tell(&mut client, b"\0\0\0\x01a");
    let old = delivery(&mut client);
    client.disconnected();
    assert!(!client.ack_up_to(old.last()));
    client.connected(Now::START);
    transmitted(&mut client);
    tell(&mut client, b"OK v=2\n");
    assert!(!client.ack_up_to(old.last()));
    assert_eq!(transmitted(&mut client), "");
}

#[test]
fn a_dead_letter_says_where_it_came_from_and_the_next_does_not() {
    let mut client = connected();
    let origin = Origin {
        sequence: 4,
        failures: 20,
        published: 1,
        topic: "gpu".into(),
        group: "store".into(),
        reason: "rejected".into(),
    };
    tell_control(&mut client, &Control::Origin(origin.clone()));
    tell(&mut client, b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c");
    let told: Vec<_> = (0..2)
        .map(|_| delivery(&mut client))
        .map(|it| (it.batch.messages(), it.first.place, it.origin))
        .collect();
    assert_eq!(told, [(1, 1, Some(origin)), (2, 2, None)]);
}

#[test]
fn leaving_settles_first() {
    let mut client = connected();
    tell_control(&mut client, &run(1, 1));
    tell(&mut client, b"\0\0\0\x01a");
    let delivery = delivery(&mut client);
    assert!(client.ack_up_to(delivery.last()));
    client.leave();
    let bytes = transmitted(&mut client);
    assert!(bytes.ends_with("\\x80\\x00\\x00\\x01\\x08"), "{bytes}");
    // CREDIT 0 comes first: else what is settled would make room for more.
    let pause = "\\x80\\x00\\x00\\t1\\x00\\x00\\x00\\x00\\x00\\x80\\x00\\x00";
    let settle = "\\x80\\x00\\x00\\x160\\x01";
    assert!(bytes.starts_with(&[pause, settle].concat()), "{bytes}");
}

#[test]
fn a_credit_holds_on_the_next_connection_too() {
    let mut client = connected();
    client.credit(7, 1000);
    client.disconnected();
    client.connected(Now::START);
    let line = "CONSUMER v=2 ack=1 prefetch=7 prefetch_bytes=1000\\n";
    assert_eq!(transmitted(&mut client), line);
    client.credit(0, 1000);
    client.disconnected();
    client.connected(Now::START);
    let bytes = transmitted(&mut client);
    let (line, pause) = bytes.split_once("\\n").expect("a line");
    assert_eq!(line, "CONSUMER v=2 ack=1 prefetch=1 prefetch_bytes=1000");
    assert!(
        pause.starts_with("\\x80\\x00\\x00\\t1\\x00\\x00\\x00\\x00"),
        "{pause}"
    );
}

#[test]
fn revoked_positions_are_of_this_connection() {
    let mut client = connected();
    tell_control(
        &mut client,
        &Control::Revoked {
            code: "ack_timeout".into(),
            ranges: alloc::vec![Range { from: 1, to: 2 }],
        },
    );
    let at = |place| Position {
        connection: 1,
        place,
    };
    assert_eq!(
        client.poll_event(),
        Some(ConsumerEvent::Revoked {
            code: "ack_timeout".into(),
            positions: alloc::vec![(at(1), at(2))],
        })
    );
}
