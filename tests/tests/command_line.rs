//! The clients of the command line, on the real binary: exit codes, counts, and what is said.

use message_queue_tests::frames::{frames, read_message, read_messages};
use message_queue_tests::process::{Broker, assert_ended, command, run};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::process::{Child, Command, Output, Stdio};

/// A client of `broker` with these arguments, to be spawned.
fn client(broker: &Broker, args: &[&str]) -> Command {
    let mut client = command(args);
    client.args(["--addr", &broker.tcp().to_string()]);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    client
}

fn start(mut client: Command) -> Child {
    client.spawn().expect("the binary starts")
}

/// Runs it to its end with this input.
fn feed(mut client: Command, input: &[u8]) -> Output {
    let mut child = client.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A client that ends before it has read all of it says so by its exit code.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(status.expect("kill runs").success());
}

/// Waits until so many consumers are registered.
fn await_consumers(broker: &Broker, count: usize) {
    broker.wait_for_metric("message_queue_consumers", count as f64);
}

/// Publishes messages, and waits until the broker has read them.
fn publish<M: AsRef<[u8]>>(broker: &Broker, messages: impl IntoIterator<Item = M>) {
    let mut producer = broker.producer();
    producer
        .write_all(&frames(messages))
        .expect("the broker reads");
    producer.shutdown(Shutdown::Write).expect("an orderly end");
    assert_eq!(broker.wait_for_close(&producer), "peer_closed");
}

#[test]
fn a_consumer_without_a_place_fails_and_says_what_it_may_be() {
    let broker = Broker::start(&[("MAX_CONSUMERS", "1")]);
    let _taken = broker.consumer();
    let output = client(&broker, &["consume"]).output().expect("it ends");
    assert_ended(&output, 1, "MAX_CONNECTIONS, MAX_CONSUMERS");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("start it again"));
}

#[test]
fn a_count_is_taken_and_the_rest_is_left_unless_it_may_be_discarded() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let ten: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let consume = |count: &str, flags: &[&str]| {
        let args = [&["consume", "--count", count], flags].concat();
        let output = client(&broker, &args).output().expect("it ends");
        await_consumers(&broker, 0);
        let lines = String::from_utf8(output.stdout.clone()).expect("text");
        (output, lines)
    };
    publish(&broker, &ten);
    for (count, wanted) in [("3", &ten[..3]), ("7", &ten[3..])] {
        let (output, lines) = consume(count, &[]);
        assert_ended(&output, 0, &format!("consumed {count} messages"));
        assert!(lines.lines().eq(wanted), "{lines}");
    }
    publish(&broker, &ten);
    let (output, lines) = consume("3", &["--discard-rest"]);
    assert_ended(&output, 0, "discarded 7 messages");
    assert!(lines.lines().eq(&ten[..3]), "{lines}");
}

#[test]
fn a_consumer_whose_broker_is_killed_has_failed() {
    let broker = Broker::start(&[]);
    let consumer = start(client(&broker, &["consume", "--count", "10"]));
    await_consumers(&broker, 1);
    publish(&broker, ["a", "b", "c"]);
    while broker.metric("message_queue_delivered_messages_total", "") < 3.0 {}
    broker.signal("KILL");
    let output = consumer.wait_with_output().expect("it ends");
    assert_ended(&output, 1, "3 of 10 messages had been written");
}

#[test]
fn a_signal_ends_a_consumer_that_loses_nothing_with_130_or_143() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
        let mut consumer = start(client(&broker, &["consume"]));
        await_consumers(&broker, 1);
        publish(&broker, ["a"]);
        let mut line = [0; 2];
        let stdout = consumer.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut line).expect("a message");
        signal(&consumer, name);
        let output = consumer.wait_with_output().expect("it ends");
        assert_ended(&output, code, "consumed 1 message");
    }
}

#[test]
fn what_an_unread_pipe_did_not_take_is_said_to_be_lost() {
    const SENT: usize = 3_000;
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut consume = client(&broker, &["consume"]);
    consume.stdout(writer);
    let consumer = start(consume);
    await_consumers(&broker, 1);
    publish(&broker, vec!["x".repeat(99); SENT]);
    broker.wait_for_metric("message_queue_delivered_messages_total", SENT as f64);
    // All is delivered, so all that the pipe does not hold waits in the client.
    signal(&consumer, "TERM");
    let output = consumer.wait_with_output().expect("it ends");
    let mut taken = Vec::new();
    reader.read_to_end(&mut taken).expect("what was written");
    let written = taken.len() / 100;
    assert_eq!(taken.len() % 100, 0, "a message was cut");
    assert!(written > 0 && written < SENT, "{written}");
    assert_ended(&output, 1, &format!("consumed {written} messages"));
    let lost = format!("lost {} messages", thousands(SENT - written));
    assert_ended(&output, 1, &lost);
}

fn thousands(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[test]
fn a_consumer_whose_reader_has_gone_ends_on_a_quiet_stream() {
    let broker = Broker::start(&[]);
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut consume = client(&broker, &["consume"]);
    consume.stdout(writer);
    let consumer = start(consume);
    await_consumers(&broker, 1);
    drop(reader);
    let output = consumer.wait_with_output().expect("it ends");
    assert_ended(&output, 0, "consumed 0 messages");
    await_consumers(&broker, 0);
}

#[test]
fn a_full_disk_is_a_failure_at_once_and_what_is_lost_is_counted() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    publish(&broker, ["a", "b"]);
    let mut consume = client(&broker, &["consume"]);
    consume.stdout(full());
    let output = consume.output().expect("it ends");
    assert_ended(&output, 1, "cannot write standard output");
    assert_ended(&output, 1, "2 messages that came are lost");
}

/// A file that takes nothing.
fn full() -> File {
    File::options()
        .write(true)
        .open("/dev/full")
        .expect("a full disk")
}

#[test]
fn what_cannot_be_said_does_not_end_the_work() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    // It takes so long that it shows its progress, which it does every five seconds.
    let mut produce = client(&broker, &["produce", "--rate", "100"]);
    produce.stderr(full());
    let numbers: Vec<String> = (0..550).map(|n| n.to_string()).collect();
    let input = numbers.join("\n");
    assert_eq!(feed(produce, input.as_bytes()).status.code(), Some(0));
    let sent: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
    assert_eq!(read_messages(&mut broker.consumer(), 550), sent);

    let http = broker.http().to_string();
    let mut health = command(["health", "--addr", &http]);
    let status = health.stdout(full()).status().expect("it ends");
    assert_eq!(status.code(), Some(0));
    for args in [
        &["consume", "--addr", "localhost:1"][..],
        &["bench", "--size", "0"],
    ] {
        let status = command(args).stderr(full()).status().expect("it ends");
        assert!(matches!(status.code(), Some(1 | 2)), "{status}");
    }
}

#[test]
fn a_file_is_kept_until_there_is_a_connection_and_can_be_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.txt");
    fs::write(&path, "kept\n").expect("room");
    let output = ["consume", "--output", path.to_str().expect("UTF-8")];
    let wrong = run([&output[..], &["--addr", "localhost:1"]].concat(), &[]);
    assert_ended(&wrong, 1, "cannot connect to localhost:1");
    let text = || fs::read_to_string(&path).expect("text");
    assert_eq!(text(), "kept\n");

    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    for (flags, expected) in [(&["--append"][..], "kept\nnew\n"), (&[], "new\n")] {
        publish(&broker, ["new"]);
        let args = [&output[..], &["--count", "1"], flags].concat();
        let done = client(&broker, &args).output().expect("it ends");
        assert_ended(&done, 0, "consumed 1 message");
        assert_eq!(text(), expected);
    }
    publish(&broker, ["new"]);
    let args = ["consume", "--output", "-", "--count", "1"];
    let done = client(&broker, &args).output().expect("it ends");
    assert_eq!(done.stdout, b"new\n");
}

#[test]
fn an_interrupted_producer_says_so() {
    let broker = Broker::start(&[]);
    let mut consumer = broker.consumer();
    let produce = client(
        &broker,
        &["produce", "-m", "x", "--repeat", "0", "--rate", "0.5"],
    );
    let producer = start(produce);
    assert_eq!(read_message(&mut consumer).as_deref(), Some(&b"x"[..]));
    signal(&producer, "INT");
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 130, "was not sent to its end");
}

#[test]
fn literals_are_messages() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let args = ["produce", "-m", "hello", "--message", "", "-m", "-x"];
    let output = client(&broker, &args).output().expect("it ends");
    assert_ended(&output, 0, "produced 3 messages");
    let expected = [&b"hello"[..], b"", b"-x"];
    assert_eq!(read_messages(&mut broker.consumer(), 3), expected);
}

#[test]
fn a_producer_that_was_refused_sends_nothing_until_there_is_a_place() {
    let broker = Broker::start(&[("MAX_CONNECTIONS", "1"), ("DELIVERY_MODE", "queue")]);
    let taken = broker.connect_with(b"PRODUCER\n");
    let mut produce = client(&broker, &["produce", "--retry"]);
    produce.stdin(Stdio::piped());
    let mut producer = start(produce);
    let mut input = producer.stdin.take().expect("it is piped");
    input.write_all(b"1\n2\n3\n4\n5\n").expect("it reads");
    drop(input);
    broker.wait_for_log(|line| line["reason"] == "too_many_connections");
    drop(taken);
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 0, "produced 5 messages");
    assert_ended(&output, 0, "MAX_CONNECTIONS, MAX_CONSUMERS");
    let expected = ["1", "2", "3", "4", "5"].map(str::as_bytes);
    assert_eq!(read_messages(&mut broker.consumer(), 5), expected);
}

#[test]
fn a_producer_that_lost_its_broker_says_how_many_messages_may_be_missing() {
    let first = Broker::start(&[]);
    let mut consumer = first.consumer();
    let port = first.tcp().port().to_string();
    let mut produce = client(&first, &["produce", "--retry"]);
    produce.stdin(Stdio::piped());
    let mut producer = start(produce);
    let mut input = producer.stdin.take().expect("it is piped");
    input.write_all(b"a\nb\n").expect("it reads");
    read_messages(&mut consumer, 2);
    first.signal("KILL");
    first.wait();
    let second = Broker::start(&[("TCP_PORT", &port)]);
    let mut consumer = second.consumer();
    input.write_all(b"c\n").expect("it reads");
    assert_eq!(read_messages(&mut consumer, 1), [b"c"]);
    drop(input);
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 1, "up to 2 messages of these may be missing");
}

#[test]
fn a_script_for_each_shell_names_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(["completions", shell], &[]);
        assert_ended(&output, 0, "");
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(
            script.contains("consume") && script.contains("discard-rest"),
            "{script}"
        );
    }
}
