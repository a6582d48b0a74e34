//! What an engine may keep. Each check returns whether it does, and panics where something is as it is in no engine.

use crate::engine::{Consumer, Engine, Place, Running, is_confirmed};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_tests::conversation::Told;

/// Whether an engine keeps something.
type Check = fn(&Engine) -> bool;

/// Every check, in the order of the table.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("confirms", confirms),
    ("groups", groups),
    ("settling", settling),
    ("redelivery", redelivery),
    ("attempts", attempts),
    ("dead-letters", dead_letters),
    ("resume", resume),
    ("drain", drain),
    ("history", history),
    ("sequences", sequences),
    ("slow-groups", slow_groups),
    ("restart", restart),
    ("kill", kill),
    ("progress", progress),
    ("positions", positions),
    ("in-stream", in_stream),
];

fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|it| it.to_string()).collect()
}

fn confirms(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let (mut producer, answer) = broker.producer("topic=jobs confirm=1");
    assert!(answer.starts_with("OK "), "{answer}");
    producer.publish(numbers(0, 100));
    is_confirmed(&mut producer, 100)
}

fn groups(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let mut alone = broker.consumer("topic=jobs group=alone");
    let mut shared =
        ["one", "other"].map(|_| broker.consumer("topic=jobs group=shared prefetch=1"));
    broker.publish("jobs", 0, 20);
    let in_order = alone.texts(20) == numbers(0, 20);
    let mut all = Vec::new();
    for _ in 0..10 {
        all.extend(shared.iter_mut().map(|member| member.work().text));
    }
    all.sort_by_key(|it| it.parse::<u64>().expect("a number"));
    in_order && all == numbers(0, 20)
}

fn settling(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let mut is_kept = true;
    for (group, order) in orders().into_iter().enumerate() {
        let options = format!("topic=jobs group=g{group} prefetch=4");
        let mut consumer = broker.consumer(&options);
        broker.publish("jobs", 0, 4);
        assert_eq!(consumer.texts(4), numbers(0, 4));
        // All but the last: that one comes again, and nothing else.
        let (last, settled) = order.split_last().expect("four");
        for position in settled {
            consumer.settle(Outcome::Done, *position);
        }
        consumer.flush();
        consumer.leave();
        let mut next = broker.consumer(&options);
        is_kept &= next.work().text == (last - 1).to_string();
        is_kept &= next.flush().is_empty();
        next.leave();
    }
    is_kept
}

/// Every order of four.
fn orders() -> Vec<[u64; 4]> {
    let mut orders = Vec::new();
    for number in 0..256_u64 {
        let order = [0, 2, 4, 6].map(|bits| (number >> bits & 3) + 1);
        if (1..=4).all(|it| order.contains(&it)) {
            orders.push(order);
        }
    }
    orders
}

fn redelivery(engine: &Engine) -> bool {
    handed_out_again(engine).0
}

/// Those count that had nothing to do with a consumer, too.
fn attempts(engine: &Engine) -> bool {
    handed_out_again(engine).1
}

fn handed_out_again(engine: &Engine) -> (bool, bool) {
    let place = engine.place();
    let broker = place.start();
    let options = "topic=jobs group=workers prefetch=3";
    let mut first = broker.consumer(options);
    broker.publish("jobs", 0, 5);
    assert_eq!(first.texts(3), numbers(0, 3));
    drop(first);
    let mut next = broker.consumer(options);
    let mut again: Vec<_> = (0..5)
        .map(|_| {
            let given = next.work();
            (given.text, given.attempt)
        })
        .collect();
    // What may have failed with its consumer comes later than the rest.
    again.sort();
    let (texts, attempts): (Vec<_>, Vec<_>) = again.into_iter().unzip();
    assert_eq!(attempts[..3], [2, 2, 2], "they were handed out before");
    (texts == numbers(0, 5), attempts[3..] == [1, 1])
}

fn dead_letters(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let mut consumer = broker.consumer("topic=jobs group=workers");
    broker.publish("jobs", 0, 1);
    for attempt in 1..=2 {
        let given = consumer.message();
        assert_eq!((given.sequence, given.attempt), (1, attempt));
        consumer.settle(Outcome::Failed, given.position);
    }
    consumer.flush();
    let mut dead = broker.consumer("topic=jobs.dead");
    let mut has_origin = false;
    loop {
        match dead.next() {
            Ok(given) => return has_origin && given.text == "0",
            Err(Told::Control(Control::Origin(origin))) => {
                let of = (origin.topic.as_str(), origin.group.as_str());
                has_origin =
                    of == ("jobs", "workers") && (origin.sequence, origin.failures) == (1, 2);
            }
            Err(Told::Control(_)) => {}
            Err(other) => panic!("no message, but {other:?}"),
        }
    }
}

const NAMED: &str = "topic=jobs producer=importer session=s";

fn resume(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let (mut first, answer) = broker.producer(NAMED);
    if is_refused(&answer) {
        return false;
    }
    assert!(answer.contains("accepted=0 resumed=0"), "{answer}");
    first.publish(numbers(0, 7));
    assert!(is_confirmed(&mut first, 7));
    drop(first);
    knows(&broker, 7)
}

/// Whether a producer may have no name: then the option is named.
fn is_refused(answer: &str) -> bool {
    answer.starts_with("ERROR bad_option producer: ")
}

/// Whether the producer with a name hears that it got so far.
fn knows(broker: &Running, position: u64) -> bool {
    let (_, answer) = broker.producer(NAMED);
    assert!(answer.starts_with("OK "), "{answer}");
    answer.contains(&format!("accepted={position} resumed=1"))
}

fn drain(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let mut consumer = broker.consumer("topic=jobs group=workers prefetch=1");
    broker.publish("jobs", 0, 10);
    broker.broker.signal("TERM");
    let mut taken = Vec::new();
    loop {
        match consumer.next() {
            Ok(given) => {
                consumer.settle(Outcome::Done, given.position);
                taken.push(given.text);
            }
            Err(Told::Control(Control::GoAway { .. })) => consumer.bye(),
            Err(Told::End) => break,
            Err(Told::Line(_) | Told::Control(_) | Told::Message { .. }) => {}
        }
    }
    assert!(broker.broker.wait().0.success());
    if taken.len() < 10 {
        let broker = place.start();
        let mut consumer = broker.consumer("topic=jobs group=workers");
        taken.extend(consumer.texts(10 - taken.len()));
    }
    taken == numbers(0, 10)
}

/// Where it cannot be kept it is refused, and the option is named.
fn history(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    broker.publish("jobs", 0, 10);
    let Some(mut old) = begins(&broker, "old", "@1") else {
        return false;
    };
    let texts = |group: &str, from: &str, count: usize| {
        let consumer = begins(&broker, group, from);
        consumer.expect("it is not refused").texts(count)
    };
    old.texts(10) == numbers(0, 10)
        && texts("all", "first", 10) == numbers(0, 10)
        && texts("late", "last", 1) == numbers(9, 10)
        // One that is there goes on.
        && texts("late", "first", 1) == numbers(9, 10)
}

/// The same with a sequence.
fn sequences(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    broker.publish("jobs", 0, 10);
    let fourth = begins(&broker, "fourth", "4");
    fourth.is_some_and(|mut it| it.texts(7) == numbers(3, 10))
}

/// A consumer of a new group that begins there; none if that is refused.
fn begins(broker: &Running, group: &str, from: &str) -> Option<Consumer> {
    let refused = match broker.try_consumer(&format!("topic=jobs group={group} from={from}")) {
        Ok(consumer) => return Some(consumer),
        Err(refused) => refused,
    };
    assert!(refused.starts_with("ERROR no_history from: "), "{refused}");
    None
}

fn slow_groups(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let mut consumer = broker.consumer("topic=narrow group=slow prefetch=1");
    // Until an engine has made the group nothing is appended.
    consumer.flush();
    let mut producer = broker.producer("topic=narrow confirm=1").0;
    producer.publish(numbers(0, 100));
    loop {
        match producer.next() {
            Told::Control(Control::Confirmed { position: 100, .. }) => break,
            Told::Control(Control::Blocked { .. }) => return false,
            Told::Control(_) => {}
            other @ (Told::Line(_) | Told::Message { .. } | Told::End) => panic!("{other:?}"),
        }
    }
    (0..100).all(|it| consumer.work().text == it.to_string())
}

fn is_there(place: &Place<'_>, end: impl FnOnce(Running)) -> bool {
    let broker = place.start();
    broker.consumer("topic=jobs group=all").leave();
    broker.publish("jobs", 0, 100);
    end(broker);
    let broker = place.start();
    // What is published now comes after what was there.
    let mut consumer = broker.consumer("topic=jobs group=all");
    broker.publish("jobs", 100, 101);
    (0..101).all(|it| consumer.work().text == it.to_string())
}

fn restart(engine: &Engine) -> bool {
    is_there(&engine.place(), Running::end)
}

fn kill(engine: &Engine) -> bool {
    is_there(&engine.place(), Running::kill)
}

fn progress(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let options = "topic=jobs group=workers prefetch=10";
    let mut consumer = broker.consumer(options);
    broker.publish("jobs", 0, 10);
    assert_eq!(consumer.texts(10), numbers(0, 10));
    for position in [1, 2, 3, 4, 7, 8, 9] {
        consumer.settle(Outcome::Done, position);
    }
    consumer.flush();
    broker.kill();
    let broker = place.start();
    let mut consumer = broker.consumer(options);
    broker.publish("jobs", 10, 11);
    let expected = ["4", "5", "9", "10"];
    expected.iter().all(|it| consumer.message().text == *it)
}

fn positions(engine: &Engine) -> bool {
    let place = engine.place();
    let broker = place.start();
    let (mut producer, answer) = broker.producer(NAMED);
    if is_refused(&answer) {
        return false;
    }
    producer.publish(numbers(0, 7));
    assert!(is_confirmed(&mut producer, 7));
    broker.kill();
    knows(&place.start(), 7)
}

/// What is on its way when the broker is killed is there, or its producer hears that it is not, and sends it again.
fn in_stream(engine: &Engine) -> bool {
    const ALL: u64 = 10_000;
    let place = engine.place();
    let broker = place.start();
    let (mut producer, answer) = broker.producer(NAMED);
    if is_refused(&answer) {
        return false;
    }
    producer.publish(numbers(0, ALL / 2));
    let confirmed = loop {
        if let Told::Control(Control::Confirmed { position, .. }) = producer.next() {
            break position;
        }
    };
    producer.publish(numbers(ALL / 2, ALL));
    broker.kill();
    let broker = place.start();
    let (mut producer, answer) = broker.producer(NAMED);
    let accepted = answer
        .split(' ')
        .find_map(|it| it.strip_prefix("accepted="));
    let accepted: u64 = accepted.and_then(|it| it.parse().ok()).expect("a number");
    if accepted < confirmed {
        return false;
    }
    producer.publish(numbers(accepted, ALL));
    assert!(accepted == ALL || is_confirmed(&mut producer, ALL));
    let mut consumer = broker.consumer("topic=jobs group=all from=first");
    (0..ALL).all(|it| consumer.work().text == it.to_string())
}
