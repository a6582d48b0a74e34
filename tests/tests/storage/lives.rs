//! A broker that is stopped and started again: with its clients running on, and from a backup.

use crate::world::{client, consume, folder, lines, publish, start, start_with, stop};
use message_queue_tests::process::assert_ended;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it is not there");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("a file").path();
        let copied = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).expect("it can be copied");
        }
    }
}

/// As `docs/OPERATIONS.md` says under "Backup and restore".
#[test]
fn a_copy_of_the_folder_is_a_backup() {
    let work = folder();
    let (data, backup) = (work.path().join("data"), work.path().join("backup"));
    let group = |count| ["--group", "billing", "--from", "first", "--count", count];
    let broker = start(&data);
    publish(&broker, &["--name", "importer"], &lines(0, 60));
    assert_eq!(consume(&broker, &group("20")), lines(0, 20));
    stop(broker);
    copy(&data, &backup);
    let broker = start(&data);
    publish(&broker, &["--name", "importer"], &lines(0, 100));
    assert_eq!(consume(&broker, &group("30")), lines(20, 50));
    stop(broker);

    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(&backup, &data).expect("it is there");
    let broker = start(&data);
    // What was published since is gone, and a producer with a name publishes it again.
    publish(&broker, &["--name", "importer"], &lines(0, 100));
    let all = consume(&broker, &["--from", "first", "--count", "100"]);
    assert_eq!(all, lines(0, 100));
    // What was settled since comes again.
    assert_eq!(consume(&broker, &group("80")), lines(20, 100));
}

/// The producer and the consumer of the command line, with `--retry`.
#[test]
fn clients_go_on_over_the_ends_of_the_broker() {
    const MESSAGES: usize = 3_000;
    let work = folder();
    let data = work.path().join("data");
    let mut broker = start(&data);
    let port = broker.tcp().port().to_string();
    let all = lines(0, MESSAGES);
    let input = work.path().join("input");
    fs::write(&input, all.join("\n")).expect("it can be written");
    let producing = ["produce", "--name", "importer", "--retry", "--rate", "1000"];
    let mut producer = client(&broker, &producing);
    let producer = producer.arg(&input).spawn().expect("it starts");
    let consuming = [
        "consume", "--group", "billing", "--from", "first", "--retry",
    ];
    let mut consumer = client(&broker, &consuming);
    let consumer = consumer.args(["--count", &MESSAGES.to_string()]).spawn();
    let consumer = consumer.expect("it starts");
    for (life, signal) in ["KILL", "TERM", "KILL"].into_iter().enumerate() {
        let so_far = (life + 1) * MESSAGES / 5;
        let stored = consume(
            &broker,
            &["--from", "first", "--count", &so_far.to_string()],
        );
        assert_eq!(stored, all[..so_far]);
        broker.signal(signal);
        broker.wait();
        broker = start_with(&data, &[("TCP_PORT", &port)]);
    }
    let produced = producer.wait_with_output().expect("it ends");
    assert_ended(&produced, 0, "produced 3,000 messages");
    let stored = consume(
        &broker,
        &["--from", "first", "--count", &MESSAGES.to_string()],
    );
    assert_eq!(stored, all, "each is there once, in order");
    // Of a group some may have come twice, and then the last are left.
    let consumed = consumer.wait_with_output().expect("it ends");
    assert_ended(&consumed, 0, "consumed ");
    let had = String::from_utf8(consumed.stdout).expect("text");
    let had: Vec<&str> = had.lines().collect();
    let different: BTreeSet<&str> = had.iter().copied().collect();
    let left = MESSAGES - different.len();
    let mut got: BTreeSet<String> = different.into_iter().map(str::to_owned).collect();
    if left > 0 {
        got.extend(consume(
            &broker,
            &["--group", "billing", "--count", &left.to_string()],
        ));
    }
    assert_eq!(got, all.into_iter().collect());
}
