//! Limits and bad input, on the real binary: whoever goes too far is closed with a named reason, and
//! nobody else notices.

use message_queue_tests::frames::{frames, read_bytes_to_end, read_messages, reset};
use message_queue_tests::process::Broker;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// A queue that blocks its producers from the eleventh message on.
const FULL_AT_TEN: &[(&str, &str)] = &[
    ("DELIVERY_MODE", "queue"),
    ("OVERFLOW", "block"),
    ("QUEUE_CAPACITY", "10"),
];

/// The broker closes a connection that sends these bytes, for this reason.
fn assert_closed(broker: &Broker, bytes: &[u8], reason: &str) {
    let mut stream = broker.connect_with(bytes);
    assert_eq!(read_bytes_to_end(&mut stream), b"", "nothing is answered");
    assert_eq!(broker.wait_for_close(&stream), reason);
    let counter = match reason {
        "too_many_connections" | "too_many_consumers" => "message_queue_connections_refused_total",
        _ => "message_queue_connections_closed_total",
    };
    let label = format!("reason=\"{reason}\"");
    assert_eq!(broker.metric(counter, &label), 1.0);
}

#[test]
fn an_unknown_role_is_closed() {
    assert_closed(&Broker::start(&[]), b"GET / HTTP/1.1\r\n", "unknown_role");
}

/// It was closed after `ROLE_TIMEOUT_MS`, or never where what followed had a line feed to come.
#[test]
fn what_cannot_become_a_role_line_is_closed_at_once_and_the_log_says_what_it_is() {
    let broker = Broker::start(&[("ROLE_TIMEOUT_MS", "600000")]);
    let firsts: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1", "this is HTTP"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", "this is TLS"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2",
            "this is the PROXY protocol",
        ),
        (b"producer", "it begins with \"producer\""),
    ];
    for (bytes, what) in firsts {
        let mut stream = broker.connect_with(bytes);
        assert_eq!(read_bytes_to_end(&mut stream), b"", "nothing is answered");
        let closed = broker.wait_for_close_line(&stream);
        assert_eq!(closed["reason"], "unknown_role");
        let detail = format!("the role line is neither PRODUCER nor CONSUMER: {what}");
        assert_eq!(closed["detail"], detail);
    }
}

#[test]
fn one_byte_may_be_enough() {
    let broker = Broker::start(&[("ROLE_TIMEOUT_MS", "600000")]);
    assert_closed(&broker, b"G", "unknown_role");
}

#[test]
fn a_role_line_that_does_not_end_is_closed() {
    assert_closed(
        &Broker::start(&[]),
        &[&b"PRODUCER "[..], &[b'x'; 4088]].concat(),
        "role_line_too_long",
    );
}

#[test]
fn silence_is_closed_and_a_dripping_role_line_is_silence() {
    let broker = Broker::start(&[("ROLE_TIMEOUT_MS", "200")]);
    assert_closed(&broker, b"", "role_timeout");
    let mut dripping = broker.connect_with(b"PRODUCER ");
    // It is closed while it drips; then a write fails.
    while dripping.write_all(b"x").is_ok() {}
    let reason = broker.wait_for_close(&dripping);
    assert!(
        ["role_timeout", "role_line_too_long"].contains(&reason.as_str()),
        "{reason}"
    );
}

#[test]
fn an_oversize_length_is_closed_and_what_came_before_it_is_delivered() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let mut bytes = b"PRODUCER\n".to_vec();
    bytes.extend(frames(["whole"]));
    bytes.extend([0x00, 0x10, 0x00, 0x01]);
    assert_closed(&broker, &bytes, "frame_too_large");
    assert_eq!(read_messages(&mut consumer, 1), [b"whole"]);
}

#[test]
fn a_truncated_frame_is_not_delivered() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let mut bytes = b"PRODUCER\n".to_vec();
    bytes.extend(frames(["whole", "cut"]));
    bytes.pop();
    let producer = broker.connect_with(&bytes);
    producer.shutdown(Shutdown::Write).expect("it can");
    assert_eq!(broker.wait_for_close(&producer), "truncated_frame");
    broker
        .producer()
        .write_all(&frames(["next"]))
        .expect("the broker reads");
    assert_eq!(read_messages(&mut consumer, 2), [&b"whole"[..], b"next"]);
}

#[test]
fn a_consumer_that_speaks_is_closed() {
    assert_closed(&Broker::start(&[]), b"CONSUMER\nhello", "unexpected_data");
}

#[test]
fn one_consumer_too_many_is_refused_and_a_freed_place_can_be_taken() {
    let broker = Broker::start(&[("MAX_CONSUMERS", "2")]);
    let first = broker.consumer();
    let _second = broker.consumer();
    assert_closed(&broker, b"CONSUMER\n", "too_many_consumers");
    assert_eq!(broker.metric("message_queue_consumers", ""), 2.0);
    drop(first);
    broker.wait_for_log(|line| line["reason"] == "peer_closed");
    let mut third = broker.consumer();
    broker
        .producer()
        .write_all(&frames(["x"]))
        .expect("the broker reads");
    assert_eq!(read_messages(&mut third, 1), [b"x"]);
}

/// Whether a producer that sends this, shuts down its sending side and reads until the end of the
/// stream may think that all of it was taken (PROTOCOL.md, section 5).
fn sees_success(broker: &Broker, bytes: &[u8]) -> bool {
    let mut stream = broker.connect();
    stream.write_all(bytes).is_ok()
        && stream.shutdown(Shutdown::Write).is_ok()
        && stream.read(&mut [0]).is_ok()
}

#[test]
fn a_producer_of_which_not_all_was_taken_never_sees_success() {
    let broker = Broker::start(&[("MAX_CONNECTIONS", "3")]);
    let taken = [&b"PRODUCER\n"[..], &frames(["whole"])].concat();
    let cut = [&taken[..], b"\0\0\0\x05cu"].concat();
    let oversize = [&taken[..], b"\0\x10\0\x01"].concat();
    for _ in 0..20 {
        assert!(sees_success(&broker, &taken));
        for rejected in [&b"PRODUCERS\n"[..], b"PRODU", &cut, &oversize] {
            assert!(!sees_success(&broker, rejected), "{rejected:?}");
        }
    }
    let _places = [(); 3].map(|()| broker.consumer());
    for _ in 0..20 {
        assert!(!sees_success(&broker, &taken));
    }
}

#[test]
fn a_producer_that_is_reset_while_it_is_blocked_is_noticed() {
    let broker = Broker::start(FULL_AT_TEN);
    let bytes = [&b"PRODUCER\n"[..], &frames([b"x"; 20])].concat();
    let blocked = [(); 3].map(|()| broker.connect_with(&bytes));
    broker.wait_for_metric("message_queue_producers", 3.0);
    for producer in blocked {
        let addr = producer.local_addr().expect("it is connected");
        reset(producer);
        let closed = broker
            .wait_for_log(|line| line["message"] == "closed" && line["peer"] == addr.to_string());
        assert_eq!(closed["reason"], "peer_reset");
    }
    broker.wait_for_metric("message_queue_producers", 0.0);
    // What they had parked is still delivered.
    let mut consumer = broker.consumer();
    assert_eq!(read_messages(&mut consumer, 60), vec![b"x"; 60]);
}

/// The end of its stream confirms that everything has been taken: that is not so while some of it is
/// parked. Others that are done do not wait with it.
#[test]
fn a_blocked_producer_that_ended_its_side_waits_for_room_alone() {
    let broker = Broker::start(FULL_AT_TEN);
    let mut done = broker.producer();
    broker.wait_for_metric("message_queue_producers", 1.0);
    let mut blocked = broker.producer();
    blocked.write_all(&frames([b"x"; 20])).expect("it is read");
    broker.wait_for_metric("message_queue_parked_messages", 10.0);
    for producer in [&done, &blocked] {
        producer.shutdown(Shutdown::Write).expect("an orderly end");
    }
    assert_eq!(read_bytes_to_end(&mut done), b"");
    assert_eq!(broker.wait_for_close(&done), "peer_closed");
    let (_, producers) = broker.get("/producers");
    assert!(producers.contains("\"waits_for_room\":true"), "{producers}");
    let mut consumer = broker.consumer();
    assert_eq!(read_messages(&mut consumer, 20), vec![b"x"; 20]);
    assert_eq!(read_bytes_to_end(&mut blocked), b"");
    assert_eq!(broker.wait_for_close(&blocked), "peer_closed");
}

/// It was taken for one that was reset, and what had not been read was lost.
#[test]
fn a_blocked_producer_that_ended_its_side_and_is_gone_loses_nothing() {
    let broker = Broker::start(FULL_AT_TEN);
    let mut gone = broker.producer();
    gone.write_all(&frames([b"x"; 20])).expect("it is read");
    broker.wait_for_metric("message_queue_parked_messages", 10.0);
    gone.write_all(&frames([b"y"; 5]))
        .expect("the socket takes it");
    gone.shutdown(Shutdown::Write).expect("an orderly end");
    let addr = gone.local_addr().expect("it is connected").to_string();
    reset(gone);
    // Until a reset is noticed that came after it.
    let other = broker.connect_with(&[&b"PRODUCER\n"[..], &frames([b"z"; 1])].concat());
    broker.wait_for_metric("message_queue_parked_messages", 11.0);
    let other_addr = other.local_addr().expect("it is connected").to_string();
    reset(other);
    let closed = |addr: &str| {
        let closed =
            broker.wait_for_log(|line| line["message"] == "closed" && line["peer"] == addr);
        closed["reason"].clone()
    };
    assert_eq!(closed(&other_addr), "peer_reset");
    let mut consumer = broker.consumer();
    let mut all = vec![b"x"; 20];
    all.push(b"z");
    all.extend([b"y"; 5]);
    assert_eq!(read_messages(&mut consumer, 26), all);
    assert_eq!(closed(&addr), "peer_closed");
}

#[test]
fn one_connection_too_many_is_refused() {
    let broker = Broker::start(&[("MAX_CONNECTIONS", "2")]);
    let _consumer = broker.consumer();
    let _silent = broker.connect();
    assert_closed(&broker, b"", "too_many_connections");
}

/// Producers that are blocked, also those that have died since, never keep the consumer out that
/// would make room for them.
#[test]
fn however_many_producers_are_blocked_a_consumer_can_enter() {
    let broker = Broker::start(&[
        ("MAX_CONNECTIONS", "4"),
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("QUEUE_CAPACITY", "10"),
    ]);
    let mut blocked = Vec::new();
    for _ in 0..3 {
        let mut bytes = b"PRODUCER\n".to_vec();
        bytes.extend(frames([b"x"; 20]));
        blocked.push(broker.connect_with(&bytes));
    }
    broker.wait_for_metric("message_queue_producers", 3.0);
    // The place that is left is not for a producer.
    let fourth = broker.connect_with(b"PRODUCER\n");
    assert_eq!(broker.wait_for_close(&fourth), "too_many_connections");
    drop(blocked);
    let mut consumer = broker.consumer();
    assert_eq!(read_messages(&mut consumer, 60), vec![b"x"; 60]);
}

#[test]
fn a_producer_that_pauses_too_long_in_a_frame_is_disconnected() {
    let broker = Broker::start(&[("FRAME_TIMEOUT_MS", "300")]);
    for begun in [&b"\0"[..], b"\0\0\0\x05four", &[0, 0, 0, 1, 7, 0]] {
        let bytes = [b"PRODUCER\n", begun].concat();
        let stream = broker.connect_with(&bytes);
        assert_eq!(broker.wait_for_close(&stream), "frame_timeout");
    }
    // One that says nothing has begun nothing.
    let label = "reason=\"frame_timeout\"";
    let mut quiet = broker.producer();
    let stalled = broker.connect_with(b"PRODUCER\n\0");
    assert_eq!(broker.wait_for_close(&stalled), "frame_timeout");
    assert_eq!(
        broker.metric("message_queue_connections_closed_total", label),
        4.0
    );
    quiet.write_all(&frames([b"x"])).expect("it is open");
    broker.wait_for_metric("message_queue_received_messages_total", 2.0);
}

#[test]
fn a_producer_that_is_slow_with_a_frame_and_goes_on_is_not_disconnected() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let broker = Broker::start(&[("FRAME_TIMEOUT_MS", "3s")]);
    let mut slow = broker.producer();
    // A byte comes well within the time.
    slow.set_read_timeout(Some(Duration::from_millis(10)))
        .expect("a timeout");
    let message = frames([vec![7; 1 << 20]]);
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < TIMEOUT * 2 {
        slow.write_all(&message[sent..=sent]).expect("it is open");
        sent += 1;
        let nothing = slow.read(&mut [0]).expect_err("nothing is answered");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }
    slow.write_all(&message[sent..]).expect("it is open");
    broker.wait_for_metric("message_queue_received_messages_total", 1.0);
}

/// While one producer is blocked no other is read from, so partial frames would stay as they are.
#[test]
fn partial_frames_do_not_keep_a_whole_message_waiting() {
    let broker = Broker::start(&[
        ("DELIVERY_MODE", "queue"),
        ("OVERFLOW", "block"),
        ("BACKLOG_BYTES", "3MiB"),
        ("BROKER_BYTES", "3MiB"),
        ("FRAME_TIMEOUT_MS", "1h"),
    ]);
    let large = frames([vec![7; 900_000]]);
    let begun = [b"PRODUCER\n", &large[..800_000]].concat();
    let partial = [(); 3].map(|()| broker.connect_with(&begun));
    broker.wait_for_metric("message_queue_held_bytes", 2_400_000.0);
    let mut producer = broker.producer();
    // What it has of a message itself is never the largest part.
    let messages = vec![vec![8; 100_000]; 40];
    let sender = thread::spawn({
        let bytes = frames(&messages);
        move || {
            producer.write_all(&bytes).expect("the broker reads");
            producer
        }
    });
    // Two of them go for these. What is left is within the part that partial frames may hold.
    for late in [&partial[2], &partial[1]] {
        assert_eq!(broker.wait_for_close(late), "broker_bytes");
    }
    let mut consumer = broker.consumer();
    assert_eq!(read_messages(&mut consumer, 40), messages);
    sender.join().expect("it sent all");
    let mut first = &partial[0];
    first
        .write_all(&begun[begun.len() - 100_004..])
        .expect("it is open");
    assert_eq!(read_messages(&mut consumer, 1), vec![vec![7; 900_000]]);
}

#[test]
fn a_consumer_that_stalls_too_long_is_disconnected() {
    let broker = Broker::start(&[("WRITE_TIMEOUT_MS", "2000"), ("OVERFLOW", "block")]);
    let stuck = broker.consumer();
    let mut reading = broker.consumer();
    let message = vec![1; 1 << 20];
    let messages = vec![message; 100];
    let mut producer = broker.producer();
    let sending = std::thread::spawn({
        let bytes = frames(&messages);
        move || producer.write_all(&bytes)
    });
    // Blocked by the stuck one, until it is gone.
    assert_eq!(read_messages(&mut reading, 100), messages);
    assert_eq!(broker.wait_for_close(&stuck), "write_timeout");
    sending
        .join()
        .expect("it ran")
        .expect("everything was sent");
}

#[test]
fn one_address_has_so_many_connections_and_the_others_notice_nothing() {
    let broker = Broker::start(&[("MAX_CONNECTIONS_PER_ADDRESS", "2")]);
    let (one, _two) = (broker.producer(), broker.consumer());
    for _ in 0..3 {
        broker.refuses(b"PRODUCER\n");
    }
    broker.wait_for_metric("message_queue_address_refusals_total", 3.0);
    broker.wait_for_log(|it| {
        it["message"] == "refused: too many connections from one address"
            && it["last"] == "127.0.0.1"
    });
    assert_eq!(broker.metric("message_queue_connections", ""), 2.0);
    drop(one);
    broker.wait_for_metric("message_queue_connections", 1.0);
    broker.producer();
}

#[test]
fn behind_a_trusted_proxy_a_connection_is_its_clients() {
    let broker = Broker::start(&[
        ("PROXY_PROTOCOL", "on"),
        ("PROXY_TRUSTED", "127.0.0.0/8,::1"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "1"),
    ]);
    let of = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 5000 9080\r\nPRODUCER\n");
    let _one = broker.connect_with(of("192.0.2.1").as_bytes());
    broker.wait_for_log(|it| it["message"] == "registered" && it["peer"] == "192.0.2.1:5000");
    // The limit by address is that of the client, not that of the proxy.
    let _other = broker.connect_with(of("192.0.2.2").as_bytes());
    broker.wait_for_log(|it| it["message"] == "registered" && it["peer"] == "192.0.2.2:5000");
    let mut again = broker.connect_with(of("192.0.2.1").as_bytes());
    assert!(again.read(&mut [0]).is_err(), "it was let in");
    // A connection that does not say whose it is, is nobody's.
    let mut silent = broker.connect_with(b"PRODUCER\n\0\0\0\0");
    assert!(silent.read(&mut [0]).is_err(), "it was let in");
    broker.wait_for_log(|it| it["detail"] == "it does not begin with a PROXY header");
}

#[test]
fn a_proxy_that_is_not_trusted_is_named_for_what_it_is() {
    let settings = [("PROXY_PROTOCOL", "on"), ("PROXY_TRUSTED", "192.0.2.0/24")];
    for settings in [&settings[..], &[]] {
        let broker = Broker::start(settings);
        let _proxied = broker.connect_with(b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 9080\r\n");
        broker.wait_for_log(|it| {
            let detail = it["detail"].as_str().unwrap_or_default();
            it["reason"] == "unknown_role" && detail.contains("PROXY")
        });
    }
}
