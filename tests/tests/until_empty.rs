//! `consume --until-empty`, on the real binary: it takes what there is for a group, and ends.

use message_queue_core::wire::control::{Control, Link, Outcome, Range};
use message_queue_tests::conversation::{Client, Told};
use message_queue_tests::process::{Broker, assert_ended, command, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

/// A consumer of the topic `jobs` that ends when nothing is left, to be spawned.
fn consume(broker: &Broker, more: &[&str]) -> Command {
    let mut consume = command(["consume", "--topic", "jobs", "--until-empty"]);
    consume.args(["--addr", &broker.tcp().to_string()]);
    consume.args(more);
    consume.stdout(Stdio::piped()).stderr(Stdio::piped());
    consume
}

/// What one does as a member of the group `work`, and with these options.
fn consumed(broker: &Broker, more: &[&str]) -> Output {
    let group = [&["--group", "work"], more].concat();
    consume(broker, &group).output().expect("it ends")
}

/// A member of the group `work` that is there.
fn member(broker: &Broker) -> Client {
    let line = "CONSUMER topic=jobs group=work ack=1 heartbeat=0\n";
    let mut member = Client::connect(broker.tcp(), Link::ToConsumer, line);
    let answer = member.next();
    assert!(
        matches!(&answer, Told::Line(line) if line.starts_with("OK ")),
        "{answer:?}"
    );
    member
}

/// Publishes so many messages to `jobs`, numbers from 0 on; they are confirmed.
fn publish(broker: &Broker, count: u64) {
    let line = "PRODUCER topic=jobs confirm=1 heartbeat=0\n";
    let mut producer = Client::connect(broker.tcp(), Link::ToProducer, line);
    producer.publish((0..count).map(|it| it.to_string()));
    producer.until(|told| {
        matches!(told, Told::Control(Control::Confirmed { position, .. }) if *position == count)
    });
}

/// So many messages wait for the group `work`, and nobody is there.
fn waiting(broker: &Broker, count: u64) {
    drop(member(broker));
    publish(broker, count);
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let text = str::from_utf8(bytes).expect("text");
    let lines = text.lines().map(|it| it.parse().expect("a number"));
    lines.collect()
}

/// The standard error of a command, read as it comes.
struct Says {
    child: Child,
    err: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Says {
    fn of(mut consume: Command) -> Self {
        let mut child = consume.spawn().expect("it starts");
        let err = BufReader::new(child.stderr.take().expect("it is piped"));
        Self {
            child,
            err,
            said: String::new(),
        }
    }

    /// Waits for it to say this.
    fn wait_for(&mut self, part: &str) {
        while !self.said.contains(part) {
            let bytes = self.err.read_line(&mut self.said).expect("text");
            assert!(bytes > 0, "it ends without {part:?}:\n{}", self.said);
        }
    }

    /// Waits for its end, which is a good one. Returns what it has printed, and the rest of what it says.
    fn ended(mut self) -> (Vec<u64>, String) {
        self.err.read_to_string(&mut self.said).expect("text");
        let output = self.child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", self.said);
        (numbers(&output.stdout), self.said)
    }
}

#[test]
fn all_that_waits_is_taken_and_that_is_the_end() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path().join("data");
    let data = data.to_str().expect("UTF-8");
    for settings in [&[][..], &[("STORAGE", "disk"), ("DATA_DIR", data)]] {
        let broker = Broker::start(settings);
        waiting(&broker, 1_000);
        // More than what is held at a time, and what a group has no room for in memory.
        let output = consumed(&broker, &["--prefetch", "7"]);
        assert_ended(&output, 0, "consumed 1,000 messages");
        assert!(numbers(&output.stdout).into_iter().eq(0..1_000));
        // It is all done.
        let output = consumed(&broker, &[]);
        assert_ended(&output, 0, "consumed 0 messages");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!err.contains("is new"), "{err}");
    }
}

#[test]
fn a_group_that_is_new_has_nothing_and_that_is_said() {
    let broker = Broker::start(&[]);
    waiting(&broker, 3);
    let output = consume(&broker, &["--group", "wrok"]).output();
    let output = output.expect("it ends");
    assert_ended(&output, 0, "consumed 0 messages");
    assert_ended(&output, 0, "the group wrok was not there: it is new");
}

#[test]
fn a_stored_topic_is_read_from_any_place_to_its_end() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let broker = Broker::start(&[("STORAGE", "disk"), ("DATA_DIR", data)]);
    publish(&broker, 1_000);
    for (from, count) in [("first", "1,000"), ("@0", "1,000"), ("991", "10")] {
        let output = consume(&broker, &["--from", from]).output();
        let says = format!("consumed {count} messages");
        assert_ended(&output.expect("it ends"), 0, &says);
    }
}

#[test]
fn two_that_share_take_each_message_once_and_both_end() {
    let broker = Broker::start(&[]);
    waiting(&broker, 1_000);
    let group = ["--group", "work", "--prefetch", "10"];
    let two = [(); 2].map(|()| consume(&broker, &group).spawn().expect("it starts"));
    let mut all = Vec::new();
    for child in two {
        let output = child.wait_with_output().expect("it ends");
        assert_ended(&output, 0, "consumed ");
        all.extend(numbers(&output.stdout));
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1_000));
}

#[test]
fn what_another_member_holds_is_waited_for() {
    let broker = Broker::start(&[]);
    let mut holder = member(&broker);
    publish(&broker, 3);
    holder.until(|told| matches!(told, Told::Message { sequence: 3, .. }));
    let mut says = Says::of(consume(&broker, &["--group", "work"]));
    says.wait_for("waiting for 3 messages of the group: other members hold them");
    // One is done, and two come back.
    holder.settle(Outcome::Done, 1, 1);
    holder.say(&Control::Bye);
    holder.until(|told| *told == Told::End);
    let (printed, said) = says.ended();
    assert_eq!(printed, [1, 2]);
    assert!(said.contains("consumed 2 messages"), "{said}");
}

#[test]
fn what_is_done_elsewhere_is_an_end_too() {
    let broker = Broker::start(&[]);
    let mut holder = member(&broker);
    publish(&broker, 1);
    holder.until(|told| matches!(told, Told::Message { .. }));
    let mut says = Says::of(consume(&broker, &["--group", "work"]));
    says.wait_for("waiting for 1 message of the group");
    holder.settle(Outcome::Done, 1, 1);
    assert!(says.ended().0.is_empty());
}

#[test]
fn what_waits_for_a_delay_is_waited_for() {
    let broker = Broker::start(&[]);
    let mut worker = member(&broker);
    publish(&broker, 2);
    worker.until(|told| matches!(told, Told::Message { sequence: 2, .. }));
    for (outcome, position) in [(Outcome::Failed, 1), (Outcome::Return, 2)] {
        worker.say(&Control::Settle {
            outcome,
            delay_ms: 300,
            ranges: vec![Range {
                from: position,
                to: position,
            }],
        });
    }
    worker.say(&Control::Bye);
    worker.until(|told| *told == Told::End);
    let output = consumed(&broker, &[]);
    assert_ended(&output, 0, "consumed 2 messages");
}

#[test]
fn the_count_or_the_end_whichever_comes_first() {
    let broker = Broker::start(&[]);
    waiting(&broker, 5);
    for (count, takes) in [("2", "2"), ("100", "3")] {
        let output = consumed(&broker, &["--count", count]);
        assert_ended(&output, 0, &format!("consumed {takes} messages"));
    }
}

#[test]
fn with_retry_it_asks_again_on_the_next_connection() {
    let broker = Broker::start(&[]);
    let mut holder = member(&broker);
    publish(&broker, 1);
    holder.until(|told| matches!(told, Told::Message { .. }));
    let mut says = Says::of(consume(&broker, &["--group", "work", "--retry"]));
    says.wait_for("waiting for 1 message of the group");
    let (_, page) = broker.get("/consumers");
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let ids = page.as_array().expect("two").iter();
    let id = ids
        .filter_map(|it| it["id"].as_u64())
        .max()
        .expect("a number");
    let (status, body) = broker.request("DELETE", &format!("/connections/{id}"));
    assert_eq!(status, 200, "{body}");
    says.wait_for("trying again in");
    holder.say(&Control::Bye);
    assert_eq!(says.ended().0, [0]);
}

#[test]
fn what_waits_moves_to_another_broker_as_an_export() {
    let old = Broker::start(&[]);
    waiting(&old, 1_000);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jobs.mq");
    let file = file.to_str().expect("UTF-8");
    let export = ["--format", "export", "--output", file];
    assert_ended(&consumed(&old, &export), 0, "consumed 1,000 messages");
    let new = Broker::start(&[]);
    // It makes the group, so that what is published comes to it.
    let output = consumed(&new, &[]);
    assert_ended(&output, 0, "the group work was not there: it is new");
    let addr = new.tcp().to_string();
    let produce = ["produce", "--topic", "jobs", "--name", "move-jobs"];
    let args = [&produce[..], &["--format", "export", file, "--addr", &addr]].concat();
    assert_ended(&run(args, &[]), 0, "produced 1,000 messages");
    let output = consumed(&new, &[]);
    assert_ended(&output, 0, "consumed 1,000 messages");
    assert!(numbers(&output.stdout).into_iter().eq(0..1_000));
}
