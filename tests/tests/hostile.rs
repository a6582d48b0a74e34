//! Hostile input to the real binary: whoever tries it gets the answer that PROTOCOL.md promises, and
//! nobody else notices. Beside this, `limits.rs` has the plain case of each limit, and `soak.rs`
//! all of it at once.

use message_queue_tests::frames::{frames, read_bytes_to_end, read_message, read_messages, reset};
use message_queue_tests::process::Broker;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Sends a message from one client to another.
fn pass(message: &str, producer: &mut TcpStream, consumer: &mut TcpStream) {
    producer
        .write_all(&frames([message]))
        .expect("the broker reads");
    assert_eq!(read_message(consumer).as_deref(), Some(message.as_bytes()));
}

/// The most memory that the broker has had so far, in bytes.
fn peak_memory(broker: &Broker) -> usize {
    let path = format!("/proc/{}/status", broker.pid());
    let status = std::fs::read_to_string(path).expect("it is running");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .expect("Linux says");
    kib.trim().parse::<usize>().expect("a number") * 1024
}

#[test]
fn a_dripping_role_line_does_not_put_off_its_deadline() {
    let broker = Broker::start(&[("ROLE_TIMEOUT_MS", "300"), ("ROLE_LINE_BYTES", "65536")]);
    let mut stream = broker.connect_with(b"PRODUCER ");
    // Each byte comes well within any timeout that a read could have.
    stream
        .set_read_timeout(Some(Duration::from_millis(10)))
        .expect("a timeout");
    let mut drips = 0;
    let end = loop {
        match stream.write_all(b"x").and_then(|()| stream.read(&mut [0])) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => drips += 1,
            end => break end,
        }
        assert!(drips < 3000, "nobody minds");
    };
    assert!(drips > 1, "{end:?}");
    assert_eq!(broker.wait_for_close(&stream), "role_timeout");
}

#[test]
fn what_is_not_a_role_gets_no_answer() {
    let broker = Broker::start(&[]);
    let garbage: [&[u8]; 8] = [
        b"\n",
        b"\0\n",
        b"PRODUCER \n",
        b"PRODUCER\0\n",
        b"\xef\xbb\xbfPRODUCER\n",
        b"CONSUMER\r\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"\xff\xff\xff\xff\n",
    ];
    for bytes in garbage {
        let mut stream = broker.connect_with(bytes);
        assert_eq!(read_bytes_to_end(&mut stream), b"", "{bytes:?}");
    }
    let label = "reason=\"unknown_role\"";
    assert_eq!(
        broker.metric("message_queue_connections_closed_total", label),
        8.0
    );
}

#[test]
fn a_length_that_is_announced_takes_no_memory() {
    let broker = Broker::start(&[]);
    let (mut consumer, mut producer) = (broker.consumer(), broker.producer());
    pass("before", &mut producer, &mut consumer);
    let before = peak_memory(&broker);
    // 200 MiB, of which the first byte comes.
    let mut begun = b"PRODUCER\n".to_vec();
    begun.extend([0x00, 0x10, 0x00, 0x00, 0]);
    let waiting: Vec<_> = (0..200).map(|_| broker.connect_with(&begun)).collect();
    broker.wait_for_metric("message_queue_producers", 201.0);
    // And 800 GiB that are not allowed.
    for _ in 0..200 {
        let mut stream = broker.connect_with(b"PRODUCER\n\xff\xff\xff\xff\0");
        assert_eq!(read_bytes_to_end(&mut stream), b"");
    }
    pass("after", &mut producer, &mut consumer);
    let grown = peak_memory(&broker) - before;
    assert!(grown < 32 << 20, "it took {grown} bytes");
    drop(waiting);
}

#[test]
fn a_frame_cut_off_anywhere_is_not_delivered() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let cut_off = frames(["cut off"]);
    for length in 1..cut_off.len() {
        let bytes = [b"PRODUCER\n", &frames(["whole"])[..], &cut_off[..length]].concat();
        let mut stream = broker.connect_with(&bytes);
        stream.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(read_bytes_to_end(&mut stream), b"");
        assert_eq!(read_message(&mut consumer).as_deref(), Some(&b"whole"[..]));
    }
    // The log has a line for the first few of a second only; the counter has them all.
    assert_eq!(
        broker.metric(
            "message_queue_connections_closed_total",
            "reason=\"truncated_frame\""
        ),
        (cut_off.len() - 1) as f64
    );
    pass("nothing between", &mut broker.producer(), &mut consumer);
}

#[test]
fn a_reset_in_the_middle_of_a_frame_takes_that_frame_alone() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let mut producer = broker.producer();
    pass("whole", &mut producer, &mut consumer);
    producer
        .write_all(&frames(["cut off"])[..6])
        .expect("the broker reads");
    let own = producer.local_addr().expect("an address").to_string();
    reset(producer);
    broker.wait_for_log(|line| line["peer"] == own.as_str() && line["reason"] == "peer_reset");
    pass("nothing between", &mut broker.producer(), &mut consumer);
}

#[test]
fn a_stream_in_writes_of_one_byte_is_the_same_stream() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let messages: [&[u8]; 4] = [b"a", b"", b"\0\0\0\x01", &[b'x'; 300]];
    let mut producer = broker.connect();
    producer.set_nodelay(true).expect("a TCP socket");
    for byte in [b"PRODUCER\r\n", &frames(messages)[..]].concat() {
        producer.write_all(&[byte]).expect("the broker reads");
    }
    assert_eq!(read_messages(&mut consumer, 4), messages);
}

#[test]
fn all_that_came_before_a_half_close_is_delivered_and_then_the_stream_ends() {
    let broker = Broker::start(&[("OVERFLOW", "block")]);
    let mut consumer = broker.consumer();
    let messages: Vec<Vec<u8>> = (0..500_u32).map(|n| n.to_be_bytes().repeat(1000)).collect();
    let sending = std::thread::spawn({
        let bytes = [b"PRODUCER\n", &frames(&messages)[..]].concat();
        let mut producer = broker.connect();
        move || {
            producer.write_all(&bytes).expect("the broker reads");
            producer.shutdown(Shutdown::Write).expect("it is connected");
            read_bytes_to_end(&mut producer)
        }
    });
    assert_eq!(read_messages(&mut consumer, 500), messages);
    assert_eq!(sending.join().expect("it ran"), b"");
    // A consumer that ends its side has left: what comes later is not for it.
    consumer.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(read_bytes_to_end(&mut consumer), b"");
    assert_eq!(broker.wait_for_close(&consumer), "peer_closed");
}

#[test]
fn a_consumer_that_never_reads_loses_its_own_messages_and_then_its_place() {
    let broker = Broker::start(&[
        ("CONSUMER_CHANNEL_BUFFER_SIZE", "4"),
        ("WRITE_TIMEOUT_MS", "300"),
    ]);
    let stuck = broker.consumer();
    let (mut reading, mut producer) = (broker.consumer(), broker.producer());
    let own = stuck.local_addr().expect("an address").to_string();
    let gone = |line: &Value| line["peer"] == own.as_str() && line["reason"] == "write_timeout";
    let message = "x".repeat(500_000);
    let mut passed = 0;
    // The other one gets each message while the stuck one does not.
    while !broker.log().iter().any(gone) {
        pass(&message, &mut producer, &mut reading);
        passed += 1;
        assert!(passed < 1_000_000, "nobody minds");
    }
    let label = "reason=\"backlog_messages\"";
    assert!(broker.metric("message_queue_dropped_messages_total", label) > 0.0);
    assert_eq!(broker.metric("message_queue_consumers", ""), 1.0);
    pass("afterwards", &mut producer, &mut reading);
}

#[test]
fn a_flood_of_connections_is_refused_beyond_the_cap_and_accepting_goes_on() {
    let broker = Broker::start(&[("MAX_CONNECTIONS", "20")]);
    let (mut consumer, mut producer) = (broker.consumer(), broker.producer());
    pass("before", &mut producer, &mut consumer);
    let flood: Vec<_> = (0..500).map(|_| broker.connect()).collect();
    for stream in &flood[18..] {
        assert_eq!(read_bytes_to_end(&mut &*stream), b"");
    }
    pass("meanwhile", &mut producer, &mut consumer);
    let label = "reason=\"too_many_connections\"";
    assert_eq!(
        broker.metric("message_queue_connections_refused_total", label),
        482.0
    );
    drop(flood);
    broker.wait_for_metric("message_queue_connections", 2.0);
    pass("afterwards", &mut broker.producer(), &mut consumer);
    // A line for each of the first in a second, and one for the rest.
    let lines = broker
        .log()
        .iter()
        .filter(|line| line["level"] == "WARN")
        .count();
    assert!(lines < 482, "{lines} lines of warning");
}

#[test]
fn clients_do_not_take_the_last_file_descriptors() {
    const CLIENTS: usize = 200;
    let settings = [("ROLE_TIMEOUT_MS", "3600000")];
    let broker = Broker::start_with_descriptors(64, &settings);
    let (mut consumer, mut producer) = (broker.consumer(), broker.producer());
    pass("before", &mut producer, &mut consumer);
    let mut silent: Vec<_> = (0..CLIENTS).map(|_| broker.connect()).collect();
    let refused = |broker: &Broker| {
        let reason = "reason=\"too_many_connections\"";
        broker.metric("message_queue_connections_refused_total", reason) as usize
    };
    let places = broker.metric("message_queue_connections_limit", "") as usize;
    // The two that work have places too.
    while refused(&broker) < CLIENTS + 2 - places {}
    for path in ["/healthz", "/ready", "/metrics", "/consumers"] {
        assert_eq!(broker.get(path).0, 200, "{path}");
    }
    pass("meanwhile", &mut producer, &mut consumer);
    assert_eq!(
        broker.metric("message_queue_accept_failures_total", ""),
        0.0
    );
    let open = broker.metric("process_open_fds", "");
    let max = broker.metric("process_max_fds", "");
    assert!(open < max && max == 64.0, "{open} of {max}");

    silent.truncate(10);
    broker.wait_for_metric("message_queue_connections", 12.0);
    let mut late = broker.consumer();
    pass("afterwards", &mut producer, &mut consumer);
    assert_eq!(read_message(&mut late).as_deref(), Some(&b"afterwards"[..]));
    // Five lines for the first of them, one a second for all others.
    let lines = broker.log();
    let told = lines
        .iter()
        .filter(|it| it["reason"] == "too_many_connections" && it["level"] != "DEBUG");
    assert!(told.count() < CLIENTS / 2, "{lines:#?}");
}

/// In version 2 a read may hold control frames and more messages behind one for which there is no room.
#[test]
fn what_stands_behind_a_message_without_room_waits_with_it() {
    const PING: &[u8] = b"\x80\0\0\x09\x02\0\0\0\0\0\0\0\x07";
    const PONG: &[u8] = b"\x80\0\0\x09\x03\0\0\0\0\0\0\0\x07";
    let broker = Broker::start(&[("DELIVERY_MODE", "queue"), ("QUEUE_CAPACITY", "1")]);
    let sent = [
        b"PRODUCER confirm=1\n",
        &frames(["a", "b"])[..],
        PING,
        &frames(["c", "d"]),
        PING,
    ];
    let mut producer = broker.connect_with(&sent.concat());
    producer.shutdown(Shutdown::Write).expect("it can");
    // Before that it is blocked, with all of it read.
    let mut told = Vec::new();
    while !told.ends_with(b"topic default, group queue: full") {
        let mut byte = [0];
        producer.read_exact(&mut byte).expect("it is told");
        told.extend(byte);
    }
    assert!(!told.windows(PONG.len()).any(|it| it == PONG));
    let mut consumer = broker.consumer();
    let messages = read_messages(&mut consumer, 4);
    assert_eq!(
        messages,
        ["a", "b", "c", "d"].map(|it| it.as_bytes().to_vec())
    );
    let rest = read_bytes_to_end(&mut producer);
    let confirmed = b"\x80\0\0\x11\x10\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\0";
    assert!(
        rest.windows(confirmed.len()).any(|it| it == confirmed),
        "{rest:?}"
    );
    assert!(rest.windows(PONG.len()).any(|it| it == PONG), "{rest:?}");
}
