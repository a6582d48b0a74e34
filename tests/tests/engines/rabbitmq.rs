//! RabbitMQ is killed, is out of reach, and serves two brokers. Each test has a RabbitMQ of its own (tests/engines/up).

use crate::engine::{ENGINES, Engine, Place, Running, is_confirmed};
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_tests::conversation::Told;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A RabbitMQ, in a folder in which it is found again.
struct RabbitMq {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
}

impl RabbitMq {
    /// One that runs; none where the tests are not to have one.
    fn start(port: u16) -> Option<Self> {
        let engines = std::env::var("MESSAGE_QUEUE_ENGINES").unwrap_or_default();
        if !engines.split(',').any(|it| it == "rabbitmq") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut rabbit = Self {
            folder,
            port,
            server: None,
        };
        rabbit.run();
        Some(rabbit)
    }

    /// Starts it, and waits until it is ready.
    fn run(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/up");
        let mut server = Command::new(script)
            .arg("rabbitmq")
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("it starts");
        let out = server.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        assert!(
            lines.any(|it| it.starts_with("ready ")),
            "it does not start"
        );
        self.server = Some(server);
    }

    /// Ends it at once, and all that it was about to do.
    fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let group = format!("-{}", server.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(killed.expect("there is a kill").success());
        server.wait().expect("it ends");
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.kill();
        // Its directory of nodes does not end with it.
        let port = (self.port + 2).to_string();
        let _ = Command::new("epmd")
            .args(["-port", &port, "-kill"])
            .output();
    }
}

fn engine() -> &'static Engine {
    let mut engines = ENGINES.iter();
    engines.find(|it| it.name == "rabbitmq").expect("it is one")
}

fn broker(place: &Place<'_>, rabbit: &RabbitMq) -> Running {
    place.start_with(&[("RABBITMQ_URL", &rabbit.url())])
}

/// What was confirmed is there, whatever becomes of RabbitMQ, and nothing is confirmed while it is away.
#[test]
fn rabbitmq_is_killed_and_nothing_that_was_confirmed_is_lost() {
    let Some(mut rabbit) = RabbitMq::start(25700) else {
        return;
    };
    let place = engine().place();
    let broker = broker(&place, &rabbit);
    let mut consumer = broker.consumer("topic=jobs group=workers prefetch=5");
    let (mut producer, _) = broker.producer("topic=jobs confirm=1");
    producer.publish((0..10).map(|it| it.to_string()));
    assert!(is_confirmed(&mut producer, 10));
    assert_eq!(consumer.texts(5), ["0", "1", "2", "3", "4"]);
    consumer.settle(Outcome::Done, 1);
    consumer.flush();
    rabbit.kill();
    // It is taken back what the consumer has not settled, and the broker says that it is not ready.
    loop {
        match consumer.next() {
            Err(Told::Control(Control::Revoked { code, .. })) => {
                assert_eq!(code, "engine_lost");
                break;
            }
            Ok(_) | Err(Told::Control(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!((0..100_000).any(|_| broker.broker.get("/ready").0 == 503));
    producer.publish((10..20).map(|it| it.to_string()));
    producer.say(&Control::Ping(7));
    producer.until(|told| {
        let is_early =
            matches!(told, Told::Control(Control::Confirmed { position, .. }) if *position > 10);
        assert!(!is_early, "RabbitMQ has not got it");
        matches!(told, Told::Control(Control::Pong(7, _)))
    });
    rabbit.run();
    assert!(is_confirmed(&mut producer, 20));
    let mut left: Vec<u64> = (1..20).collect();
    while !left.is_empty() {
        let number: u64 = consumer.work().text.parse().expect("a number");
        assert_ne!(number, 0, "it was settled and flushed");
        left.retain(|it| *it != number);
    }
    broker.end();
}

/// Producers are on one broker, consumers on the other; then one of the two is killed.
#[test]
fn two_brokers_are_one_service() {
    let Some(rabbit) = RabbitMq::start(25710) else {
        return;
    };
    let place = engine().place();
    let (one, other) = (broker(&place, &rabbit), broker(&place, &rabbit));
    let mut here = one.consumer("topic=jobs group=workers prefetch=4");
    let mut there = other.consumer("topic=jobs group=workers prefetch=4");
    let mut listener = other.consumer("topic=jobs");
    // What is published here comes after the listener.
    other.publish("jobs", 100, 101);
    assert_eq!(listener.work().text, "100");
    one.publish("jobs", 0, 100);
    let mut all: Vec<u64> = (0..=100).collect();
    for expected in 0..100 {
        assert_eq!(listener.work().text, expected.to_string());
    }
    let mut seen = 0;
    for _ in 0..5 {
        for consumer in [&mut here, &mut there] {
            let number: u64 = consumer.work().text.parse().expect("a number");
            all.retain(|it| *it != number);
            seen += 1;
        }
    }
    here.flush();
    there.flush();
    assert_eq!(all.len(), 101 - seen, "nobody has had the same");
    one.kill();
    while !all.is_empty() {
        let number: u64 = there.work().text.parse().expect("a number");
        all.retain(|it| *it != number);
    }
    other.end();
}

/// A wrong password is a wrong setting; a RabbitMQ that is not there is waited for.
#[test]
fn who_is_refused_is_told_and_who_is_early_waits() {
    let Some(mut rabbit) = RabbitMq::start(25720) else {
        return;
    };
    let url = rabbit.url().replace("guest:guest", "guest:wrong");
    let settings = [("STORAGE", "rabbitmq"), ("RABBITMQ_URL", url.as_str())];
    let output = message_queue_tests::process::run(["serve"], &settings);
    assert_eq!(output.status.code(), Some(2));
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(
        says.contains("RABBITMQ_URL: RabbitMQ refuses the connection"),
        "{says}"
    );
    rabbit.kill();
    let place = engine().place();
    let early = place.start_unready(&[("RABBITMQ_URL", &rabbit.url())]);
    assert_eq!(early.broker.get("/ready").0, 503);
    let (mut producer, _) = early.producer("topic=jobs confirm=1");
    producer.publish(["early"]);
    rabbit.run();
    assert!(is_confirmed(&mut producer, 1));
    early.end();
}
