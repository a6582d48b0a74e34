//! `consume --format export`: messages leave a broker as the stream that `log export` writes, and other commands take it in.

use message_queue_core::wire::control::{Control, Link, Outcome};
use message_queue_tests::conversation::{Client, Told};
use message_queue_tests::frames::{frames, read_messages};
use message_queue_tests::process::{Broker, assert_ended, command, run};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use tempfile::TempDir;

/// Messages with whatever a text file would not keep apart.
const BODIES: [&[u8]; 5] = [b"a\nb\n", b"", b"\0\0\0\0", b"\r\n", b"\xff\xfe"];

/// A client of the broker.
fn client(broker: &Broker, args: &[&str]) -> Output {
    run([args, &["--addr", &broker.tcp().to_string()]].concat(), &[])
}

/// Publishes these, each at its own time.
fn publish(broker: &Broker, topic: &str, bodies: &[&[u8]]) {
    for body in bodies {
        let addr = broker.tcp().to_string();
        let mut produce = command(["produce", "--topic", topic, "--format", "frames"]);
        produce.args(["--addr", &addr]).stdin(Stdio::piped());
        let mut child = produce.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(&frames([body])).expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success());
    }
}

/// A group that is there, so that it gets what is published from now on.
fn join(broker: &Broker, topic: &str, group: &str) -> Client {
    let line = format!("CONSUMER topic={topic} group={group} ack=1 heartbeat=0\n");
    let mut member = Client::connect(broker.tcp(), Link::ToConsumer, &line);
    let answer = member.next();
    assert!(
        matches!(&answer, Told::Line(line) if line.starts_with("OK ")),
        "{answer:?}"
    );
    member
}

fn leave(mut member: Client) {
    member.say(&Control::Bye);
    member.until(|told| *told == Told::End);
}

/// What a group is told of so many messages.
fn told(broker: &Broker, topic: &str, options: &[&str], count: usize) -> Vec<Value> {
    let count = count.to_string();
    let args = ["consume", "--topic", topic, "--count", &count];
    let json = ["--format", "json", "--meta"];
    let output = client(broker, &[&args[..], &json, options].concat());
    assert_ended(&output, 0, "consumed");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A folder for an export and a `DATA_DIR`.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    /// The messages of a group are written to a file, which is imported into a folder, and a broker has that.
    fn moved(&self, broker: &Broker, topic: &str, group: &[&str], count: usize) -> Broker {
        let file = self.path("moved.mq");
        let output = export(broker, &file, topic, group, count);
        let messages = if count == 1 { "message" } else { "messages" };
        assert_ended(&output, 0, &format!("consumed {count} {messages}"));
        let data = self.path("data");
        let output = run(["log", "import", &data, topic, &file], &[]);
        assert_ended(&output, 0, &format!("imported {count} {messages}"));
        Broker::start(&[("STORAGE", "disk"), ("DATA_DIR", &data)])
    }
}

fn export(broker: &Broker, file: &str, topic: &str, options: &[&str], count: usize) -> Output {
    let count = count.to_string();
    let args = ["consume", "--topic", topic, "--count", &count];
    let export = ["--format", "export", "--output", file];
    client(broker, &[&args[..], &export, options].concat())
}

#[test]
fn from_memory_to_disk_messages_keep_their_bytes_and_their_times() {
    let broker = Broker::start(&[]);
    for group in ["look", "move"] {
        leave(join(&broker, "jobs", group));
    }
    publish(&broker, "jobs", &BODIES);
    let before = told(&broker, "jobs", &["--group", "look"], BODIES.len());
    let place = Place::new();
    let new = place.moved(&broker, "jobs", &["--group", "move"], BODIES.len());
    // All of it is the same: topic, sequence, time, attempt, message.
    let from_first = ["--group", "look", "--from", "first"];
    assert_eq!(told(&new, "jobs", &from_first, BODIES.len()), before);
}

#[test]
fn an_export_of_a_client_is_published_as_one_of_a_folder_is() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    publish(&broker, "jobs", &BODIES);
    let file = Place::new();
    let path = file.path("jobs.mq");
    assert_ended(
        &export(&broker, &path, "jobs", &[], 5),
        0,
        "consumed 5 messages",
    );
    let new = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let args = ["produce", "--format", "export", "--confirm", &path];
    assert_ended(&client(&new, &args), 0, "produced 5 messages");
    assert_eq!(read_messages(&mut new.consumer(), 5), BODIES);
}

#[test]
fn a_dead_letter_keeps_where_it_came_from() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    let mut worker = join(&broker, "jobs", "workers");
    publish(&broker, "jobs", &[b"first", b"second"]);
    worker.until(|told| matches!(told, Told::Message { sequence: 2, .. }));
    worker.settle(Outcome::Reject, 1, 2);
    let place = Place::new();
    let new = place.moved(&broker, "jobs.dead", &[], 2);
    let letters = told(
        &new,
        "jobs.dead",
        &["--from", "first", "--group", "look"],
        2,
    );
    for (letter, (sequence, body)) in letters.iter().zip([(1, "first"), (2, "second")]) {
        let origin = &letter["origin"];
        assert_eq!(letter["message"], body);
        assert_eq!(
            (&origin["topic"], &origin["group"], &origin["sequence"]),
            (&"jobs".into(), &"workers".into(), &sequence.into())
        );
    }
}

#[test]
fn dead_letters_that_were_imported_are_sent_back() {
    let place = Place::new();
    let old = place.path("old");
    let broker = Broker::start(&[("STORAGE", "disk"), ("DATA_DIR", &old)]);
    let mut worker = join(&broker, "jobs", "workers");
    publish(&broker, "jobs", &[b"first", b"second", b"third"]);
    worker.until(|told| matches!(told, Told::Message { sequence: 3, .. }));
    worker.settle(Outcome::Reject, 1, 3);
    broker.wait_for_metric("message_queue_behind_messages", 3.0);
    // What was thrown away is stored, and so in an export of the folder; a client exports what is left.
    let purge = ["dead-letters", "purge", "jobs", "--yes", "--count", "1"];
    assert_ended(&client(&broker, &purge), 0, "purged 1 message");
    let file = place.path("left.mq");
    let left = ["consume", "--topic", "jobs.dead", "--until-empty"];
    let left = [&left[..], &["--format", "export", "--output", &file]].concat();
    assert_ended(&client(&broker, &left), 0, "consumed 2 messages");
    broker.signal("TERM");
    assert!(broker.wait().0.success());
    let all = place.path("all.mq");
    let export = ["log", "export", &old, "jobs.dead", "--output", &all];
    assert_ended(&run(export, &[]), 0, "exported 3 messages");
    for (file, bodies) in [
        (&file, &["second", "third"][..]),
        (&all, &["first", "second", "third"]),
    ] {
        let count = bodies.len();
        let data = place.path(&format!("new-{count}"));
        assert_ended(
            &run(["log", "import", &data, "jobs.dead", file], &[]),
            0,
            &format!("imported {count} messages"),
        );
        let broker = Broker::start(&[("STORAGE", "disk"), ("DATA_DIR", &data)]);
        let list = client(&broker, &["dead-letters", "list", "jobs"]);
        assert_ended(&list, 0, &format!("{count} of {count} messages"));
        // They go to groups that are there.
        let redrive = ["dead-letters", "redrive", "jobs"];
        let mut worker = join(&broker, "jobs", "workers");
        let says = format!("sent back {count} messages");
        assert_ended(&client(&broker, &redrive), 0, &says);
        let told =
            worker.until(|told| matches!(told, Told::Message { text, .. } if text == "third"));
        let texts = told.into_iter().filter_map(|told| match told {
            Told::Message { text, .. } => Some(text),
            Told::Line(_) | Told::Control(_) | Told::End => None,
        });
        assert!(texts.eq(bodies.iter().copied()));
        let list = client(&broker, &["dead-letters", "list", "jobs"]);
        assert_ended(&list, 0, "0 of 0 messages");
    }
}

#[test]
fn what_is_written_is_acknowledged_and_what_is_added_follows_on_it() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    publish(&broker, "jobs", &BODIES);
    let place = Place::new();
    let path = place.path("jobs.mq");
    assert_ended(
        &export(&broker, &path, "jobs", &[], 3),
        0,
        "consumed 3 messages",
    );
    broker.wait_for_metric("message_queue_waiting_messages", 2.0);
    // What it holds is nowhere else.
    let kept = fs::read(&path).expect("it is there");
    assert_ended(&export(&broker, &path, "jobs", &[], 2), 1, "use --append");
    assert_eq!(fs::read(&path).expect("it is there"), kept);
    let output = export(&broker, &path, "jobs", &["--append"], 2);
    assert_ended(&output, 0, "consumed 2 messages");
    broker.wait_for_metric("message_queue_waiting_messages", 0.0);
    let data = place.path("data");
    let output = run(["log", "import", &data, "jobs", &path], &[]);
    assert_ended(&output, 0, "imported 5 messages");
}

#[test]
fn messages_of_many_topics_are_one_export() {
    let broker = Broker::start(&[]);
    let member = join(&broker, "gpu.*", "move");
    for topic in ["gpu.0", "gpu.1", "gpu.0"] {
        publish(&broker, topic, &[topic.as_bytes()]);
    }
    leave(member);
    let place = Place::new();
    let path = place.path("gpu.mq");
    let output = export(&broker, &path, "gpu.*", &["--group", "move"], 3);
    assert_ended(&output, 0, "consumed 3 messages");
    let data = place.path("data");
    let output = run(["log", "import", &data, "gpu", &path], &[]);
    assert_ended(&output, 0, "imported 3 messages");
}

#[test]
fn an_export_through_a_pipe_is_imported_as_it_comes() {
    let broker = Broker::start(&[("DELIVERY_MODE", "queue")]);
    // Larger than what a pipe takes at once, and as large as a message may be.
    let bodies = [vec![b'x'; 5_000], vec![0; 1 << 20], b"small".to_vec()];
    publish(&broker, "jobs", &bodies.each_ref().map(Vec::as_slice));
    let addr = broker.tcp().to_string();
    let mut consume = command(["consume", "--topic", "jobs", "--format", "export"]);
    consume.args(["--count", "3", "--addr", &addr]);
    let mut consume = consume.stdout(Stdio::piped()).spawn().expect("it starts");
    let place = Place::new();
    let data = place.path("data");
    let mut import = command(["log", "import", &data, "jobs"]);
    import.stdin(consume.stdout.take().expect("it is piped"));
    assert_ended(&import.output().expect("it ends"), 0, "imported 3 messages");
    assert!(consume.wait().expect("it ends").success());
    let output = run(["log", "verify", &data], &[]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_an_export_cannot_be_is_said() {
    let broker = Broker::start(&[]);
    let place = Place::new();
    let text = place.path("text.txt");
    let lines = "a line of text\n";
    fs::write(&text, lines).expect("room");
    let export = ["consume", "--format", "export", "--output", &text];
    for (more, code, says) in [
        (&["--discard-rest", "--count", "1"][..], 2, "--discard-rest"),
        (&["--meta"], 2, "--meta needs --format json"),
        (&["--append"], 1, "it is not the export of a log"),
        (&[], 1, "it is there and not empty"),
    ] {
        assert_ended(&client(&broker, &[&export[..], more].concat()), code, says);
    }
    assert_eq!(
        fs::read(Path::new(&text)).expect("it is there"),
        lines.as_bytes()
    );
}

/// A queue begins at what is new, and so does a group: but not one that the import makes.
#[test]
fn the_backlog_of_a_queue_goes_to_its_consumers_after_an_import_with_its_group() {
    let place = Place::new();
    let (old, file) = (place.path("old"), place.path("jobs.mq"));
    let queue = ("DELIVERY_MODE", "queue");
    let broker = Broker::start(&[queue, ("STORAGE", "disk"), ("DATA_DIR", &old)]);
    publish(&broker, "jobs", &BODIES);
    broker.signal("TERM");
    assert!(broker.wait().0.success());
    let export = ["log", "export", &old, "jobs", "--output", &file];
    assert_ended(&run(export, &[]), 0, "exported 5 messages");
    for (name, groups, count) in [
        ("without", &[][..], 0),
        (
            "with",
            &["--group", "queue", "--group", "audit"],
            BODIES.len(),
        ),
    ] {
        let data = place.path(name);
        let import = ["log", "import", &data, "jobs", &file];
        let output = run([&import, groups].concat(), &[]);
        assert_ended(&output, 0, "imported 5 messages");
        let broker = Broker::start(&[queue, ("STORAGE", "disk"), ("DATA_DIR", &data)]);
        for group in [&[][..], &["--group", "audit"]] {
            let take = [
                "consume",
                "--topic",
                "jobs",
                "--until-empty",
                "--format",
                "frames",
            ];
            let output = client(&broker, &[&take, group].concat());
            assert_ended(&output, 0, &format!("consumed {count} messages"));
            assert_eq!(output.stdout, frames(&BODIES[..count]));
        }
        // A group that is there is left where it is, and gets what comes.
        broker.signal("TERM");
        assert!(broker.wait().0.success());
        assert_ended(&run([&import, groups].concat(), &[]), 0, "imported 5");
        let broker = Broker::start(&[queue, ("STORAGE", "disk"), ("DATA_DIR", &data)]);
        let take = ["consume", "--topic", "jobs", "--until-empty"];
        assert_ended(&client(&broker, &take), 0, "consumed 5 messages");
    }
    let import = ["log", "import", &old, "jobs", "--group", "", &file];
    assert_ended(&run(import, &[]), 2, "1 to 200");
}
