//! Random scripts: the core does what the model says, whatever happens on its sockets.
//!
//! A failure prints the shortest script that was found to show it. Pasted into a test of
//! `traces/`, it is a test of its own.

use message_queue_core::wire::{DecoderConfig, LENGTH_PREFIX, MAX_FRAME};
use message_queue_core::{
    Broker, Checkpoint, CloseReason, Config, ConnId, DeliveryMode, DropReason, Overflow,
    ProtocolError,
};
use message_queue_tests::script::{
    Action, Bytes, Literal, Part, Reads, Script, Step, play, play_restored,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::time::Duration;

/// How many connections there are at a time. When one has ended, another takes its place.
const PLACES: usize = 6;

/// A message with more bytes is a large one.
const LARGE: usize = 10_000;

/// Something that happens, before it is known on which connection.
#[derive(Clone, Debug)]
enum Event {
    /// A peer connects and sends this; a role line, as a rule.
    Arrives(usize, Vec<Part>, Reads),
    /// A peer sends messages of these lengths.
    Publishes(usize, Vec<usize>, Reads),
    /// A peer sends something that may mean nothing, and leaves or not.
    Babbles(usize, Vec<Part>, bool),
    Does(usize, Action),
    /// Nobody has anything more to be read, unless the broker does not read it.
    AllWasSent,
    Passes(u64),
    PassesUnnoticed(u64),
    Drains(u64),
    Purges,
}

fn reads() -> impl Strategy<Value = Reads> {
    prop_oneof![
        4 => Just(Reads::Whole),
        2 => prop::collection::vec(0..60_usize, 1..4).prop_map(|mut cuts| {
            cuts.sort_unstable();
            Reads::At(cuts)
        }),
        2 => Just(Reads::FrameByFrame),
        1 => Just(Reads::ByteByByte),
    ]
}

/// A role line, or what is none. Where messages are large, producers often begin one at once.
fn arrival(large: bool) -> impl Strategy<Value = (Vec<Part>, Reads)> {
    let line = first_line().prop_map(|line| vec![raw(&line)]);
    let and_more = begun().prop_map(|begun| [vec![raw(b"PRODUCER\n")], begun].concat());
    prop_oneof![
        3 => (line, reads()),
        u32::from(large) => (and_more, Just(Reads::Whole)),
    ]
}

fn first_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => Just(b"CONSUMER\n".to_vec()),
        10 => Just(b"PRODUCER\n".to_vec()),
        1 => Just(b"CONSUMER\r\n".to_vec()),
        1 => Just(b"CONSUMER\nand more".to_vec()),
        1 => Just(b"PRODUCER\n\x00\x10\x00\x01".to_vec()),
        1 => Just(b"PRODUCER".to_vec()),
        1 => Just(b"GET / HTTP/1.1\r\n".to_vec()),
        1 => (9..60_usize).prop_map(|length| {
            let mut line = b"CONSUMER ".to_vec();
            line.resize(length, b'x');
            line
        }),
    ]
}

/// The lengths of the messages of one batch. Where they are large, the bounds in bytes are met.
fn lengths(large: bool) -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        2 => Just(0_usize),
        40 => 1..30_usize,
        4 => 1_000..6_000_usize,
    ];
    let large_length = prop_oneof![
        6 => 200_000..700_000_usize,
        // Four of the first fill a backlog to the byte; of the second, to one byte too many.
        4 => 262_141..=262_142_usize,
        1 => Just(1 << 20),
        1 => 0..30_usize,
    ];
    prop_oneof![
        u32::from(!large) * 30 => prop::collection::vec(length, 1..12),
        1 => prop::collection::vec(0..3_usize, 60..140),
        u32::from(large) * 10 => prop::collection::vec(large_length, 1..5),
    ]
}

/// Half a frame, or a quarter, or none.
fn babble(large: bool) -> impl Strategy<Value = Vec<Part>> {
    let bytes = prop_oneof![
        Just(b"\0\0\0\x05ab".to_vec()),
        Just(b"\0\0".to_vec()),
        prop::collection::vec(any::<u8>(), 1..9),
    ];
    prop_oneof![
        1 => bytes.prop_map(|bytes| vec![raw(&bytes)]),
        u32::from(large) => begun(),
    ]
}

/// More than half of the largest frame, and not all of it.
fn begun() -> impl Strategy<Value = Vec<Part>> {
    (MAX_FRAME / 2..MAX_FRAME - LENGTH_PREFIX).prop_map(|times| {
        let piece = vec![7];
        vec![raw(b"\0\x10\0\0"), Part::Raw(Literal { piece, times })]
    })
}

fn raw(bytes: &[u8]) -> Part {
    Part::Raw(Literal::of(bytes))
}

fn event(large: bool) -> impl Strategy<Value = Event> {
    let place = || 0..PLACES;
    let action = prop_oneof![
        8 => Just(Action::TakesAll),
        4 => (1..80_usize).prop_map(Action::Takes),
        1 => (1..400_000_usize).prop_map(Action::Takes),
        1 => Just(Action::Closes),
        1 => Just(Action::Resets),
        1 => Just(Action::IsSealedLate),
        3 => Just(Action::IsSealed),
        1 => Just(Action::HasNothingToRead),
        1 => Just(Action::IsEndedByOperator),
        1 => Just(Action::Stalls),
    ];
    prop_oneof![
        12 => (place(), arrival(large))
            .prop_map(|(place, (parts, reads))| Event::Arrives(place, parts, reads)),
        20 => (place(), lengths(large), reads())
            .prop_map(|(place, lengths, reads)| Event::Publishes(place, lengths, reads)),
        1 + 4 * u32::from(large) => (place(), babble(large), prop::bool::weighted(0.3))
            .prop_map(|(place, parts, leaves)| Event::Babbles(place, parts, leaves)),
        20 => (place(), action).prop_map(|(place, action)| Event::Does(place, action)),
        3 => (1..4_000_u64).prop_map(Event::Passes),
        1 => (1..4_000_u64).prop_map(Event::PassesUnnoticed),
        1 => Just(Event::Purges),
    ]
}

/// Events, and often an orderly end with what happens meanwhile.
fn events(large: bool) -> impl Strategy<Value = Vec<Event>> {
    let meanwhile = prop::collection::vec(
        prop_oneof![
            3 => event(large),
            1 => (0..PLACES).prop_map(|place| Event::Does(place, Action::Resets)),
            2 => Just(Event::AllWasSent),
            1 => (1..2_000_u64).prop_map(Event::Passes),
            1 => (0..2_000_u64).prop_map(Event::Drains),
        ],
        0..30,
    );
    let end = (0..4_000_u64, meanwhile);
    (
        prop::collection::vec(event(large), 1..80),
        prop::option::of(end),
    )
        .prop_map(|(mut events, end)| {
            if let Some((time, meanwhile)) = end {
                events.push(Event::Drains(time));
                events.extend(meanwhile);
            }
            events
        })
}

fn config() -> impl Strategy<Value = (Config, DecoderConfig)> {
    let modes = (any::<bool>(), any::<bool>());
    let places = (4..=PLACES, prop_oneof![1..=2_usize, 3..=PLACES]);
    let backlog = prop_oneof![3 => 1..6_usize, 2 => 6..30_usize, 1 => Just(10_000)];
    let bytes = (
        prop_oneof![Just(MAX_FRAME), MAX_FRAME..4 * MAX_FRAME],
        prop_oneof![Just(0), Just(MAX_FRAME), 0..2 * MAX_FRAME],
    );
    let write_bytes = prop_oneof![1..60_usize, 60..2_000_usize, Just(256 << 10)];
    let rate = prop_oneof![3 => Just(0), 1 => 1..200_usize];
    let times = (500..5_000_u64, 500..5_000_u64, rate);
    let decoder = (8..40_usize, prop_oneof![1..50_usize, Just(256 << 10)]);
    (modes, places, backlog, bytes, write_bytes, times, decoder).prop_map(
        |((queue, block), places, backlog, bytes, write_bytes, times, decoder)| {
            let mut config = Config {
                delivery: if queue {
                    DeliveryMode::Queue
                } else {
                    DeliveryMode::Broadcast
                },
                overflow: if block {
                    Overflow::Block
                } else {
                    Overflow::Drop
                },
                max_connections: places.0,
                max_consumers: places.1,
                consumer_backlog: backlog,
                queue_capacity: backlog,
                backlog_bytes: bytes.0,
                broker_bytes: 0,
                role_timeout: Duration::from_millis(times.0),
                write_timeout: Duration::from_millis(times.1),
                min_consumer_rate: times.2,
                write_bytes,
                ..Config::default()
            };
            config.broker_bytes = config.least_broker_bytes() + bytes.1;
            let decoder = DecoderConfig {
                role_line_bytes: decoder.0,
                read_bytes: decoder.1,
            };
            (config, decoder)
        },
    )
}

fn script() -> impl Strategy<Value = Script> {
    let events = prop_oneof![4 => events(false), 1 => events(true)];
    (config(), events).prop_map(|((config, decoder), events)| Script {
        config,
        decoder,
        steps: steps(events),
    })
}

/// Finds the connection for each event, and gives each message a body of its own.
fn steps(events: Vec<Event>) -> Vec<Step> {
    let mut places = [ConnId(0); PLACES];
    let (mut connections, mut messages) = (0, 0);
    let mut steps = Vec::new();
    for event in events {
        match event {
            Event::Arrives(place, parts, reads) => {
                connections += 1;
                places[place] = ConnId(connections);
                steps.push(Step::On(places[place], Action::Opens));
                let sends = Action::Sends(Bytes { parts, reads });
                steps.push(Step::On(places[place], sends));
            }
            Event::Publishes(place, lengths, reads) => {
                let mut parts = Vec::new();
                for length in lengths {
                    messages += 1;
                    parts.push(Part::Frame(body(messages, length)));
                }
                let reads = match reads {
                    // A large message byte by byte is slow, and shows no more than a small one.
                    Reads::ByteByByte if parts.iter().any(is_large) => Reads::FrameByFrame,
                    Reads::Whole | Reads::At(_) | Reads::FrameByFrame | Reads::ByteByByte => reads,
                };
                steps.push(Step::On(
                    places[place],
                    Action::Sends(Bytes { parts, reads }),
                ));
            }
            Event::Babbles(place, parts, leaves) => {
                let reads = Reads::Whole;
                let sends = Action::Sends(Bytes { parts, reads });
                steps.push(Step::On(places[place], sends));
                if leaves {
                    steps.push(Step::On(places[place], Action::Closes));
                }
            }
            Event::Does(place, action) => steps.push(Step::On(places[place], action)),
            Event::AllWasSent => {
                steps.extend(places.map(|conn| Step::On(conn, Action::HasNothingToRead)));
            }
            Event::Passes(time) => steps.push(Step::Pass(Duration::from_millis(time))),
            Event::PassesUnnoticed(time) => {
                steps.push(Step::PassUnnoticed(Duration::from_millis(time)));
            }
            Event::Purges => steps.push(Step::Purge),
            Event::Drains(time) => steps.push(Step::Drain(Duration::from_millis(time))),
        }
    }
    // Nobody arrived there yet.
    steps.retain(|step| !matches!(step, Step::On(ConnId(0), _)));
    steps
}

fn is_large(part: &Part) -> bool {
    let (Part::Raw(literal) | Part::Frame(literal)) = part;
    literal.piece.len() * literal.times > LARGE
}

/// A body of about this length that says which message it is, if it is long enough to. A large
/// one has this length to the byte, and one of 26 letters.
fn body(message: u64, length: usize) -> Literal {
    if length > LARGE {
        let letter = b'a' + (message % 26) as u8;
        return Literal {
            piece: vec![letter],
            times: length,
        };
    }
    let piece = format!("m{message:<3}").into_bytes();
    match length / piece.len() {
        0 => Literal {
            piece: piece[..length].to_vec(),
            times: 1,
        },
        times => Literal { piece, times },
    }
}

/// How many scripts are played: 2,000, or what the environment says.
fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

/// The broker that is in a checkpoint after it was written and read.
fn written_and_read(broker: &Broker) -> Broker {
    let checkpoint = broker.checkpoint();
    let bytes = postcard::to_extend(&checkpoint, Vec::new()).expect("memory takes any checkpoint");
    let read: Checkpoint = postcard::from_bytes(&bytes).expect("it was just written");
    assert_eq!(read, checkpoint);
    Broker::restore(read)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // What a failure prints is worth more than a seed.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_core_does_what_the_model_says(script in script()) {
        play(&script);
    }

    #[test]
    fn a_restored_broker_goes_on_as_the_first_would_have(script in script()) {
        prop_assert_eq!(play_restored(&script, written_and_read), play(&script));
    }

    #[test]
    fn a_script_is_read_back_as_it_was_written(script in script()) {
        prop_assert_eq!(script.to_string().parse(), Ok(script));
    }
}

/// Agreement about what never happens is worth nothing.
#[test]
fn the_scripts_reach_every_end_and_every_loss() {
    let mut runner = TestRunner::deterministic();
    let mut traces = String::new();
    for _ in 0..2_000 {
        let script = script().new_tree(&mut runner).expect("a script").current();
        traces.push_str(&play(&script));
    }
    for reason in CloseReason::ALL.into_iter().filter(is_of_version1) {
        assert!(traces.contains(&format!("({reason})\n")), "no {reason}");
    }
    let of_version2 = [
        DropReason::GivenUp,
        DropReason::GroupEnded,
        DropReason::Refused,
        DropReason::Expired,
        DropReason::NotKept,
    ];
    for reason in DropReason::ALL {
        if of_version2.contains(&reason) {
            continue;
        }
        assert!(traces.contains(&format!(": {reason}\n")), "no {reason}");
    }
    for done in ["stop reading from", "again\n", "-> at"] {
        assert!(traces.contains(done), "no {done:?}");
    }
}

/// The model and these scripts know version 1 alone.
fn is_of_version1(reason: &CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::UnknownTopic
            | CloseReason::TooManyTopics
            | CloseReason::TooManyGroups
            | CloseReason::GroupMismatch
            | CloseReason::NoHistory
            | CloseReason::TakenOver
            | CloseReason::HeartbeatTimeout
            | CloseReason::Unauthorized
            | CloseReason::Forbidden
            | CloseReason::StoreFailed
            | CloseReason::Protocol(
                ProtocolError::BadOption(_)
                    | ProtocolError::BadFrame(_)
                    | ProtocolError::BadPosition { .. }
            )
    )
}
