//! Every row of the run book on what may happen to the disk of a broker that serves.

use crate::run_book::in_segments;
use crate::world::{
    consume, folder, lines, produce, publish, start, start_with, stop, text, wait_until_ready,
};
use message_queue_core::wire::control::{Control, Link};
use message_queue_tests::conversation::{Client, Told};
use message_queue_tests::process::{Broker, assert_ended};
use message_queue_tests::run_book::{Row, check_each, table};
use message_queue_tests::shim;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A disk that hangs or fails when it is told to.
struct Faults {
    folder: tempfile::TempDir,
    shim: PathBuf,
}

impl Faults {
    fn new() -> Self {
        let folder = folder();
        let shim = shim::build("tests/storage/faults.c", folder.path());
        Self { folder, shim }
    }

    fn broker(&self, data: &Path, settings: &[(&str, &str)]) -> Broker {
        let faults = [
            ("LD_PRELOAD", text(&self.shim)),
            ("FAULT_FOLDER", text(self.folder.path())),
        ];
        start_with(data, &[&faults[..], settings].concat())
    }

    /// From now on all syncs hang, or fail.
    fn begin(&self, fault: &str) {
        fs::write(self.folder.path().join(fault), "").expect("it can be written");
    }

    fn end(&self, fault: &str) {
        fs::remove_file(self.folder.path().join(fault)).expect("it is there");
    }
}

/// That the page has these words, so that it tells what was found.
#[track_caller]
fn says(row: &Row, words: &[&str]) {
    for word in words {
        assert!(row.seen().contains(word), "{word:?} is not in {row:?}");
    }
}

/// A file that is too large is what a full disk looks like.
fn a_full_disk(row: &Row) {
    let folder = folder();
    let broker = start(folder.path());
    let limit = |bytes: &str| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &broker.pid().to_string()]);
        prlimit.arg(format!("--fsize={bytes}:unlimited"));
        assert!(prlimit.status().expect("util-linux").success());
    };
    publish(&broker, &["--confirm"], &lines(0, 10));
    // No segment has room.
    limit("8192");
    let large = vec!["x".repeat(100_000); 20];
    let producer = produce(&broker, &["--confirm"], &large);
    says(row, &["/ready", "disk full", "store_full"]);
    wait_until_ready(&broker, 503, "disk full\n");
    assert_eq!(broker.get("/healthz").0, 200);
    assert!(broker.metric("message_queue_store_full", "") >= 1.0);
    let stored = consume(&broker, &["--from", "first", "--count", "10"]);
    assert_eq!(stored, lines(0, 10), "consumers go on");
    limit("unlimited");
    wait_until_ready(&broker, 200, "ready\n");
    let output = producer.wait_with_output().expect("it ends");
    assert_ended(&output, 0, "produced 20 messages");
    let all = consume(&broker, &["--from", "first", "--count", "30"]);
    assert_eq!(all[10..], large);
}

fn a_sync_that_fails(row: &Row) {
    let (faults, folder) = (Faults::new(), folder());
    let data = folder.path().join("data");
    let broker = faults.broker(&data, &[]);
    publish(&broker, &["--confirm"], &lines(0, 10));
    faults.begin("fail");
    let producer = produce(&broker, &["--confirm"], &lines(10, 20));
    let (status, log) = broker.wait();
    assert_eq!(status.code(), Some(1));
    let failure = log.iter().find(|it| it["level"] == "ERROR").cloned();
    let failure = failure.expect("an error").to_string();
    for seen in row.seen() {
        assert!(failure.contains(seen), "{seen:?} is not in {failure}");
    }
    assert!(failure.contains("jobs") && failure.contains(text(&data)));
    let last = log.last().and_then(Value::as_str).expect("why it ends");
    assert!(last.contains("the log of a topic has failed"), "{last}");
    let output = producer.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "they are not confirmed");
    faults.end("fail");
    let broker = start(&data);
    let kept = consume(&broker, &["--from", "first", "--count", "10"]);
    assert_eq!(kept, lines(0, 10));
}

fn a_disk_that_hangs(row: &Row) {
    let (faults, folder) = (Faults::new(), folder());
    let broker = faults.broker(folder.path(), &[]);
    let consumer = "CONSUMER topic=jobs from=first heartbeat=1\n";
    let mut consumer = Client::connect(broker.tcp(), Link::ToConsumer, consumer);
    consumer.next();
    let producer = "PRODUCER topic=jobs confirm=1 heartbeat=1\n";
    let mut producer = Client::connect(broker.tcp(), Link::ToProducer, producer);
    producer.next();
    let appends =
        |name: &str| broker.metric(&format!("message_queue_store_append_seconds_{name}"), "");
    let before = (appends("count"), appends("sum"));
    faults.begin("hang");
    producer.publish(["a", "b"]);
    // For longer than a connection on which nothing comes lives.
    for _ in 0..3 {
        for client in [&mut producer, &mut consumer] {
            let told = client.next();
            let Told::Control(Control::Ping(number)) = told else {
                panic!("more than that it is there: {told:?}");
            };
            client.say(&Control::Pong(number, None));
        }
    }
    assert_eq!(broker.get("/healthz").0, 200);
    assert_eq!(appends("count"), before.0);
    faults.end("hang");
    producer.until(|it| matches!(it, Told::Control(Control::Confirmed { position: 2, .. })));
    let told = consumer.until(|it| matches!(it, Told::Message { sequence: 2, .. }));
    assert!(told.iter().all(|it| *it != Told::End));
    says(row, &["store_append_seconds"]);
    assert!(appends("sum") > before.1 + 1.0, "{}", appends("sum"));
}

fn a_damaged_segment(row: &Row) {
    let (folder, segments) = in_segments();
    let mut bytes = fs::read(&segments[1]).expect("a file");
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&segments[1], &bytes).expect("a file");
    let broker = start(folder.path());
    let consumer = "CONSUMER topic=jobs from=first heartbeat=0\n";
    let mut consumer = Client::connect(broker.tcp(), Link::ToConsumer, consumer);
    assert_eq!(row.seen(), ["store_read_errors", "a group cannot read on"]);
    let line = broker.wait_for_log(|it| is_about(it, row.seen()[1]));
    assert_eq!(line["topic"], "jobs", "{line}");
    assert!(broker.metric("message_queue_store_read_errors_total", "") >= 1.0);
    // What stands before the damage has come, and what stands behind it is there.
    let told = consumer.until(|it| matches!(it, Told::Message { .. }));
    assert!(matches!(
        told.last(),
        Some(Told::Message { sequence: 1, .. })
    ));
    let last = consume(&broker, &["--from", "25", "--count", "10"]);
    assert_eq!(last, lines(0, 10));
    publish(&broker, &["--confirm"], &lines(10, 20));
}

fn is_about(line: &Value, words: &str) -> bool {
    let message = line["message"].as_str();
    message.is_some_and(|it| it.contains(words))
}

fn a_clock_set_back(row: &Row) {
    const YEAR: &str = "-31536000";
    let (faults, folder) = (Faults::new(), folder());
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("it is later");
    let broker = start(folder.path());
    publish(&broker, &["--confirm"], &lines(0, 5));
    stop(broker);
    let broker = faults.broker(folder.path(), &[("FAULT_CLOCK", YEAR)]);
    publish(&broker, &["--confirm"], &lines(5, 10));
    assert_eq!(row.seen(), ["RETENTION_MS", "from=@TIME"]);
    let meta = [
        "--from", "first", "--format", "json", "--meta", "--count", "10",
    ];
    let printed = consume(&broker, &meta);
    let times: Vec<String> = printed.iter().map(|it| time(it)).collect();
    assert!(times[5..].iter().all(|it| *it == times[4]), "{times:?}");
    // A year ago nothing was published.
    let since = format!("@{}", since.as_millis());
    assert_eq!(
        consume(&broker, &["--from", &since, "--count", "10"]),
        lines(0, 10)
    );
    stop(broker);
    // The right time again.
    let broker = start(folder.path());
    publish(&broker, &["--confirm"], &lines(10, 11));
    let last = consume(
        &broker,
        &[&meta[2..5], &["--from", "11", "--count", "1"]].concat(),
    );
    assert!(time(&last[0]) > times[4], "{last:?}");
}

/// When a message was published; dates of one form are in the order of their text.
fn time(line: &str) -> String {
    let line: Value = serde_json::from_str(line).expect("JSON");
    line["time"].as_str().expect("a date").to_owned()
}

#[test]
fn what_happens_to_the_disk_is_told_and_survived_as_the_run_book_has_it() {
    check_each(
        &table("What may happen to the disk"),
        &[
            ("the disk is full, or a quota", &a_full_disk),
            ("a sync fails", &a_sync_that_fails),
            ("the disk hangs", &a_disk_that_hangs),
            (
                "a segment that is not the last is damaged",
                &a_damaged_segment,
            ),
            ("the clock is set back", &a_clock_set_back),
        ],
    );
}
