//! Topics that other brokers share: their store numbers the messages of each group, and may take them back.

use super::kit::Kit;
use super::rights::consumer;
use super::{SECOND, jobs, told};
use message_queue_core::store::{Answer, FetchFrom, OpenFrom, Request, Run};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{GroupId, Now, Storage};
use std::time::Duration;

const WORKER: &str = "CONSUMER topic=jobs group=workers ack=1";

fn shared() -> Kit {
    shared_by(Storage::RabbitMq)
}

fn shared_by(storage: Storage) -> Kit {
    let mut kit = jobs(move |rule| rule.storage = Some(storage));
    // The groups that are declared.
    kit.store_all("jobs");
    kit.is_by_hand = true;
    kit
}

/// The store has saved all that it was asked to. Returns how far each group had got.
fn save_all(kit: &mut Kit) -> Vec<u64> {
    let mut saved = Vec::new();
    loop {
        let asked = std::mem::take(&mut kit.asked);
        if asked.is_empty() {
            return saved;
        }
        for request in asked {
            if let Request::SaveGroup {
                change, progress, ..
            } = request
            {
                saved.push(progress.settled_up_to);
                kit.answer("jobs", Answer::GroupSaved { up_to: change });
            }
        }
    }
}

/// The group that the store was asked to open.
fn opened(kit: &mut Kit) -> GroupId {
    let asked = std::mem::take(&mut kit.asked);
    let open = asked.into_iter().find_map(|it| match it {
        Request::OpenGroup { group, .. } => Some(group),
        _ => None,
    });
    open.expect("a group is to be opened")
}

/// Messages arrive for a group, and are fetched.
fn arrive(kit: &mut Kit, group: GroupId, first: u64, attempts: u32, messages: &[&str]) {
    let next = first + messages.len() as u64;
    let up_to = next - 1;
    kit.answer("jobs", Answer::Arrived { group, up_to });
    let fetch = kit.asked.iter().position(|it| {
        matches!(it, Request::Fetch { group: of, from: FetchFrom::Sequence(from), .. }
            if *of == group && *from == first)
    });
    kit.asked
        .remove(fetch.expect("what has arrived is fetched"));
    let runs = vec![Run {
        first,
        published: 1000,
        batch: FrameBatch::encode(messages).expect("small"),
        origin: None,
        attempts,
    }];
    kit.answer("jobs", Answer::Fetched { group, runs, next });
}

#[test]
fn what_is_appended_is_confirmed_and_comes_by_the_store_alone() {
    let mut kit = shared();
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    assert!(kit.told(producer)[0].contains(" safe=engine "));
    let worker = kit.connect(WORKER);
    assert!(!kit.told(worker)[0].contains("created="));
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    kit.send(producer, &["a"]);
    kit.answer("jobs", Answer::appended(1));
    assert_eq!(told(&mut kit, producer), ["CONFIRMED 1, 0 unrouted"]);
    assert!(told(&mut kit, worker).is_empty());
    arrive(&mut kit, group, 1, 0, &["a"]);
    assert_eq!(told(&mut kit, worker), ["RUN 1 #1 @1000", "a"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    assert_eq!(save_all(&mut kit), [1]);
}

#[test]
fn what_the_store_takes_back_is_revoked_and_comes_again() {
    let mut kit = shared();
    let worker = kit.connect(WORKER);
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    arrive(&mut kit, group, 1, 0, &["a", "b", "c"]);
    told(&mut kit, worker);
    kit.settle(worker, Outcome::Done, 2, 2);
    save_all(&mut kit);
    kit.answer("jobs", Answer::GroupLost { group });
    assert_eq!(told(&mut kit, worker), ["REVOKED 1-1 3-3 engine_lost"]);
    assert_eq!(kit.broker.held_bytes(), 0);
    // It is too late for what is revoked, and no error.
    kit.settle(worker, Outcome::Done, 1, 3);
    // What is said of the time before means nothing.
    kit.answer("jobs", Answer::Arrived { group, up_to: 9 });
    assert!(told(&mut kit, worker).is_empty());
    kit.answer("jobs", Answer::GroupOpened { group, next: 4 });
    arrive(&mut kit, group, 4, 1, &["a", "c"]);
    assert_eq!(told(&mut kit, worker), ["RUN 4 #2 @1000", "a", "c"]);
    kit.settle(worker, Outcome::Done, 4, 5);
    assert_eq!(save_all(&mut kit).last(), Some(&5));
}

#[test]
fn a_group_is_open_while_it_has_members() {
    let mut kit = shared();
    let one = kit.connect(WORKER);
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    let other = kit.connect(WORKER);
    assert!(kit.asked.is_empty(), "it is open: {:?}", kit.asked);
    arrive(&mut kit, group, 1, 0, &["a", "b"]);
    for conn in [one, other] {
        kit.say(conn, &Control::Bye);
        kit.end(conn);
    }
    assert!(kit.asked.contains(&Request::CloseGroup { group }));
    assert_eq!(kit.broker.held_bytes(), 0, "it is for others");
    kit.asked.clear();
    let again = kit.connect(WORKER);
    assert_eq!(opened(&mut kit), group);
    kit.answer("jobs", Answer::GroupOpened { group, next: 3 });
    arrive(&mut kit, group, 3, 1, &["a"]);
    assert_eq!(told(&mut kit, again)[..2], ["RUN 3 #2 @1000", "a"]);
}

/// What any broker publishes after OK comes to it.
#[test]
fn who_has_a_group_of_its_own_is_told_ok_when_the_engine_has_opened_it() {
    let mut kit = shared();
    let listener = kit.connect("CONSUMER topic=jobs heartbeat=10");
    let group = opened(&mut kit);
    kit.pass(Duration::from_secs(10));
    assert!(kit.told(listener).is_empty(), "not even a PING");
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    let told = kit.told(listener);
    assert!(told[0].starts_with("OK "), "{told:?}");
    arrive(&mut kit, group, 1, 0, &["a"]);
    let told = kit.told(listener);
    assert_eq!(told.last().map(String::as_str), Some("a"), "{told:?}");
    // It is opened again, and nothing is said of that.
    kit.answer("jobs", Answer::GroupLost { group });
    kit.answer("jobs", Answer::GroupOpened { group, next: 2 });
    assert!(kit.told(listener).is_empty());
}

/// Found by the simulator: who is silent was given more time whenever its group was opened again.
#[test]
fn a_group_that_is_opened_again_says_nothing_of_who_reads_it() {
    let mut kit = shared();
    let listener = kit.connect("CONSUMER topic=jobs heartbeat=10");
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    kit.told(listener);
    kit.pass(Duration::from_secs(15));
    kit.answer("jobs", Answer::GroupLost { group });
    kit.answer("jobs", Answer::GroupOpened { group, next: 2 });
    kit.pass(Duration::from_secs(5));
    let told = kit.told(listener);
    let last = told.last().map(String::as_str);
    assert_eq!(last, Some("closed: heartbeat_timeout"), "{told:?}");
}

/// Found by the simulator: its time was over, and it was accepted all the same.
#[test]
fn whose_time_is_over_before_the_engine_has_opened_the_group_is_refused() {
    let mut kit = shared();
    let mut who = consumer("a", "jobs", None);
    who.expires = Some(Now::START + SECOND);
    let listener = kit.connect_as(Some(&who), "CONSUMER topic=jobs");
    let group = opened(&mut kit);
    kit.pass(SECOND);
    let told = kit.told(listener);
    assert!(told[0].starts_with("ERROR unauthorized "), "{told:?}");
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    assert!(kit.told(listener).iter().all(|it| !it.starts_with("OK ")));
}

#[test]
fn a_fetch_that_was_under_way_when_the_group_was_lost_brings_nothing() {
    let mut kit = shared();
    let worker = kit.connect(WORKER);
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    kit.answer("jobs", Answer::Arrived { group, up_to: 1 });
    kit.answer("jobs", Answer::GroupLost { group });
    kit.answer("jobs", Answer::GroupOpened { group, next: 2 });
    let runs = vec![Run {
        first: 1,
        published: 1000,
        batch: FrameBatch::encode(["old"]).expect("small"),
        origin: None,
        attempts: 0,
    }];
    kit.answer(
        "jobs",
        Answer::Fetched {
            group,
            runs,
            next: 2,
        },
    );
    assert!(told(&mut kit, worker).is_empty());
    kit.asked.clear();
    arrive(&mut kit, group, 2, 0, &["new"]);
    assert_eq!(told(&mut kit, worker), ["RUN 2 #1 @1000", "new"]);
}

#[test]
fn what_was_not_written_of_a_lost_group_comes_by_the_store_alone() {
    let mut kit = shared();
    let line = "CONSUMER topic=jobs group=workers ack=0";
    let (slow, other) = (kit.connect(line), kit.connect(line));
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    kit.stop_reading(slow);
    arrive(&mut kit, group, 1, 0, &["a"]);
    assert!(
        told(&mut kit, other).is_empty(),
        "it is on its way to the first"
    );
    kit.answer("jobs", Answer::GroupLost { group });
    kit.answer("jobs", Answer::GroupOpened { group, next: 2 });
    kit.end(slow);
    assert!(told(&mut kit, other).is_empty(), "it is taken back");
    assert_eq!(kit.broker.held_bytes(), 0);
    arrive(&mut kit, group, 2, 1, &["a"]);
    assert_eq!(told(&mut kit, other), ["RUN 2 #2 @1000", "a"]);
}

#[test]
fn what_is_settled_is_saved_before_the_group_is_closed() {
    let mut kit = shared();
    let worker = kit.connect(WORKER);
    let group = opened(&mut kit);
    kit.answer("jobs", Answer::GroupOpened { group, next: 1 });
    arrive(&mut kit, group, 1, 0, &["a", "b", "c"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    // While that is being saved, more is settled.
    kit.settle(worker, Outcome::Done, 2, 2);
    kit.say(worker, &Control::Bye);
    kit.end(worker);
    let asked = std::mem::take(&mut kit.asked);
    let asked: Vec<String> = asked
        .into_iter()
        .map(|it| match it {
            Request::SaveGroup { progress, .. } => format!("save {}", progress.settled_up_to),
            other => format!("{other:?}"),
        })
        .collect();
    let close = format!("{:?}", Request::CloseGroup { group });
    assert_eq!(asked, ["save 1", "save 2", close.as_str()]);
}

#[test]
fn a_group_that_is_lost_or_closed_is_behind_by_nothing() {
    let mut kit = shared();
    let worker = kit.connect(WORKER);
    let group = opened(&mut kit);
    let behind = |kit: &Kit| kit.broker.stats().behind.messages;
    for next in [1, 4] {
        kit.answer("jobs", Answer::GroupOpened { group, next });
        let up_to = next + 2;
        kit.answer("jobs", Answer::Arrived { group, up_to });
        assert_eq!(behind(&kit), 3, "it is not fetched");
        if next == 1 {
            kit.answer("jobs", Answer::GroupLost { group });
        } else {
            kit.say(worker, &Control::Bye);
            kit.end(worker);
        }
        assert_eq!(behind(&kit), 0, "what has arrived is taken back");
    }
}

#[test]
fn what_the_engine_cannot_keep_is_refused_by_name() {
    let mut kit = shared();
    for (line, says) in [
        (
            "PRODUCER topic=jobs producer=p session=s",
            "ERROR bad_option producer: the engine that keeps jobs cannot do that: ",
        ),
        (
            "CONSUMER topic=jobs group=g share=one",
            "ERROR bad_option share: the engine that keeps jobs cannot do that: ",
        ),
        (
            "CONSUMER topic=*",
            "ERROR bad_option topic: the engine that keeps * cannot do that: ",
        ),
        ("CONSUMER topic=jobs from=first", NO_HISTORY),
        ("CONSUMER topic=jobs from=last", NO_HISTORY),
        ("CONSUMER topic=jobs from=1", NO_HISTORY),
        ("CONSUMER topic=jobs from=@1", NO_HISTORY),
    ] {
        let conn = kit.connect(line);
        let told = kit.told(conn);
        assert!(told[0].starts_with(says), "{line}: {told:?}");
    }
}

const NO_HISTORY: &str =
    "ERROR no_history from: the engine that keeps the topic jobs has no history";

/// What the store was asked about the group of a new consumer, in order.
fn asked(kit: &mut Kit, line: &str) -> Vec<String> {
    kit.asked.clear();
    kit.connect(line);
    let asked = std::mem::take(&mut kit.asked).into_iter();
    let asked = asked.map(|it| match it {
        Request::OpenGroup { from, .. } => format!("open {from:?}"),
        Request::SaveGroup { group, .. } => format!("save {group}"),
        other => format!("{other:?}"),
    });
    asked.collect()
}

/// What `SaveGroup` makes begins at what is new, so the store is asked to open the group before.
#[test]
fn where_a_new_group_begins_is_for_an_engine_with_a_history_to_find() {
    let mut kit = shared_by(Storage::Kafka);
    for (group, from, begins) in [
        ("a", "new", OpenFrom::New),
        ("b", "first", OpenFrom::First),
        ("c", "last", OpenFrom::Last),
        ("d", "@1500", OpenFrom::Time(1500)),
    ] {
        let line = format!("CONSUMER topic=jobs group={group} ack=1 from={from}");
        let expected = [format!("open {begins:?}"), format!("save {group}")];
        assert_eq!(asked(&mut kit, &line), expected);
        // It is there, so it goes on, and is open.
        assert_eq!(asked(&mut kit, &line), [""; 0]);
    }
    let own = asked(&mut kit, "CONSUMER topic=jobs from=first");
    assert_eq!(own, ["open First"]);
}

#[test]
fn a_group_that_is_there_goes_on_where_it_is() {
    let mut kit = shared_by(Storage::Kafka);
    // It is declared: it was made when the topic was.
    let declared = asked(&mut kit, &format!("{WORKER} from=first"));
    assert_eq!(declared, ["open New"]);
    let line = "CONSUMER topic=jobs group=late ack=1 from=first";
    let late = kit.connect(line);
    kit.say(late, &Control::Bye);
    kit.end(late);
    assert_eq!(asked(&mut kit, line), ["open New"]);
}

#[test]
fn a_sequence_means_nothing_to_an_engine_that_is_shared() {
    let mut kit = shared_by(Storage::Kafka);
    for line in [
        "CONSUMER topic=jobs from=1",
        "CONSUMER topic=jobs group=g ack=1 from=7",
    ] {
        let conn = kit.connect(line);
        assert_eq!(
            kit.told(conn),
            [
                "ERROR no_history from: a sequence of the topic jobs means nothing to the engine that keeps it; \
                 allowed: new, first, last, @ and a time",
                "closed: no_history"
            ],
        );
        assert_eq!(kit.asked, []);
    }
}
