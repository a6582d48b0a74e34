//! What the real binary does with the rules of TOPICS_FILE.

use message_queue_tests::frames::{frames, read_messages};
use message_queue_tests::process::Broker;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

/// A file of topics that can be changed.
struct Rules {
    directory: TempDir,
}

impl Rules {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let rules = Self { directory };
        rules.write(text);
        rules
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("topics.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("a file");
    }

    /// A broker with these rules.
    fn broker(&self) -> Broker {
        let path = self.path();
        Broker::start(&[("TOPICS_FILE", path.to_str().expect("text"))])
    }
}

fn topic(broker: &Broker, name: &str) -> Value {
    let (status, page) = broker.get(&format!("/topics/{name}"));
    assert_eq!(status, 200, "{page}");
    serde_json::from_str(&page).expect("JSON")
}

#[test]
fn what_nobody_takes_in_time_is_dropped_and_accounted_for() {
    let rules = Rules::new("[[rule]]\ntopics = \"jobs\"\ngroups = [\"g\"]\nmax_age_ms = 50\n");
    let broker = rules.broker();
    let mut producer = broker.connect_with(b"PRODUCER topic=jobs\n");
    producer
        .write_all(&frames(["a", "b", "c"]))
        .expect("it reads");
    broker.wait_for_metric("message_queue_dropped_messages_total", 3.0);
    assert_eq!(
        broker.metric("message_queue_dropped_messages_total", "reason=\"expired\""),
        3.0
    );
    let page = topic(&broker, "jobs");
    let group = &page["groups"][0];
    assert_eq!(group["dropped"]["expired"]["messages"], 3, "{page}");
    assert_eq!(group["waiting"]["messages"], 0, "{page}");
    let line = broker.wait_for_log(|line| {
        let reasons = line["reasons"].as_str().unwrap_or_default();
        line["message"] == "dropped" && reasons.contains("expired")
    });
    assert_eq!(
        (&line["topic"], &line["group"]),
        (&"jobs".into(), &"g".into())
    );
    // Who is there in time gets all.
    let mut consumer = broker.connect_with(b"CONSUMER topic=jobs group=g ack=0\n");
    broker.wait_for_metric("message_queue_consumers", 1.0);
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') {
        let mut byte = [0];
        std::io::Read::read_exact(&mut consumer, &mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    producer.write_all(&frames(["d"])).expect("it reads");
    let mut run = [0; 25];
    std::io::Read::read_exact(&mut consumer, &mut run).expect("a RUN");
    assert_eq!(read_messages(&mut consumer, 1), [b"d"]);
}

/// Sends SIGHUP, and waits for what it leads to.
fn reload(broker: &Broker, says: &str) -> Value {
    let before = broker.log().len();
    broker.signal("HUP");
    broker.wait_for_log(|line| line["message"] == says || line["detail"] == says);
    let lines = broker.log();
    let mut new = lines[before..].iter();
    let found = new.find(|it| it["message"] == says || it["detail"] == says);
    found.expect("it is a new line").clone()
}

#[test]
fn rules_are_read_again_on_sighup_and_what_they_change_is_told() {
    let declared = "[[rule]]\ntopics = \"jobs\"\ngroups = [\"g\"]\n";
    let rules = Rules::new(&format!("{declared}capacity = 1\n"));
    let broker = rules.broker();
    let mut producer = broker.connect_with(b"PRODUCER topic=jobs confirm=1\n");
    producer
        .write_all(&frames(["a", "b", "c"]))
        .expect("it reads");
    broker.wait_until("message_queue_topic_blocked_producers", |it| it == 1.0);

    rules.write(&format!("{declared}capacity = oops\n"));
    let path = rules.path();
    broker.signal("HUP");
    let line =
        broker.wait_for_log(|line| line["message"] == "settings not reloaded; all are as before");
    let detail = line["detail"].as_str().expect("text");
    let place = format!("TOPICS_FILE: {}: line 4, column 12: ", path.display());
    assert!(detail.starts_with(&place), "{detail}");
    assert_eq!(topic(&broker, "jobs")["received"], 1, "nothing has changed");

    rules.write(&format!(
        "{declared}capacity = 9\nmode = \"queue\"\n[[rule]]\ntopics = \"orders\"\n"
    ));
    let line = reload(&broker, "settings reloaded");
    let applied = format!("TOPICS_FILE={}", path.display());
    assert_eq!(line["applied"], applied.as_str());
    let told = |name: &str| {
        broker.wait_for_log(|line| line["message"] == "topic changed" && line["topic"] == name)
    };
    let jobs = told("jobs");
    assert_eq!(
        (&jobs["applied"], &jobs["needs_restart"]),
        (&"capacity".into(), &"mode".into())
    );
    assert_eq!(told("orders")["made"], true);
    broker.wait_until("message_queue_topic_blocked_producers", |it| it == 0.0);
    assert_eq!(topic(&broker, "jobs")["received"], 3);
    assert_eq!(topic(&broker, "orders")["received"], 0);

    rules.write(&format!("{declared}overflow = \"block\"\n"));
    let line = reload(
        &broker,
        "the rules of TOPICS_FILE need a restart; they are as before",
    );
    let why = line["why"].as_str().expect("text");
    assert!(
        why.starts_with("whether any topic blocks its producers"),
        "{why}"
    );
}
