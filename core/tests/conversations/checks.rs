//! Messages that come with their sums. The peers that ask for them verify all that they are told.

use super::kit::Kit;
use super::{SECOND, jobs, told};
use message_queue_core::client::{ConsumerClient, ConsumerEvent, Ended};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::wire::handshake::ConsumerOptions;
use message_queue_core::wire::{Damage, Encoder};
use message_queue_core::{Broker, ConnId, Now, Storage};

const WORKER: &str = "CONSUMER topic=jobs group=workers ack=1 prefetch=3 check=1";

fn stored() -> Kit {
    let mut kit = jobs(|rule| {
        rule.storage = Some(Storage::Disk);
        rule.backoff_max = Some(SECOND);
    });
    kit.store_all("jobs");
    kit
}

/// More than one piece of a batch that has a sum of its own, and of which parts are handed out.
fn long(letter: u8) -> Vec<u8> {
    vec![letter; 9_000]
}

fn first_letters(told: Vec<String>) -> String {
    let messages = told.iter().filter(|it| it.len() == 9_000);
    messages.map(|it| &it[..1]).collect()
}

#[test]
fn whatever_part_is_handed_out_however_often_has_a_sum_that_is_right() {
    let mut kit = stored();
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    let mut batch = Encoder::new();
    for letter in b'a'..=b'l' {
        batch.push(&long(letter)).expect("it fits");
    }
    let batch = batch.take();
    kit.bytes(producer, batch.as_bytes());
    kit.store_all("jobs");
    assert_eq!(first_letters(told(&mut kit, worker)), "abc");
    // Cut in the middle, and again: what is left of what it holds is gathered and given back.
    kit.settle(worker, Outcome::Done, 2, 2);
    assert_eq!(first_letters(told(&mut kit, worker)), "d");
    kit.settle(worker, Outcome::Failed, 1, 1);
    assert_eq!(first_letters(told(&mut kit, worker)), "e");
    kit.pass(SECOND);
    kit.settle(worker, Outcome::Done, 3, 3);
    assert_eq!(first_letters(told(&mut kit, worker)), "a");
    kit.settle(worker, Outcome::Return, 4, 4);
    assert_eq!(first_letters(told(&mut kit, worker)), "d");
    kit.input(worker, message_queue_core::Input::PeerReset);
    let second = kit.connect(WORKER);
    kit.store_all("jobs");
    kit.pass(SECOND);
    // e has failed with the connection.
    assert_eq!(first_letters(told(&mut kit, second)), "adf");
    // From the store, in another life of the broker.
    kit.settle(second, Outcome::Done, 2, 2);
    kit.store_all("jobs");
    kit.crash(0);
    let third = kit.connect(&format!("{WORKER} prefetch_bytes=20000"));
    kit.store_all("jobs");
    let mut got = first_letters(told(&mut kit, third));
    for position in 1..=9 {
        kit.settle(third, Outcome::Done, position, position);
        kit.store_all("jobs");
        got += &first_letters(told(&mut kit, third));
    }
    let mut got: Vec<char> = got.chars().collect();
    got.sort_unstable();
    assert_eq!(got.into_iter().collect::<String>(), "aefghijkl");
}

#[test]
fn a_dead_letter_and_what_a_pattern_brings_have_sums_in_memory_too() {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    let all = kit.connect("CONSUMER topic=> group=all ack=1 check=1");
    kit.send(producer, &["a", "b"]);
    let first = ["TOPIC jobs", "RUN 1 #1 @1000", "a", "b"];
    assert_eq!(told(&mut kit, worker), first);
    assert_eq!(told(&mut kit, all), first);
    kit.settle(worker, Outcome::Reject, 1, 1);
    let dead = kit.connect("CONSUMER topic=jobs.dead ack=1 check=1");
    assert_eq!(
        told(&mut kit, dead),
        [
            "TOPIC jobs.dead",
            "RUN 1 #1 @1000",
            "ORIGIN jobs 1 of workers, 0 failures: rejected",
            "a"
        ]
    );
    let other = kit.connect("PRODUCER topic=other");
    kit.send(other, &["c"]);
    assert_eq!(told(&mut kit, all), ["TOPIC other", "RUN 1 #1 @1000", "c"]);
    // A RUN is said again, although it goes on: the sum covers it.
    kit.send(producer, &["d"]);
    assert_eq!(told(&mut kit, worker), ["RUN 3 #1 @1000", "d"]);
    let listener = kit.connect("CONSUMER topic=jobs check=1");
    kit.send(producer, &["e"]);
    let from_now_on = ["TOPIC jobs", "RUN 4 #1 @1000", "e"];
    assert_eq!(told(&mut kit, listener), from_now_on);
}

/// What somebody gets who does not ask, beside somebody who does, or not.
fn beside(is_checked: bool) -> Vec<u8> {
    let mut kit = stored();
    let check = if is_checked { " check=1" } else { "" };
    kit.connect(&format!("CONSUMER topic=jobs{check}"));
    let listener = kit.connect("CONSUMER topic=jobs");
    let producer = kit.connect("PRODUCER topic=jobs");
    for message in ["a", "b", "c"] {
        kit.send(producer, &[message, "and more"]);
        kit.store_all("jobs");
    }
    kit.heard(listener).to_vec()
}

#[test]
fn who_does_not_ask_gets_the_bytes_of_ever() {
    assert_eq!(
        beside(true).escape_ascii().to_string(),
        beside(false).escape_ascii().to_string()
    );
}

/// Sums are not in a checkpoint, and follow from the messages.
#[test]
fn a_broker_that_was_restored_makes_the_same_sums() {
    let heard = |restores: bool| {
        let mut kit = jobs(|_| {});
        let producer = kit.connect("PRODUCER topic=jobs confirm=1");
        let worker = kit.connect("CONSUMER topic=jobs group=workers check=1 ack=1 prefetch=2");
        kit.stop_reading(worker);
        kit.send(producer, &["a", "b", "c", "d"]);
        if restores {
            let checkpoint = kit.broker.checkpoint();
            kit.broker = Broker::restore(checkpoint.clone());
            assert_eq!(kit.broker.checkpoint(), checkpoint);
        }
        kit.read_again(worker);
        kit.settle(worker, Outcome::Done, 1, 2);
        assert_eq!(told(&mut kit, worker).len(), 7);
        kit.heard(worker).to_vec()
    };
    assert_eq!(heard(false), heard(true));
}

/// What a client that verifies makes of a stream: what it was handed, message by message, and how it ended.
fn read(stream: &[u8]) -> (Vec<String>, Option<Ended>) {
    let mut client = ConsumerClient::new(ConsumerOptions {
        ack: true,
        check: true,
        ..ConsumerOptions::default()
    });
    client.connected(Now::START);
    if let Some(buffer) = client.recv_buf() {
        buffer.extend_from_slice(stream);
    }
    client.received(Now::START);
    let (mut handed, mut ended) = (Vec::new(), None);
    while let Some(event) = client.poll_event() {
        match event {
            ConsumerEvent::Delivered(it) => {
                let (topic, origin) = (it.topic, it.origin);
                for (place, body) in it.batch.bodies().enumerate() {
                    handed.push(format!(
                        "{topic:?} {} {} {} {origin:?} {body:?}",
                        it.sequence + place as u64,
                        it.published,
                        it.attempt
                    ));
                }
            }
            ConsumerEvent::Ended(it) => ended = Some(it),
            ConsumerEvent::Connected(_)
            | ConsumerEvent::Gap(..)
            | ConsumerEvent::Revoked { .. }
            | ConsumerEvent::Lag(..)
            | ConsumerEvent::GoAway { .. } => {}
        }
    }
    (handed, ended)
}

/// All that a consumer of dead letters and others gets, with a PING of the broker between and at the end.
fn stream() -> (Vec<u8>, usize) {
    let mut kit = jobs(|_| {});
    let producer = kit.connect("PRODUCER topic=jobs confirm=1 heartbeat=0");
    let worker = kit.connect("CONSUMER topic=jobs ack=1 group=workers heartbeat=0");
    let dead = kit.connect("CONSUMER topic=jobs.dead ack=1 check=1 heartbeat=2");
    let answer = kit.heard(dead).len();
    for (position, message) in [(1, "first"), (2, ""), (3, "a third one")] {
        kit.send(producer, &[message, "is done"]);
        kit.settle(worker, Outcome::Reject, 2 * position - 1, 2 * position - 1);
        kit.settle(worker, Outcome::Done, 2 * position, 2 * position);
        kit.pass(SECOND);
        kit.say(dead, &Control::Pong(1, None));
    }
    let direct = kit.connect("PRODUCER topic=jobs.dead");
    kit.send(direct, &["x", "y", "z"]);
    kit.pass(2 * SECOND);
    (kit.heard(dead).to_vec(), answer)
}

#[test]
fn no_bit_of_a_stream_changes_a_message_that_is_handed_out() {
    let (stream, answer) = stream();
    let (whole, ended) = read(&stream);
    assert_eq!((whole.len(), ended), (6, None));
    let mut noticed = 0;
    for bit in 0..stream.len() * 8 {
        let mut changed = stream.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (handed, ended) = read(&changed);
        assert!(whole.starts_with(&handed), "bit {bit}: {handed:#?}");
        if bit / 8 >= answer {
            let is_damaged = matches!(ended, Some(Ended::Damaged(_)));
            let is_whole = handed == whole;
            assert!(is_damaged || is_whole, "bit {bit}: {ended:?}, {handed:#?}");
            noticed += usize::from(is_damaged);
        }
    }
    // The rest are of frames that are about the connection alone: numbers of PING, and what is skipped.
    let bits = (stream.len() - answer) * 8;
    assert!(noticed * 10 > bits * 8, "{noticed} of {bits}");
    for cut in answer..stream.len() {
        let (handed, _) = read(&[&stream[..cut], &stream[cut + 1..]].concat());
        assert!(whole.starts_with(&handed), "without byte {cut}");
    }
}

fn damage(stream: &[u8]) -> Damage {
    match read(stream).1 {
        Some(Ended::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_said_which_message_was_damaged() {
    let (mut stream, _) = stream();
    let at = |text: &[u8]| {
        let mut windows = stream.windows(text.len());
        windows.position(|it| it == text).expect("it is there")
    };
    let (third, last) = (at(b"a third one"), at(b"\0\0\0\x01y"));
    stream[last + 4] = b'Y';
    let damaged = damage(&stream);
    assert_eq!(
        damaged.to_string(),
        "topic jobs.dead: one of the messages 4 to 6 was damaged on its way"
    );
    assert_eq!(damaged.last_right, 3);
    stream[third] = b'A';
    assert_eq!(
        damage(&stream).to_string(),
        "topic jobs.dead: message 3 was damaged on its way"
    );
    // A length: which messages there were is not known any more.
    stream[third - 1] += 1;
    assert_eq!(
        damage(&stream).to_string(),
        "topic jobs.dead: what came after message 2 was damaged on its way"
    );
}

#[test]
fn who_finds_damage_gives_back_what_it_holds_and_nothing_of_it_has_failed() {
    let mut kit = jobs(|rule| rule.max_failures = Some(1));
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    let worker = kit.connect(WORKER);
    kit.send(producer, &["a"]);
    kit.send(producer, &["b"]);
    let mut client = ConsumerClient::new(ConsumerOptions {
        ack: true,
        check: true,
        ..ConsumerOptions::default()
    });
    client.connected(Now::START);
    while client.poll_transmit(Now::START).is_some() {}
    let mut stream = kit.heard(worker).to_vec();
    *stream.last_mut().expect("a byte") ^= 1;
    client.recv_buf().expect("a connection").extend(&stream);
    client.received(Now::START);
    let handed = std::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
        ConsumerEvent::Delivered(delivery) => Some(delivery.last()),
        _ => None,
    });
    // It is too late for that.
    assert!(!client.ack_up_to(handed.expect("the first is right")));
    assert!(!client.is_connected());
    let last_words = client.poll_transmit(Now::START).expect("it says BYE");
    assert_eq!(client.poll_transmit(Now::START), None);
    kit.bytes(worker, &last_words);
    kit.input(worker, message_queue_core::Input::PeerClosed);
    let next: ConnId = kit.connect(WORKER);
    assert_eq!(
        told(&mut kit, next),
        ["TOPIC jobs", "RUN 1 #2 @1000", "a", "RUN 2 #2 @1000", "b"]
    );
}
