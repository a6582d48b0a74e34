//! Commands for operators on every engine: also where no broker knows how much waits.

use crate::engine::{ENGINES, Running};
use message_queue_core::wire::control::Outcome;
use message_queue_tests::process::{assert_ended, command};
use std::process::Output;
use std::thread;

fn dead_letters(broker: &Running, args: &[&str]) -> Output {
    let mut client = command(["dead-letters"]);
    client.args(args);
    client.args(["--addr", &broker.addr().to_string()]);
    client.output().expect("it ends")
}

#[test]
fn what_no_broker_knows_is_said() {
    for engine in ENGINES.iter().filter(|it| it.is_in_the_binary()) {
        let place = engine.place();
        let broker = place.start();
        broker.consumer("topic=jobs group=work").leave();
        for (args, column) in [
            (&["topics"][..], "WAITING"),
            (&["groups", "jobs"], "BACKLOG"),
        ] {
            let mut asking = command(args);
            asking.args(["--addr", &broker.broker.http().to_string()]);
            let output = asking.output().expect("it ends");
            let says = String::from_utf8_lossy(&output.stderr).into_owned();
            let is_said = says.contains(&format!("{column} is what has come to this broker"));
            assert_eq!(is_said, engine.is_shared(), "{says}");
            assert_eq!(says.contains(engine.name), engine.is_shared(), "{says}");
        }
        broker.end();
    }
}

#[test]
fn dead_letters_are_shown_sent_back_and_thrown_away() {
    for engine in ENGINES.iter().filter(|it| it.is_in_the_binary()) {
        let place = engine.place();
        let broker = place.start();
        let mut consumer = broker.consumer("topic=jobs group=work");
        broker.publish("jobs", 0, 3);
        consumer.texts(3);
        consumer.settle_all(Outcome::Reject);
        if engine.has_a_folder() {
            // They are there once they are stored.
            let stored = "message_queue_behind_messages";
            broker.broker.wait_for_metric(stored, 3.0);
        }
        let output = dead_letters(&broker, &["list", "jobs"]);
        let says = if engine.is_shared() {
            "3 messages in jobs.dead: no more came"
        } else {
            "3 of 3 messages in jobs.dead"
        };
        assert_ended(&output, 0, says);
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(listed.matches(" rejected ").count(), 3, "{listed}");
        let output = dead_letters(&broker, &["redrive", "jobs", "--count", "1"]);
        assert_ended(&output, 0, "sent back 1 message ");
        let again = consumer.work().text;
        assert!(["0", "1", "2"].contains(&again.as_str()), "{again}");
        // What fails again meanwhile came after this had begun.
        let output = thread::scope(|scope| {
            let redriving = scope.spawn(|| dead_letters(&broker, &["redrive", "jobs"]));
            for _ in 0..2 {
                let again = consumer.message();
                consumer.settle(Outcome::Reject, again.position);
            }
            redriving.join().expect("it ends")
        });
        assert_ended(&output, 0, "sent back 2 messages ");
        let output = dead_letters(&broker, &["purge", "jobs", "--yes"]);
        assert_ended(&output, 0, "purged 2 messages ");
        broker.end();
    }
}
