//! `produce` with confirms and `consume` with acknowledgements, on the real binary.

use message_queue_tests::frames::read_messages;
use message_queue_tests::process::{Broker, assert_ended, command, send_signal};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

/// A client of `broker` with these arguments, to be spawned.
fn client(broker: &Broker, args: &[&str]) -> Command {
    let mut client = command(args);
    client.args(["--addr", &broker.tcp().to_string()]);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    client
}

fn ended(broker: &Broker, args: &[&str]) -> Output {
    client(broker, args).output().expect("it ends")
}

/// A consumer that the broker has registered.
fn consumer(broker: &Broker, args: &[&str], others: u32) -> Child {
    let child = client(broker, args).spawn().expect("the binary starts");
    broker.wait_for_metric("message_queue_consumers", f64::from(others + 1));
    child
}

/// Publishes these lines with these flags; they are confirmed.
#[track_caller]
fn publish(broker: &Broker, flags: &[&str], lines: &[String]) -> Output {
    let mut produce = client(broker, &[&["produce"], flags].concat());
    let mut child = produce.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = lines.join("\n");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_ended(&output, 0, "produced ");
    output
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|it| it.to_string()).collect()
}

#[track_caller]
fn assert_printed(output: &Output, expected: &[String]) {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    assert!(text.lines().eq(expected), "{text}");
}

#[test]
fn a_count_of_many_that_wait_leaves_the_rest_to_others() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let all = lines(999);
    publish(&broker, &["--confirm"], &all);
    let output = ended(&broker, &["consume", "--count", "10"]);
    assert_ended(&output, 0, "consumed 10 messages");
    assert_printed(&output, &all[..10]);
    let rest: Vec<&[u8]> = all[10..].iter().map(String::as_bytes).collect();
    assert_eq!(read_messages(&mut broker.consumer(), 989), rest);
}

#[test]
fn a_count_above_the_prefetch_is_taken_to_the_message() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let all = lines(50);
    publish(&broker, &["--confirm"], &all);
    let output = ended(&broker, &["consume", "--count", "33", "--prefetch", "10"]);
    assert_ended(&output, 0, "consumed 33 messages");
    assert_printed(&output, &all[..33]);
    let output = ended(
        &broker,
        &["consume", "--count", "17", "--format", "json", "--meta"],
    );
    assert_ended(&output, 0, "consumed 17 messages");
    for line in output.stdout.lines() {
        let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        assert_eq!(line["attempt"], 1, "it had been handed out: {line}");
    }
}

#[test]
fn under_a_name_what_the_broker_has_is_not_sent_again() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let all = lines(5);
    let flags = ["--name", "import"];
    publish(&broker, &flags, &all[..2]);
    let output = publish(&broker, &flags, &all);
    assert_ended(
        &output,
        0,
        "the broker had 2 messages of these under the name import",
    );
    let other = publish(&broker, &["--name", "other"], &all[..1]);
    assert!(!String::from_utf8_lossy(&other.stderr).contains("already"));
    let expected: Vec<&[u8]> = [&all[..], &all[..1]]
        .concat()
        .leak()
        .iter()
        .map(String::as_bytes)
        .collect();
    assert_eq!(read_messages(&mut broker.consumer(), 6), expected);
}

#[test]
fn with_retry_a_connection_that_an_operator_ends_costs_and_doubles_nothing() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let mut produce = client(&broker, &["produce", "--name", "p", "--retry"]);
    let mut producer = produce.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = producer.stdin.take().expect("it is piped");
    for (round, line) in ["a\n", "b\n", "c\n"].into_iter().enumerate() {
        input.write_all(line.as_bytes()).expect("it reads");
        let received = (round + 1) as f64;
        broker.wait_for_metric("message_queue_received_messages_total", received);
        let (_, page) = broker.get("/producers");
        let page: Value = serde_json::from_str(&page).expect("JSON");
        let conn = page[0]["id"].as_u64().expect("an id");
        let (status, body) = broker.request("DELETE", &format!("/connections/{conn}"));
        assert_eq!(status, 200, "{body}");
        let registered = received + 1.0;
        broker.wait_for_metric("message_queue_producers_registered_total", registered);
    }
    drop(input);
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 0, "produced 3 messages");
    assert_ended(&output, 0, "trying again in");
    let expected = ["a", "b", "c"].map(str::as_bytes);
    assert_eq!(read_messages(&mut broker.consumer(), 3), expected);
    assert_eq!(broker.metric("message_queue_waiting_messages", ""), 0.0);
}

#[test]
fn a_producer_whose_broker_is_killed_says_what_is_not_confirmed() {
    let broker = Broker::start(&[]);
    let mut produce = client(&broker, &["produce", "--confirm"]);
    let mut producer = produce.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = producer.stdin.take().expect("it is piped");
    input.write_all(b"a\nb\n").expect("it reads");
    broker.wait_for_metric("message_queue_received_messages_total", 2.0);
    broker.signal("KILL");
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 1, "were sent and may be missing; --retry");
}

#[test]
fn a_message_that_nobody_will_get_is_safe_and_said() {
    let broker = Broker::start(&[]);
    let output = publish(&broker, &["--topic", "t"], &lines(3));
    assert_ended(&output, 0, "3 messages of these found no consumer");
}

#[test]
fn a_group_shares_a_topic_and_each_line_can_say_where_it_is_from() {
    let broker = Broker::start(&[]);
    let args = ["consume", "--topic", "t", "--group", "g", "--count", "2"];
    let args = [&args[..], &["--format", "json", "--meta"]].concat();
    let first = consumer(&broker, &args, 0);
    publish(&broker, &["--topic", "other"], &lines(1));
    publish(&broker, &["--topic", "t"], &lines(4));
    let first = first.wait_with_output().expect("it ends");
    assert_ended(&first, 0, "consumed 2 messages");
    // What is left waits for the group.
    let second = ended(&broker, &args);
    let mut sequence = 0;
    for line in first.stdout.lines().chain(second.stdout.lines()) {
        let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        sequence += 1;
        assert_eq!(
            (&line["topic"], &line["sequence"]),
            (&"t".into(), &sequence.into())
        );
        assert_eq!(
            (&line["message"], &line["attempt"]),
            (&(sequence - 1).into(), &1.into())
        );
        let time = line["time"].as_str().expect("a date");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    assert_eq!(sequence, 4);
}

#[test]
fn of_those_who_share_as_one_the_next_goes_on_when_the_first_has_left() {
    let broker = Broker::start(&[]);
    let args = ["consume", "--topic", "t", "--group", "g", "--share", "one"];
    let mut first = consumer(&broker, &args, 0);
    let mut second = consumer(&broker, &args, 1);
    let read = |child: &mut Child, count: usize| -> Vec<String> {
        let mut output = BufReader::with_capacity(1, child.stdout.as_mut().expect("piped"));
        let mut line = || {
            let mut text = String::new();
            output.read_line(&mut text).expect("a line");
            text.trim_end().to_owned()
        };
        (0..count).map(|_| line()).collect()
    };
    let all = lines(20);
    publish(&broker, &["--topic", "t"], &all[..10]);
    assert_eq!(read(&mut first, 10), all[..10]);
    send_signal(first.id(), "TERM");
    assert_ended(
        &first.wait_with_output().expect("it ends"),
        143,
        "consumed 10",
    );
    publish(&broker, &["--topic", "t"], &all[10..]);
    assert_eq!(read(&mut second, 10), all[10..]);
    send_signal(second.id(), "INT");
    let output = second.wait_with_output().expect("it ends");
    assert_ended(&output, 130, "consumed 10 messages");
}

#[test]
fn what_an_unread_pipe_did_not_take_goes_back() {
    const SENT: usize = 3_000;
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut consume = client(&broker, &["consume", "--ack"]);
    consume.stdout(writer);
    let child = consume.spawn().expect("it starts");
    // The command holds its end of the pipe, too.
    drop(consume);
    broker.wait_for_metric("message_queue_consumers", 1.0);
    let all: Vec<String> = (0..SENT).map(|it| format!("{it:099}")).collect();
    publish(&broker, &["--confirm"], &all);
    // The pipe is full when it takes no more for a while; whatever it has taken by then, nothing is lost.
    send_signal(child.id(), "TERM");
    let output = child.wait_with_output().expect("it ends");
    let mut taken = String::new();
    reader.read_to_string(&mut taken).expect("what was written");
    let written: Vec<&str> = taken.lines().collect();
    assert!(written.len() < SENT, "a pipe that holds all");
    assert_ended(&output, 143, "consumed ");
    let rest = read_messages(&mut broker.consumer(), SENT - written.len());
    let rest = rest.iter().map(|it| str::from_utf8(it).expect("text"));
    let mut together: Vec<&str> = written.into_iter().chain(rest).collect();
    together.sort_unstable();
    assert!(together.iter().eq(&all), "each message once");
}

#[test]
fn what_is_not_allowed_is_said_with_2() {
    let broker = Broker::start(&[]);
    for (args, says) in [
        (&["produce", "--topic", "a.*", "-m", "x"][..], "--topic"),
        (&["produce", "--name", "a b", "-m", "x"], "--name"),
        (&["consume", "--prefetch", "0"], "1..=1000000"),
        (&["consume", "--from", "tomorrow"], "--from"),
        (&["consume", "--share", "two"], "all, one"),
        (
            &["consume", "--ack", "--meta"],
            "--meta needs --format json",
        ),
        (
            &["consume", "--discard-rest", "--topic", "t"],
            "--discard-rest",
        ),
        (
            &["consume", "--discard-rest", "--until-empty"],
            "--until-empty",
        ),
    ] {
        assert_ended(&ended(&broker, args), 2, says);
    }
    let output = ended(&broker, &["consume", "--from", "5"]);
    assert_ended(
        &output,
        1,
        "no_history: from: the topic default keeps nothing",
    );
}
