//! `topics`, `groups` and `dead-letters`, on the real binary.

use message_queue_tests::process::{Broker, assert_ended, command, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Output;

const FAILED: u8 = 3;
const REJECTED: u8 = 4;

/// A command that asks the broker over HTTP.
fn ask(broker: &Broker, args: &[&str]) -> Output {
    run(
        [args, &["--addr", &broker.http().to_string()]].concat(),
        &[],
    )
}

/// A client of the broker.
fn client(broker: &Broker, args: &[&str]) -> Output {
    run([args, &["--addr", &broker.tcp().to_string()]].concat(), &[])
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = printed(output);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A client of version 2 that has been answered OK.
fn version2(broker: &Broker, line: &str) -> TcpStream {
    let stream = broker.connect_with(line.as_bytes());
    let mut answer = String::new();
    let copy = stream.try_clone().expect("a socket");
    // No frame may be in the buffer that is dropped.
    BufReader::with_capacity(1, copy)
        .read_line(&mut answer)
        .expect("an answer");
    assert!(answer.starts_with("OK "), "{answer}");
    stream
}

fn publish(broker: &Broker, topic: &str, messages: &[&str]) {
    let mut args = vec!["produce", "--topic", topic];
    for message in messages {
        args.extend(["-m", message]);
    }
    assert_ended(&client(broker, &args), 0, "produced");
}

/// A frame SETTLE for these positions.
fn settle(outcome: u8, from: u64, to: u64) -> Vec<u8> {
    let mut body = vec![0x30, outcome, 0, 0, 0, 0];
    body.extend(from.to_be_bytes());
    body.extend(to.to_be_bytes());
    let mut frame = (0x8000_0000 | body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

/// A member of the group `workers` of the topic `jobs`, which has rejected these messages.
fn reject(broker: &Broker, messages: &[&str]) -> TcpStream {
    let line = "CONSUMER topic=jobs group=workers ack=1 client=gpu-7\n";
    let mut worker = version2(broker, line);
    publish(broker, "jobs", messages);
    let count = messages.len() as u64;
    take(&mut worker, messages.len());
    let rejected = settle(REJECTED, 1, count);
    worker.write_all(&rejected).expect("it reads");
    await_backlog(broker, "jobs.dead", "queue", count);
    worker
}

/// Reads so many messages, and whatever is said between them.
fn take(stream: &mut TcpStream, messages: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < messages {
        let mut header = [0; 4];
        stream.read_exact(&mut header).expect("a frame");
        let header = u32::from_be_bytes(header);
        let mut body = vec![0; (header & 0x7fff_ffff) as usize];
        stream.read_exact(&mut body).expect("its body");
        if header & 0x8000_0000 == 0 {
            taken.push(String::from_utf8(body).expect("text"));
        }
    }
    taken
}

/// The group of a topic, once this holds for it.
fn await_group(broker: &Broker, topic: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    const TRIES: usize = 10_000;
    let mut last = String::new();
    for _ in 0..TRIES {
        let (status, page) = broker.get(&format!("/topics/{topic}"));
        if status == 200 {
            let page: Value = serde_json::from_str(&page).expect("JSON");
            let groups = page["groups"].as_array().expect("a list");
            let found = groups.iter().find(|it| it["group"] == name);
            if let Some(group) = found.filter(|it| wanted(it)) {
                return group.clone();
            }
        }
        last = page_of(broker, topic);
    }
    panic!("{last}");
}

fn page_of(broker: &Broker, topic: &str) -> String {
    broker.get(&format!("/topics/{topic}")).1
}

/// Waits until so many messages wait for a member of the group, in memory or on the disk, and none is with one.
fn await_backlog(broker: &Broker, topic: &str, group: &str, messages: u64) {
    await_group(broker, topic, group, |it| {
        let waits = [&it["backlog"]["messages"], &it["behind"]];
        let waits: u64 = waits.into_iter().filter_map(Value::as_u64).sum();
        waits == messages && it["unsettled"]["messages"] == 0
    });
}

#[test]
fn topics_and_groups_say_what_is_held_and_who_waits_for_whom() {
    let broker = Broker::start(&[("QUEUE_CAPACITY", "4")]);
    let line = "CONSUMER topic=jobs group=workers ack=1 prefetch=3 client=gpu-7\n";
    let mut worker = version2(&broker, line);
    let mut producer = version2(&broker, "PRODUCER topic=jobs confirm=1\n");
    producer
        .write_all(&message_queue_tests::frames::frames([
            "1", "2", "3", "4", "5",
        ]))
        .expect("it reads");
    take(&mut worker, 3);
    await_group(&broker, "jobs", "workers", |it| {
        it["unsettled"]["messages"] == 3 && it["backlog"]["messages"] == 1
    });
    broker.wait_until("message_queue_topic_blocked_producers", |found| {
        found == 1.0
    });

    let output = ask(&broker, &["topics"]);
    assert_ended(&output, 0, "");
    assert_eq!(
        printed(&output),
        "TOPIC    GROUPS  RECEIVED  WAITING  DEAD  BLOCKED\n\
         default       0         0        0     0  -\n\
         jobs          1         4        4     0  1 by workers\n"
    );
    let lines = json_lines(&ask(&broker, &["topics", "--format", "json"]));
    let names: Vec<_> = lines.iter().map(|it| &it["topic"]).collect();
    assert_eq!(names, ["default", "jobs"]);
    assert_eq!(lines[1]["blocked"]["group"], "workers");

    let output = ask(&broker, &["groups", "jobs"]);
    let first = producer_number(&broker);
    assert_ended(
        &output,
        0,
        &format!("connection {first} waits for room, which workers has not"),
    );
    let text = printed(&output);
    let mut rows = text.lines();
    let heading = "GROUP    BACKLOG  UNSETTLED  DELAYED  GIVEN UP  ";
    assert!(
        rows.next().is_some_and(|row| row.starts_with(heading)),
        "{text}"
    );
    let row = rows.next().expect("a group");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells[..5], ["workers", "1", "3", "0", "0"], "{text}");
    assert_eq!(cells[6..], ["1:", "gpu-7"], "{text}");
    let lines = json_lines(&ask(&broker, &["groups", "jobs", "--format", "json"]));
    assert_eq!(lines[0]["members"][0]["client"], "gpu-7");

    let output = ask(&broker, &["groups", "jobs", "--end", "workers"]);
    assert_ended(&output, 2, "--yes is needed");
    let output = ask(&broker, &["groups", "jobs", "--end", "workers", "--yes"]);
    assert_ended(&output, 0, "group workers of topic jobs has been ended");
    let output = ask(&broker, &["groups", "jobs", "--end", "workers", "--yes"]);
    assert_ended(&output, 1, "404");
    let output = ask(&broker, &["groups", "none"]);
    assert_ended(
        &output,
        1,
        "there is no topic \"none\"; `message-queue topics` lists them",
    );
}

fn producer_number(broker: &Broker) -> u64 {
    let (_, page) = broker.get("/producers");
    let page: Value = serde_json::from_str(&page).expect("JSON");
    page[0]["id"].as_u64().expect("a number")
}

#[test]
fn dead_letters_are_shown_with_their_origin_and_stay() {
    let broker = Broker::start(&[]);
    let _worker = reject(&broker, &["resize 7.png", "{\"b\": 2}", "c"]);
    for _ in 0..2 {
        let output = client(&broker, &["dead-letters", "list", "jobs", "--count", "2"]);
        assert_ended(&output, 0, "2 of 3 messages in jobs.dead");
        let text = printed(&output);
        let rows: Vec<Vec<_>> = text
            .lines()
            .map(|it| it.split_whitespace().collect())
            .collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert_eq!(
            rows[1][..5],
            ["1", "jobs#1", "workers", "0", "rejected"],
            "{text}"
        );
        assert_eq!(rows[1][6..], ["12", "resize", "7.png"], "{text}");
        await_backlog(&broker, "jobs.dead", "queue", 3);
    }
    let output = client(
        &broker,
        &["dead-letters", "list", "jobs.dead", "--format", "json"],
    );
    assert_ended(&output, 0, "3 of 3 messages in jobs.dead");
    let lines = json_lines(&output);
    assert_eq!(lines[1]["message"]["b"], 2);
    assert_eq!(lines[1]["origin"]["sequence"], 2);
    let attempts: Vec<_> = lines.iter().map(|it| it["attempt"].as_u64()).collect();
    assert_eq!(attempts, [Some(3), Some(3), Some(1)], "as --help says");
}

#[test]
fn what_is_redriven_is_with_its_topic_again_and_nothing_is_sent_to_nobody() {
    let broker = Broker::start(&[]);
    let mut worker = reject(&broker, &["a", "b", "c"]);
    publish(&broker, "jobs.dead", &["direct"]);
    let output = client(
        &broker,
        &["dead-letters", "redrive", "jobs", "--count", "1"],
    );
    assert_ended(&output, 0, "sent back 1 message ");
    assert_eq!(take(&mut worker, 1), ["a"]);
    await_backlog(&broker, "jobs.dead", "queue", 3);
    let output = client(&broker, &["dead-letters", "redrive", "jobs"]);
    assert_ended(&output, 1, "sent back 2 messages ");
    assert_ended(&output, 1, "stay, because they have no origin (");
    assert_ended(&output, 1, "`log import` keeps origins): 1 message");
    assert_eq!(take(&mut worker, 2), ["b", "c"]);
    await_backlog(&broker, "jobs.dead", "queue", 1);
    // It fails again, and is not sent round and round.
    worker.write_all(&settle(REJECTED, 4, 6)).expect("it reads");
    await_backlog(&broker, "jobs.dead", "queue", 4);
    let ended = ask(&broker, &["groups", "jobs", "--end", "workers", "--yes"]);
    assert_ended(&ended, 0, "has been ended");
    let output = client(&broker, &["dead-letters", "redrive", "jobs"]);
    assert_ended(&output, 1, "sent back 0 messages");
    assert_ended(&output, 1, "(let a consumer join one first): 3 messages");
    await_backlog(&broker, "jobs.dead", "queue", 4);
}

#[test]
fn of_a_stored_topic_nothing_leaves_the_dead_letters_that_no_group_would_get() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path().to_str().expect("UTF-8");
    let broker = Broker::start(&[("STORAGE", "disk"), ("DATA_DIR", data)]);
    drop(reject(&broker, &["a", "b"]));
    let ended = ask(&broker, &["groups", "jobs", "--end", "workers", "--yes"]);
    assert_ended(&ended, 0, "has been ended");
    let redrive = ["dead-letters", "redrive", "jobs"];
    let output = client(&broker, &redrive);
    assert_ended(&output, 1, "sent back 0 messages");
    assert_ended(&output, 1, "(let a consumer join one first): 2 messages");
    await_backlog(&broker, "jobs.dead", "queue", 2);
    let line = "CONSUMER topic=jobs group=workers ack=1\n";
    let mut worker = version2(&broker, line);
    let output = client(&broker, &redrive);
    assert_ended(&output, 0, "sent back 2 messages ");
    assert_eq!(take(&mut worker, 2), ["a", "b"]);
    // What was sent when there was no group is kept by the topic, for who begins before it.
    let line = "CONSUMER topic=jobs from=first\n";
    let mut listener = version2(&broker, line);
    assert_eq!(take(&mut listener, 6), ["a", "b", "a", "b", "a", "b"]);
    let output = client(
        &broker,
        &["produce", "--topic", "others", "--confirm", "-m", "c"],
    );
    assert_ended(
        &output,
        0,
        "unless the topic is stored and a group begins before them",
    );
}

#[test]
fn what_the_topic_has_no_room_for_stays_a_dead_letter() {
    let broker = Broker::start(&[("QUEUE_CAPACITY", "3"), ("OVERFLOW", "reject")]);
    let mut worker = reject(&broker, &["a", "b", "c"]);
    publish(&broker, "jobs", &["x", "y"]);
    take(&mut worker, 2);
    let output = client(&broker, &["dead-letters", "redrive", "jobs"]);
    assert_ended(&output, 1, "sent back 1 message ");
    assert_ended(&output, 1, "the broker refused 2 messages: full");
    assert_eq!(take(&mut worker, 1), ["a"]);
    await_backlog(&broker, "jobs.dead", "queue", 2);
}

#[test]
fn a_purge_asks_or_is_told_and_takes_what_was_there() {
    let broker = Broker::start(&[]);
    let _worker = reject(&broker, &["a", "b", "c"]);
    let output = client(&broker, &["dead-letters", "purge", "jobs"]);
    assert_ended(&output, 2, "--yes is needed");
    await_backlog(&broker, "jobs.dead", "queue", 3);
    let output = client(
        &broker,
        &["dead-letters", "purge", "jobs", "--yes", "--count", "2"],
    );
    assert_ended(&output, 0, "purged 2 messages");
    await_backlog(&broker, "jobs.dead", "queue", 1);
    let output = client(&broker, &["dead-letters", "purge", "jobs", "--yes"]);
    assert_ended(&output, 0, "purged 1 message ");
    let output = client(&broker, &["dead-letters", "purge", "jobs", "--yes"]);
    assert_ended(&output, 0, "purged 0 messages");
    let output = client(&broker, &["dead-letters", "list", "jobs"]);
    assert_ended(&output, 0, "0 of 0 messages in jobs.dead");
}

#[test]
fn what_another_consumer_has_is_said_and_left_to_it() {
    let broker = Broker::start(&[]);
    let _worker = reject(&broker, &["a", "b", "c"]);
    let mut other = version2(&broker, "CONSUMER topic=jobs.dead ack=1 prefetch=2\n");
    assert_eq!(take(&mut other, 2), ["a", "b"]);
    let output = client(&broker, &["dead-letters", "list", "jobs"]);
    assert_ended(&output, 0, "1 of 3 messages in jobs.dead");
    assert_ended(&output, 0, "wait after a failure: 2 messages");
    other.write_all(&settle(FAILED, 1, 2)).expect("it reads");
    await_group(&broker, "jobs.dead", "queue", |it| {
        it["unsettled"]["messages"] != 2
    });
}

#[test]
fn where_there_is_no_broker_it_is_said_what_to_do() {
    for (args, says) in [
        (&["topics", "--addr", "127.0.0.1:1"][..], "cannot connect"),
        (
            &["dead-letters", "list", "t", "--addr", "127.0.0.1:1"],
            "start a broker with `message-queue serve`",
        ),
    ] {
        assert_ended(&run(args, &[]), 1, says);
    }
    for args in [
        &["dead-letters", "list", "a..b"][..],
        &["dead-letters", "list", "t", "--count", "0"],
        &["groups", "t", "--yes"],
        &["groups"],
    ] {
        let output = command(args).output().expect("it ends");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
