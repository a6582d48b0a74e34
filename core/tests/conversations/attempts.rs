//! How often a message counts as handed out when its group, of a stored topic, is taken up again.

use super::kit::Kit;
use super::{SECOND, millis, stored, told};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{ConnId, Input};

const WORKER: &str = "CONSUMER topic=jobs group=workers ack=1";
const ONE_AT_A_TIME: &str = "CONSUMER topic=jobs group=workers ack=1 prefetch=1";

/// Sends messages to `jobs`, and they are stored, each by itself.
fn send(kit: &mut Kit, messages: &[&str]) {
    let producer = kit.connect("PRODUCER topic=jobs confirm=1");
    for message in messages {
        kit.send(producer, &[message]);
        kit.store_all("jobs");
    }
}

/// A consumer leaves in an orderly way: nothing that it holds has failed.
fn leave(kit: &mut Kit, conn: ConnId) {
    kit.say(conn, &Control::Bye);
    kit.input(conn, Input::PeerClosed);
}

/// The sequences and attempts of the runs that somebody takes up who joins the group.
fn taken_up(kit: &mut Kit) -> (ConnId, Vec<String>) {
    let worker = kit.connect(WORKER);
    kit.store_all("jobs");
    let runs = runs(kit, worker);
    (worker, runs)
}

/// The sequences and attempts of the runs that somebody was told of.
fn runs(kit: &mut Kit, conn: ConnId) -> Vec<String> {
    let told = told(kit, conn);
    let runs = told.iter().filter_map(|it| it.strip_prefix("RUN "));
    let attempts = runs.map(|it| it.split(" @").next().expect("a run").to_owned());
    attempts.collect()
}

#[test]
fn what_was_not_written_before_its_consumer_went_was_not_handed_out() {
    let mut kit = stored(|_| {});
    let worker = kit.connect(WORKER);
    send(&mut kit, &["a"]);
    kit.stop_reading(worker);
    send(&mut kit, &["b"]);
    kit.input(worker, Input::PeerReset);
    kit.pass(SECOND);
    // Both left the memory when nobody was there for them.
    assert_eq!(taken_up(&mut kit).1, ["1 #2", "2 #1"]);
}

#[test]
fn what_was_not_written_was_not_handed_out_though_what_is_behind_it_was() {
    let mut kit = stored(|_| {});
    let stuck = kit.connect(ONE_AT_A_TIME);
    let other = kit.connect(ONE_AT_A_TIME);
    kit.stop_reading(stuck);
    send(&mut kit, &["a", "b", "c"]);
    assert_eq!(runs(&mut kit, other), ["2 #1"]);
    // The first message waits for another again, before the one that another has.
    kit.input(stuck, Input::PeerReset);
    leave(&mut kit, other);
    assert_eq!(kit.broker.held_bytes(), 0, "nobody is there");
    let (worker, runs) = taken_up(&mut kit);
    assert_eq!(runs, ["1 #1", "2 #2", "3 #1"]);
    // Now all of them were handed out.
    leave(&mut kit, worker);
    assert_eq!(taken_up(&mut kit).1, ["1 #2", "2 #3", "3 #2"]);
}

#[test]
fn it_is_known_how_often_each_was_handed_out_though_the_group_had_no_members_in_between() {
    let mut kit = stored(|_| {});
    let worker = kit.connect(WORKER);
    send(&mut kit, &["a", "b", "c", "d"]);
    for again in 1..=3 {
        let position = if again == 1 { 2 } else { again + 3 };
        kit.settle(worker, Outcome::Return, position, position);
    }
    kit.settle(worker, Outcome::Done, 3, 3);
    leave(&mut kit, worker);
    let (worker, runs) = taken_up(&mut kit);
    assert_eq!(runs, ["1 #2", "2 #5", "4 #2"]);
    leave(&mut kit, worker);
    assert_eq!(taken_up(&mut kit).1, ["1 #3", "2 #6", "4 #3"]);
}

#[test]
fn who_leaves_before_it_has_had_all_is_no_reason_to_forget_the_rest() {
    let mut kit = stored(|_| {});
    let worker = kit.connect(WORKER);
    // The first read of who is behind brings one of them.
    let large = "x".repeat(30 << 10);
    send(&mut kit, &[&large, &large, &large]);
    kit.settle(worker, Outcome::Return, 3, 3);
    leave(&mut kit, worker);
    let one = kit.connect(ONE_AT_A_TIME);
    kit.store("jobs", |it| it.fetch(0));
    assert_eq!(runs(&mut kit, one), ["1 #2"]);
    leave(&mut kit, one);
    assert_eq!(taken_up(&mut kit).1, ["1 #3", "2 #2", "3 #3"]);
}

#[test]
fn what_has_failed_counts_as_handed_out_more_often_than_that() {
    let mut kit = stored(|_| {});
    let worker = kit.connect(WORKER);
    send(&mut kit, &["a"]);
    kit.settle(worker, Outcome::Return, 1, 1);
    kit.settle(worker, Outcome::Failed, 2, 2);
    leave(&mut kit, worker);
    let (worker, at_once) = taken_up(&mut kit);
    assert!(at_once.is_empty(), "its time has not come");
    kit.pass(millis(10));
    assert_eq!(runs(&mut kit, worker), ["1 #3"]);
}

#[test]
fn what_does_not_come_again_is_forgotten() {
    let mut kit = stored(|_| {});
    let worker = kit.connect(WORKER);
    send(&mut kit, &["a", "b", "c"]);
    leave(&mut kit, worker);
    kit.store("jobs", |it| Some(it.trim(3)));
    let (worker, runs) = taken_up(&mut kit);
    assert_eq!(runs, ["3 #2"]);
    kit.settle(worker, Outcome::Done, 1, 1);
    leave(&mut kit, worker);
    send(&mut kit, &["d"]);
    assert_eq!(taken_up(&mut kit).1, ["4 #1"]);
}
