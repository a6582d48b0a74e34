//! Messages move from one engine to the next through a client, as OPERATIONS.md, "Moving", says.

use crate::engine::{ENGINES, Running};
use message_queue_tests::process::command;
use std::process::{Command, Stdio};

fn client(broker: &Running, args: &[&str]) -> Command {
    let mut client = command(args);
    client.args(["--addr", &broker.addr().to_string(), "--topic", "jobs"]);
    client
}

/// Pipes all that a consumer gets into a producer with a name.
fn pipe(from: &Running, what: &[&str], to: &Running) {
    let mut consume = client(from, &[&["consume", "--count", "50"], what].concat());
    let mut consume = consume.stdout(Stdio::piped()).spawn().expect("it starts");
    let output = consume.stdout.take().expect("it is piped");
    let mut produce = client(to, &["produce", "--name", "move-jobs"]);
    let produce = produce.stdin(output).output().expect("it ends");
    let says = String::from_utf8_lossy(&produce.stderr);
    assert!(produce.status.success(), "{says}");
    assert!(consume.wait().expect("it ends").success());
}

#[test]
fn messages_move_from_one_engine_to_the_next() {
    let places: Vec<_> = ENGINES
        .iter()
        .filter(|it| it.is_in_the_binary())
        .map(|it| it.place())
        .collect();
    let mut brokers = places.iter().map(|it| it.start());
    let mut from = brokers.next().expect("memory");
    from.consumer("topic=jobs group=work").leave();
    from.publish("jobs", 0, 50);
    let mut what = &["--group", "work"][..];
    for to in brokers {
        pipe(&from, what, &to);
        let mut consumer = to.consumer("topic=jobs group=look from=first");
        assert!((0..50).all(|it| consumer.work().text == it.to_string()));
        (from, what) = (to, &["--from", "first"]);
    }
}
