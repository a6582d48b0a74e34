//! What the profiles promise, and what not.

use super::*;
use crate::wire::control::Range;
use alloc::string::{String, ToString};
use alloc::vec;

const GROUP: GroupId = GroupId::Named(1);

fn name() -> Name {
    Name::new("workers").expect("a good name")
}

/// An engine with an open group, to which so many pieces of one message are delivered.
fn with(profile: Profile, pieces: u64) -> Engine {
    let topic = TopicName::new("jobs").expect("a good name");
    let mut engine = Engine::new(topic, profile);
    open(&mut engine, OpenFrom::New);
    write(&mut engine, pieces);
    engine.deliver(GROUP, 100, 0);
    engine
}

fn open(engine: &mut Engine, from: OpenFrom) {
    engine.ask(Request::OpenGroup {
        group: GROUP,
        name: Some(name()),
        most: 100,
        from,
    });
    engine.change();
    engine.open(GROUP, u64::MAX).expect("it is wanted");
}

/// Pieces of one message, three in a millisecond.
fn write(engine: &mut Engine, pieces: u64) {
    for first in 1..=pieces {
        append(engine, first);
        engine.write(0);
        engine.confirm().expect("it is written");
    }
}

fn append(engine: &mut Engine, first: u64) {
    engine.ask(Request::Append {
        first,
        published: 1000 + (first - 1) / 3,
        batch: FrameBatch::encode([first.to_string()]).expect("small"),
        producers: Vec::new(),
        origin: None,
    });
}

fn save(engine: &mut Engine, settled_up_to: u64, settled: Vec<Range>) {
    engine.ask(Request::SaveGroup {
        change: 1,
        group: name(),
        progress: Progress {
            settled_up_to,
            settled,
            failed: Vec::new(),
        },
    });
    engine.change().expect("it is saved");
}

/// What is fetched from a sequence on: the messages, and the attempts of the first.
fn read(engine: &mut Engine, from: u64) -> (Vec<String>, u32) {
    engine.tell(GROUP);
    engine.ask(Request::Fetch {
        group: GROUP,
        from: FetchFrom::Sequence(from),
        bytes: 1 << 20,
    });
    let Some(Answer::Fetched { runs, .. }) = engine.fetch(0) else {
        panic!("it is answered")
    };
    let bodies = runs.iter().flat_map(|it| it.batch.bodies());
    let texts = bodies.map(|it| String::from_utf8_lossy(&it).into_owned());
    (texts.collect(), runs.first().map_or(0, |it| it.attempts))
}

/// The group is lost, and opened with all partitions.
fn again(engine: &mut Engine) -> u64 {
    engine.lose_group(GROUP).expect("it was open");
    let answer = engine.open(GROUP, u64::MAX);
    let Some(Answer::GroupOpened { next, .. }) = answer else {
        panic!("{answer:?}")
    };
    engine.deliver(GROUP, 100, 0);
    next
}

#[test]
fn a_queue_delivers_again_what_is_not_settled_and_counts() {
    let mut engine = with(Profile::RABBITMQ, 4);
    save(&mut engine, 1, vec![Range { from: 3, to: 3 }]);
    let next = again(&mut engine);
    assert_eq!(next, 5, "no sequence comes twice");
    assert_eq!(read(&mut engine, next), (vec!["2".into(), "4".into()], 1));
}

#[test]
fn partitions_deliver_again_what_is_settled_beyond_a_hole() {
    let mut engine = with(Profile::KAFKA, 6);
    // Of the first partition, 1 and 4; of the second, 2 and 5. They come partition by partition.
    assert_eq!(
        read(&mut engine, 1).0,
        ["1", "4", "2", "5", "3", "6"].map(String::from)
    );
    save(&mut engine, 1, vec![Range { from: 4, to: 4 }]);
    let next = again(&mut engine);
    let expected = ["4", "2", "5", "3", "6"].map(String::from).to_vec();
    assert_eq!(read(&mut engine, next), (expected, 0));
    save(&mut engine, next + 4, Vec::new());
    assert_eq!(engine.unsettled(), 0);
}

#[test]
fn a_group_that_is_new_begins_in_the_history_and_one_that_is_there_goes_on() {
    for (from, begins) in [
        (OpenFrom::New, &[][..]),
        (OpenFrom::First, &["1", "4", "2", "5", "3", "6"]),
        // Of each partition.
        (OpenFrom::Last, &["4", "5", "6"]),
        (OpenFrom::Time(1001), &["4", "5", "6"]),
        (OpenFrom::Time(7), &["1", "4", "2", "5", "3", "6"]),
        (OpenFrom::Time(2000), &[]),
    ] {
        let topic = TopicName::new("jobs").expect("a good name");
        let mut engine = Engine::new(topic, Profile::KAFKA);
        write(&mut engine, 6);
        open(&mut engine, from);
        engine.deliver(GROUP, 100, 0);
        assert_eq!(read(&mut engine, 1).0, begins, "{from:?}");
        save(&mut engine, begins.len() as u64, Vec::new());
        engine.ask(Request::CloseGroup { group: GROUP });
        engine.change();
        open(&mut engine, OpenFrom::First);
        engine.deliver(GROUP, 100, 0);
        let next = begins.len() as u64 + 1;
        assert_eq!(read(&mut engine, next).0, [""; 0], "{from:?}: it goes on");
    }
}

#[test]
fn a_partition_is_one_brokers_alone_and_a_queue_is_not() {
    for (profile, elsewhere) in [(Profile::RABBITMQ, 1), (Profile::KAFKA, 0)] {
        let mut engine = with(profile, 0);
        append(&mut engine, 1);
        engine.write(0);
        engine.deliver_elsewhere(0, 9);
        engine.end_elsewhere(0, true);
        assert_eq!(engine.unsettled(), 1 - elsewhere, "{profile:?}");
    }
    let mut engine = with(Profile::KAFKA, 3);
    engine.lose_group(GROUP).expect("it was open");
    engine.open(GROUP, 0b010).expect("it is wanted");
    engine.deliver_elsewhere(0, 9);
    engine.deliver(GROUP, 9, 0);
    assert_eq!(read(&mut engine, 4).0, ["2".to_string()]);
    engine.end_elsewhere(0, true);
    assert_eq!(engine.unsettled(), 1);
    assert_eq!(engine.others_end(), [GROUP], "it has not got all");
}

#[test]
fn what_was_written_and_not_confirmed_is_there_twice() {
    for (written, copies) in [(0, 1), (1, 2)] {
        let mut engine = with(Profile::RABBITMQ, 0);
        append(&mut engine, 1);
        let lost = engine.lose(&mut |_| written);
        assert_eq!(lost, [Answer::GroupLost { group: GROUP }]);
        engine.write(0);
        assert_eq!(engine.confirm(), None, "it is out of reach");
        engine.reach();
        engine.write(0);
        assert_eq!(engine.confirm(), Some(Answer::appended(1)));
        assert_eq!(engine.unsettled(), copies);
    }
}

#[test]
fn pieces_are_confirmed_without_a_hole_in_whatever_order_they_are_written() {
    let mut engine = with(Profile::KAFKA, 0);
    append(&mut engine, 1);
    append(&mut engine, 2);
    engine.write(1);
    assert_eq!(engine.confirm(), None);
    engine.write(0);
    assert_eq!(engine.confirm(), Some(Answer::appended(2)));
}

#[test]
fn a_piece_that_came_to_no_group_is_confirmed_by_itself_and_only_where_nothing_is_kept() {
    for (profile, unrouted) in [
        (Profile::RABBITMQ, Count::new(1, 5)),
        (Profile::KAFKA, Count::ZERO),
    ] {
        let topic = TopicName::new("jobs").expect("a good name");
        let mut engine = Engine::new(topic, profile);
        append(&mut engine, 1);
        engine.write(0);
        open(&mut engine, OpenFrom::New);
        append(&mut engine, 2);
        engine.write(1);
        if !unrouted.is_zero() {
            let first = engine.confirm();
            assert_eq!(first, Some(Answer::Appended { up_to: 1, unrouted }));
        }
        assert_eq!(engine.confirm(), Some(Answer::appended(2)));
        assert_eq!(engine.confirm(), None);
    }
}

#[test]
fn what_was_asked_before_a_group_was_lost_is_answered_late() {
    let mut engine = with(Profile::RABBITMQ, 2);
    engine.ask(Request::Fetch {
        group: GROUP,
        from: FetchFrom::Sequence(1),
        bytes: 1 << 20,
    });
    let next = again(&mut engine);
    let late = engine.fetch(0);
    assert!(
        matches!(&late, Some(Answer::Fetched { runs, next: 3, .. }) if runs.len() == 1),
        "{late:?}"
    );
    assert_eq!(
        engine.tell_late(),
        Some(Answer::Arrived {
            group: GROUP,
            up_to: 2
        })
    );
    assert_eq!(read(&mut engine, next).0.len(), 2);
}
