//! The examples, byte for byte.

use bytes::BytesMut;
use message_queue_core::wire::control::{
    Control, Lag, Link, Mark, Origin, Outcome, Range, Reason, table,
};
use message_queue_core::{Config, DeliveryMode};
use message_queue_tests::specification::{bytes, code, rows};
use message_queue_tests::world::World;

fn config() -> Config {
    Config {
        delivery: DeliveryMode::Queue,
        server: "message-queue/0.2.0".into(),
        started_ms: 1_764_000_000_000,
        ..Config::default()
    }
}

fn reason(code: &str, text: &str) -> Reason {
    Reason {
        code: code.into(),
        text: text.into(),
    }
}

const fn range(from: u64, to: u64) -> Range {
    Range { from, to }
}

/// What the examples of section 10 say, in their order.
fn frames() -> Vec<(Link, Control)> {
    let lag = Lag {
        messages: 3,
        oldest_ms: 20,
    };
    let settle = |outcome, delay_ms, ranges: &[Range]| Control::Settle {
        outcome,
        delay_ms,
        ranges: ranges.to_vec(),
    };
    vec![
        (Link::FromProducer, Control::Topic("gpu.0".into())),
        (Link::ToProducer, Control::Ping(7)),
        (Link::FromConsumer, Control::Pong(7, None)),
        (Link::ToConsumer, Control::Pong(7, Some(lag))),
        (Link::FromProducer, Control::Flush(1)),
        (Link::ToProducer, Control::Flushed(1)),
        (Link::ToProducer, Control::Error(reason("draining", "bye"))),
        (
            Link::ToConsumer,
            Control::GoAway {
                left_ms: 30_000,
                wait_ms: 397,
                text: "bye".into(),
            },
        ),
        (Link::FromConsumer, Control::Bye),
        (
            Link::ToProducer,
            Control::Confirmed {
                position: 10,
                unrouted: 0,
            },
        ),
        (
            Link::ToProducer,
            Control::Refused(range(11, 12), reason("full", "")),
        ),
        (
            Link::ToProducer,
            Control::Blocked {
                blocked: true,
                text: "topic jobs".into(),
            },
        ),
        (
            Link::ToConsumer,
            Control::Run {
                first: 5,
                published: 1_764_000_000_000,
                attempt: 1,
            },
        ),
        (
            Link::ToConsumer,
            Control::Gap(range(5, 7), reason("dropped", "")),
        ),
        (
            Link::ToConsumer,
            Control::Origin(Origin {
                sequence: 1,
                failures: 20,
                published: 2,
                topic: "t".into(),
                group: "g".into(),
                reason: "failed".into(),
            }),
        ),
        (
            Link::ToConsumer,
            Control::Revoked {
                code: "ack_timeout".into(),
                ranges: vec![range(3, 4)],
            },
        ),
        (
            Link::FromConsumer,
            settle(Outcome::Done, 0, &[range(1, 10)]),
        ),
        (
            Link::FromConsumer,
            settle(Outcome::Failed, 1000, &[range(2, 2), range(4, 4)]),
        ),
        (
            Link::FromConsumer,
            Control::Credit {
                messages: 0,
                bytes: 1 << 20,
            },
        ),
        (
            Link::ToConsumer,
            Control::Check {
                crc32c: 0x7ba826bf,
                length: 31,
                safe: 4,
                producers: vec![Mark {
                    name: "p".into(),
                    session: String::new(),
                    position: 9,
                }],
            },
        ),
        (
            Link::ToConsumer,
            Control::Segment {
                format: 1,
                epoch: 25,
                first: 5,
                previous: 1,
                published: 1_764_000_000_000,
            },
        ),
    ]
}

#[test]
fn every_control_frame_is_what_its_example_says() {
    let rows: Vec<_> = rows("10")
        .into_iter()
        .filter(|row| row.len() == 2)
        .collect();
    let frames = frames();
    assert_eq!(rows.len(), frames.len());
    for (row, (link, control)) in rows.iter().zip(&frames) {
        let name = control.kind().name;
        assert!(row[0].starts_with(name), "{row:?} is no {name}");
        let example = bytes(code(row[1]));
        let mut encoded = BytesMut::new();
        control.encode(&mut encoded);
        assert_eq!(encoded, example, "{row:?}");
        let decoded = Control::decode(*link, &example[4..]);
        assert_eq!(decoded.as_ref(), Ok(&Some(control.clone())), "{row:?}");
    }
    for kind in &table::KINDS {
        let has_one = frames.iter().any(|(_, control)| control.kind() == kind);
        assert!(has_one, "no example of {}", kind.name);
    }
}

#[test]
fn the_errors_are_those_of_the_examples() {
    let rows: Vec<_> = rows("9").into_iter().filter(|row| row.len() == 2).collect();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let mut world = World::new(config());
        let conn = world.connect(bytes(code(row[0])));
        assert_eq!(world.bytes(conn), bytes(code(row[1])), "{row:?}");
        let said = code(row[1]).split(' ').nth(1);
        assert_eq!(world.closed(conn), said, "{row:?}");
    }
}

/// The exchanges. A row says what one side sends; what the broker says in several rows may come together.
#[test]
fn the_exchanges_are_those_of_the_specification() {
    let mut world = World::new(config());
    let mut connections = Vec::new();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let rows = rows("18");
    assert_eq!(rows.len(), 21);
    for row in &rows {
        let number: usize = row[0].parse().expect("a number");
        let bytes = bytes(code(row[2]));
        if row[1] == "from the broker" {
            expected[number - 1] = [&expected[number - 1], &bytes[..]].concat();
        } else if number > connections.len() {
            connections.push(world.connect(bytes));
            expected.push(Vec::new());
        } else {
            let conn = connections[number - 1];
            let said = world.bytes(conn);
            assert_eq!(
                said.escape_ascii().to_string(),
                expected[number - 1].escape_ascii().to_string(),
                "before {row:?}"
            );
            expected[number - 1].clear();
            world.send(conn, bytes);
        }
    }
    for (conn, expected) in connections.into_iter().zip(expected) {
        assert_eq!(world.bytes(conn), expected);
    }
    assert!(world.broker.stats().flow.waiting.is_zero());
    assert_eq!(world.broker.stats().flow.delivered.messages, 4);
}
