//! Stored topics, on the real binary.

mod faults;
mod lives;
mod run_book;
mod world;

use message_queue_tests::process::{Broker, assert_ended, run};
use std::collections::BTreeSet;
use std::fs;
use world::{
    consume, file, folder, lines, publish, refused, start, stop, text, topic, wait_until_ready,
};

#[test]
fn what_was_confirmed_is_there_however_the_broker_has_ended() {
    for signal in ["TERM", "KILL"] {
        let folder = folder();
        let data = folder.path().join("data");
        let broker = start(&data);
        publish(&broker, &["--confirm"], &lines(0, 500));
        broker.signal(signal);
        let (status, _) = broker.wait();
        assert_eq!(status.success(), signal == "TERM");
        let broker = start(&data);
        publish(&broker, &["--confirm"], &lines(500, 1_000));
        let all = consume(&broker, &["--from", "first", "--count", "1000"]);
        assert_eq!(all, lines(0, 1_000), "{signal}");
    }
}

#[test]
fn groups_and_producers_with_names_go_on_where_they_were() {
    let folder = folder();
    let broker = start(folder.path());
    publish(&broker, &["--name", "importer"], &lines(0, 60));
    let group = ["--group", "billing", "--from", "first", "--count"];
    let taken = consume(&broker, &[&group[..], &["40"]].concat());
    assert_eq!(taken, lines(0, 40));
    stop(broker);
    let broker = start(folder.path());
    // The same input and more: what is stored is passed over.
    publish(&broker, &["--name", "importer"], &lines(0, 100));
    let taken = consume(&broker, &[&group[..], &["60"]].concat());
    assert_eq!(taken, lines(40, 100));
}

#[test]
fn a_topic_whose_folder_was_emptied_has_an_epoch_that_it_never_had() {
    let folder = folder();
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let broker = start(folder.path());
        publish(&broker, &["--confirm"], &lines(0, 10));
        epochs.push(topic(&broker)["epoch"].clone());
        stop(broker);
        for file in fs::read_dir(folder.path().join("topics/jobs")).expect("a folder") {
            fs::remove_file(file.expect("a file").path()).expect("it goes");
        }
    }
    let different: BTreeSet<_> = epochs.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), 3, "{epochs:?}");
}

#[test]
fn what_groups_are_behind_by_is_shown_though_it_is_not_in_memory() {
    let folder = folder();
    let broker = start(folder.path());
    for (group, had) in [("billing", "10"), ("audit", "40")] {
        let flags = ["--group", group, "--from", "first", "--count", had];
        publish(&broker, &["--confirm"], &lines(0, 50));
        consume(&broker, &flags);
    }
    // Each has left, so all that it has not had is on the disk alone.
    let owed = [("behind_messages", 150.0), ("behind_groups", 2.0)];
    let owed = [&owed[..], &[("waiting_messages", 0.0)]].concat();
    for (metric, value) in owed {
        broker.wait_for_metric(&format!("message_queue_{metric}"), value);
    }
    let of_topic = broker.metric("message_queue_topic_behind_messages", "topic=\"jobs\"");
    assert_eq!(of_topic, 150.0);
    let stored = |broker: &Broker| topic(broker)["stored"].clone();
    assert_eq!(stored(&broker)["behind"], 150);
    assert_eq!(stored(&broker)["groups_behind"], 2);
    let bytes = |broker: &Broker| stored(broker)["bytes"].as_u64().expect("a number");
    assert!(
        (0..100_000).any(|_| bytes(&broker) > 500),
        "as of the last second"
    );
    assert_eq!(stored(&broker)["segments"], 1);
    let http = broker.http().to_string();
    let table = run(["topics", "--addr", &http], &[]);
    let table = String::from_utf8(table.stdout).expect("text");
    let jobs = table.lines().find(|it| it.starts_with("jobs "));
    let words: Vec<_> = jobs.expect("the topic").split_whitespace().collect();
    assert_eq!(words, ["jobs", "2", "100", "150", "0", "-"]);
}

#[test]
fn topics_in_memory_need_no_folder_and_leave_none() {
    let folder = folder();
    let data = folder.path().join("data");
    let broker = Broker::start(&[("DATA_DIR", text(&data))]);
    wait_until_ready(&broker, 200, "ready\n");
    publish(&broker, &["--confirm"], &lines(0, 10));
    stop(broker);
    assert!(!data.exists());
}

/// What the broker begins with is known when its topics are found, and a recording begins with that.
#[test]
fn a_broker_that_stores_is_recorded() {
    let folder = folder();
    let records = folder.path().join("records");
    fs::create_dir(&records).expect("a folder");
    let data = folder.path().join("data");
    for all in [10, 20] {
        let broker = Broker::start(&[
            ("STORAGE", "disk"),
            ("DATA_DIR", text(&data)),
            ("SEGMENT_BYTES", "1MiB"),
            ("RECORD_DIR", text(&records)),
        ]);
        wait_until_ready(&broker, 200, "ready\n");
        publish(&broker, &["--confirm"], &lines(all - 10, all));
        let count = all.to_string();
        let stored = consume(&broker, &["--from", "first", "--count", &count]);
        assert_eq!(stored, lines(0, all));
        assert_eq!(broker.metric("message_queue_recording_gaps_total", ""), 0.0);
        stop(broker);
    }
}

#[test]
fn a_second_broker_is_told_who_has_the_folder() {
    let folder = folder();
    let broker = start(folder.path());
    let output = refused(&[("STORAGE", "disk"), ("DATA_DIR", text(folder.path()))]);
    let process = format!("(process {})", broker.pid());
    assert_ended(&output, 1, &process);
    publish(&broker, &["--confirm"], &lines(0, 10));
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "").expect("a file");
    fs::create_dir(path("foreign")).expect("a folder");
    fs::write(path("foreign/notes.txt"), "mine").expect("a file");
    for name in ["newer", "strange"] {
        let broker = start(&path(name));
        stop(broker);
    }
    fs::write(path("newer/format"), "2\n").expect("a file");
    fs::write(path("strange/topics/notes.txt"), "mine").expect("a file");
    for (name, says) in [
        ("none/data", "make the folder above it first"),
        ("file", "is not a folder"),
        ("foreign", "holds notes.txt"),
        ("newer", "has the format \"2\""),
        ("strange", "notes.txt is not the folder of a topic"),
    ] {
        let data = path(name);
        let output = refused(&[("STORAGE", "disk"), ("DATA_DIR", text(&data))]);
        assert_ended(&output, 1, says);
        assert_ended(&output, 1, &format!("DATA_DIR: {}", text(&data)));
    }
    assert!(!path("none").exists());
    let notes = fs::read_to_string(path("foreign/notes.txt")).expect("it is there");
    assert_eq!(notes, "mine");
}

#[test]
fn a_stored_topic_that_is_to_be_kept_in_memory_is_not_passed_over() {
    let folder = folder();
    let data = folder.path().join("data");
    let broker = start(&data);
    publish(&broker, &["--confirm"], &lines(0, 10));
    stop(broker);
    let rules = folder.path().join("topics.toml");
    fs::write(&rules, "[[rule]]\ntopics = \"other\"\nstorage = \"disk\"\n").expect("a file");
    let data = ("DATA_DIR", text(&data));
    for rules in [&[("TOPICS_FILE", text(&rules))][..], &[]] {
        let output = refused(&[rules, &[data]].concat());
        assert_ended(&output, 2, "is kept in memory; set storage=disk for it");
    }
}

#[test]
fn a_damaged_log_is_named_with_the_place_and_what_to_do() {
    let folder = folder();
    let broker = start(folder.path());
    // The second says that the first was safe.
    for from in [0, 10] {
        publish(&broker, &["--confirm"], &lines(from, from + 10));
    }
    stop(broker);
    let serve = || refused(&[("STORAGE", "disk"), ("DATA_DIR", text(folder.path()))]);
    let segment = file(folder.path(), ".log");
    let whole = fs::read(&segment).expect("a file");
    let mut damaged = whole.clone();
    let message = whole.windows(5).position(|it| it == b"\0\0\0\x015");
    damaged[message.expect("the message 5") + 4] = b'6';
    fs::write(&segment, &damaged).expect("a file");
    let output = serve();
    assert_ended(&output, 1, "the log of topic jobs");
    assert_ended(&output, 1, "00000000000000000001.log is damaged at byte");
    assert_ended(&output, 1, "`message-queue log repair`");
    assert_eq!(fs::read(&segment).expect("it is there"), damaged);

    fs::write(&segment, &whole).expect("a file");
    let journal = file(folder.path(), ".journal");
    let aside = folder.path().join("aside");
    fs::rename(&journal, &aside).expect("a file");
    assert_ended(&serve(), 1, "no journal says");
    fs::rename(&aside, &journal).expect("a file");
    let broker = start(folder.path());
    let all = consume(&broker, &["--from", "first", "--count", "20"]);
    assert_eq!(all, lines(0, 20));
}
