//! Messages move from any engine to any other, as OPERATIONS.md, "Moving", says: by an export that a client makes of what waits, or a
//! command of what is stored while no broker runs; or through clients alone.

use crate::engine::{ENGINES, Engine, Running};
use message_queue_tests::process::{assert_ended, command};
use std::process::{Command, Output, Stdio};

/// Every engine of the binary with every other.
fn pairs() -> Vec<(&'static Engine, &'static Engine)> {
    let all: Vec<_> = ENGINES.iter().filter(|it| it.is_in_the_binary()).collect();
    let mut pairs = Vec::new();
    for from in &all {
        let others = all.iter().filter(|it| it.name != from.name);
        pairs.extend(others.map(|to| (*from, *to)));
    }
    pairs
}

/// Runs the first with its output into the second, and returns what the second says.
fn pipe(mut from: Command, mut to: Command) -> Output {
    let mut from = from.stdout(Stdio::piped()).spawn().expect("it starts");
    let output = from.stdout.take().expect("it is piped");
    let to = to.stdin(output).output().expect("it ends");
    let says = String::from_utf8_lossy(&to.stderr);
    assert!(to.status.success(), "{says}");
    assert!(from.wait().expect("it ends").success());
    to
}

fn client(broker: &Running, args: &[&str]) -> Command {
    let mut client = command(args);
    client.args(["--addr", &broker.addr().to_string(), "--topic", "jobs"]);
    client
}

#[test]
fn messages_move_through_a_client_between_any_two_engines() {
    for (from, to) in pairs() {
        let published: &[&str] = if to.is_shared() {
            &["produce", "--confirm"]
        } else {
            &["produce", "--name", "move-jobs"]
        };
        let (from, to) = (from.place(), to.place());
        let (from, to) = (from.start(), to.start());
        from.consumer("topic=jobs group=work").leave();
        from.publish("jobs", 0, 50);
        to.consumer("topic=jobs group=look").leave();
        pipe(
            client(&from, &["consume", "--count", "50", "--group", "work"]),
            client(&to, published),
        );
        let mut consumer = to.consumer("topic=jobs group=look");
        assert!((0..50).all(|it| consumer.work().text == it.to_string()));
    }
}

#[test]
fn an_export_is_published_to_any_engine() {
    for (from, to) in pairs().into_iter().filter(|(from, _)| from.has_a_folder()) {
        let (old, new) = (from.place(), to.place());
        let broker = old.start();
        broker.publish("jobs", 0, 50);
        broker.end();
        let to = new.start();
        to.consumer("topic=jobs group=look").leave();
        let says = pipe(
            command(["log", "export", &old.data(), "jobs"]),
            client(&to, &["produce", "--format", "export", "--confirm"]),
        );
        let says = String::from_utf8_lossy(&says.stderr).into_owned();
        assert!(says.contains("produced 50 messages"), "{says}");
        let mut consumer = to.consumer("topic=jobs group=look");
        assert!((0..50).all(|it| consumer.work().text == it.to_string()));
    }
}

#[test]
fn what_waits_where_there_is_no_folder_is_exported_to_any_engine() {
    for (from, to) in pairs().into_iter().filter(|(from, _)| !from.has_a_folder()) {
        let (old, new) = (from.place(), to.place());
        let file = tempfile::tempdir().expect("a folder");
        let file = file.path().join("jobs.mq");
        let file = file.to_str().expect("UTF-8");
        let broker = old.start();
        broker.consumer("topic=jobs group=work").leave();
        broker.publish("jobs", 0, 50);
        let export = [
            "consume", "--count", "50", "--group", "work", "--output", file,
        ];
        let export = [&export[..], &["--format", "export"]].concat();
        let output = client(&broker, &export).output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        broker.end();
        if to.has_a_folder() {
            let mut import = command(["log", "import", &new.data(), "jobs", file]);
            import.args(["--storage", to.name]);
            let output = import.output().expect("it ends");
            assert!(output.status.success(), "{output:?}");
            let broker = new.start();
            let mut consumer = broker.consumer("topic=jobs group=look from=first");
            assert!((0..50).all(|it| consumer.work().text == it.to_string()));
            continue;
        }
        let broker = new.start();
        broker.consumer("topic=jobs group=look").leave();
        let publish = ["produce", "--confirm", "--format", "export", file];
        let output = client(&broker, &publish).output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        let mut consumer = broker.consumer("topic=jobs group=look");
        assert!((0..50).all(|it| consumer.work().text == it.to_string()));
    }
}

#[test]
fn what_waits_is_taken_to_its_end_where_a_broker_knows_it() {
    for engine in ENGINES.iter().filter(|it| it.is_in_the_binary()) {
        let place = engine.place();
        let broker = place.start();
        let take = ["consume", "--group", "work", "--until-empty"];
        let take = || client(&broker, &take).output().expect("it ends");
        // The group is there from then on, whatever is known of it.
        let made = take();
        assert_eq!(made.status.code(), Some(engine.is_shared().into()));
        broker.publish("jobs", 0, 50);
        let output = take();
        if engine.is_shared() {
            let says = "shares the topic jobs with others, so it does not know what waits; 0 messages had been written; \
                        use --count";
            assert_ended(&output, 1, says);
            // All of it is there still.
            let mut consumer = broker.consumer("topic=jobs group=work");
            assert!((0..50).all(|it| consumer.work().text == it.to_string()));
        } else {
            assert_ended(&output, 0, "consumed 50 messages");
        }
    }
}

/// Moves a topic from one folder to another, and returns what is said.
fn move_by_file(from: &str, to: &str, topic: &str, options: &[&str]) -> String {
    let mut import = command(["log", "import", to, topic]);
    import.args(options);
    let output = pipe(command(["log", "export", from, topic]), import);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn stored_topics_move_by_export_and_import_between_any_two_engines() {
    let stored = |(from, to): &(&Engine, &Engine)| from.has_a_folder() && to.has_a_folder();
    for (from, to) in pairs().into_iter().filter(stored) {
        let (old, new) = (from.place(), to.place());
        let broker = old.start();
        broker.publish("jobs", 0, 50);
        broker.publish("narrow", 0, 3);
        broker.end();
        let (from, data) = (old.data(), new.data());
        let options = ["--storage", to.name, "--group", "workers"];
        let says = move_by_file(&from, &data, "jobs", &options);
        assert!(says.contains("imported 50 messages into jobs"), "{says}");
        // The folder says itself what it is of. What is there stays, and a topic that is new does not touch it.
        for topic in ["narrow", "jobs"] {
            move_by_file(&from, &data, topic, &["--group", "workers"]);
        }
        let broker = new.start();
        let mut jobs = broker.consumer("topic=jobs group=look from=first");
        // A group that an import has made is there, and gets all of it.
        let mut workers = broker.consumer("topic=jobs group=workers");
        for _ in 0..2 {
            assert!((0..50).all(|it| jobs.work().text == it.to_string()));
            assert!((0..50).all(|it| workers.work().text == it.to_string()));
        }
        let mut narrow = broker.consumer("topic=narrow group=look from=first");
        assert!((0..3).all(|it| narrow.work().text == it.to_string()));
        // What is published now comes behind it.
        broker.publish("jobs", 50, 51);
        assert_eq!(jobs.work().sequence, 101);
    }
}

#[test]
fn a_part_is_exported_from_any_engine() {
    for engine in ENGINES
        .iter()
        .filter(|it| it.has_a_folder() && it.is_in_the_binary())
    {
        let place = engine.place();
        let broker = place.start();
        for at in 0..10 {
            broker.publish("jobs", 5 * at, 5 * at + 5);
        }
        broker.end();
        let (data, copy) = (place.data(), engine.place());
        let mut export = command(["log", "export", &data, "jobs"]);
        export.args(["--from", "8", "--to", "31"]);
        let mut import = command(["log", "import", &copy.data(), "jobs"]);
        import.args(["--storage", engine.name]);
        pipe(export, import);
        let broker = copy.start();
        let mut consumer = broker.consumer("topic=jobs group=look from=first");
        assert!((7..31).all(|it| consumer.work().text == it.to_string()));
        broker.publish("jobs", 0, 1);
        assert_eq!(consumer.work().sequence, 25, "{}", engine.name);
        let export = command(["log", "export", &data, "other"]).output();
        let export = export.expect("it ends");
        assert_eq!(export.status.code(), Some(1));
        let says = String::from_utf8_lossy(&export.stderr);
        assert!(says.contains("the topic other is not "), "{says}");
    }
}
