//! An engine, and brokers that keep their topics in it.

use message_queue_core::wire::control::{Control, Link, Outcome};
use message_queue_tests::conversation::{Client, Told};
use message_queue_tests::process::{Broker, PATIENCE, run};
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;
use tempfile::TempDir;

/// What can keep a topic.
pub(crate) struct Engine {
    /// What `STORAGE` is.
    pub(crate) name: &'static str,
    /// What else has to be set, so that a broker finds what another one has kept in this folder.
    settings: fn(&str) -> Vec<(&'static str, String)>,
}

/// All of them, in the order of the table's columns.
pub(crate) const ENGINES: [Engine; 5] = [
    Engine {
        name: "memory",
        settings: |_| Vec::new(),
    },
    Engine {
        name: "disk",
        settings: in_a_folder,
    },
    Engine {
        name: "rocksdb",
        settings: in_a_folder,
    },
    Engine {
        name: "rabbitmq",
        settings: in_rabbitmq,
    },
    Engine {
        name: "kafka",
        settings: in_kafka,
    },
];

/// Names of its own in the RabbitMQ that `MESSAGE_QUEUE_RABBITMQ` says, as tests/engines/up prints it.
fn in_rabbitmq(folder: &str) -> Vec<(&'static str, String)> {
    let url = std::env::var(RABBITMQ).expect("a RabbitMQ to test with");
    let own = folder.rsplit('/').next().expect("a name");
    vec![
        ("RABBITMQ_URL", url),
        ("RABBITMQ_PREFIX", format!("test-{own}.")),
    ]
}

/// Where a RabbitMQ is.
pub(crate) const RABBITMQ: &str = "MESSAGE_QUEUE_RABBITMQ";

/// Whether `MESSAGE_QUEUE_ENGINES` names an engine.
pub(crate) fn is_wanted(engine: &str) -> bool {
    let wanted = std::env::var("MESSAGE_QUEUE_ENGINES").unwrap_or_default();
    wanted.split(',').any(|it| it == engine)
}

/// Names of its own in the Kafka that `MESSAGE_QUEUE_KAFKA` says, as tests/engines/up prints it.
fn in_kafka(folder: &str) -> Vec<(&'static str, String)> {
    let brokers = std::env::var(KAFKA).expect("a Kafka to test with");
    let own = folder.rsplit('/').next().expect("a name");
    vec![
        ("KAFKA_BROKERS", brokers),
        ("KAFKA_TOPIC_PREFIX", format!("test-{own}.")),
    ]
}

/// Where a Kafka is.
pub(crate) const KAFKA: &str = "MESSAGE_QUEUE_KAFKA";

fn in_a_folder(folder: &str) -> Vec<(&'static str, String)> {
    vec![("DATA_DIR", data(folder))]
}

fn data(folder: &str) -> String {
    format!("{folder}/data")
}

impl Engine {
    /// The one that `STORAGE` calls this.
    pub(crate) fn named(name: &str) -> &'static Self {
        let mut engines = ENGINES.iter();
        engines.find(|it| it.name == name).expect("it is one")
    }

    /// Whether the binary has it, and it is there to be tested with.
    pub(crate) fn is_in_the_binary(&self) -> bool {
        let has_feature = self.has_feature();
        let server = match self.name {
            "rabbitmq" => Some(RABBITMQ),
            "kafka" => Some(KAFKA),
            _ => None,
        };
        let is_there = server.is_none_or(|it| std::env::var(it).is_ok());
        assert!(
            is_there || !is_wanted(self.name),
            "{server:?} is not set: see tests/engines/up"
        );
        is_there && has_feature
    }

    /// Whether the binary has it. One that has not says so, and where it is to be had.
    pub(crate) fn has_feature(&self) -> bool {
        let settings = [
            ("STORAGE", self.name),
            ("DATA_DIR", "/nowhere/data"),
            ("RABBITMQ_URL", "amqp://nowhere/%2f"),
            ("KAFKA_BROKERS", "nowhere:9092"),
        ];
        let output = run(["serve", "--print-config"], &settings);
        let says = String::from_utf8_lossy(&output.stderr);
        let is_missing = says.contains("is not in this build");
        assert_eq!(
            output.status.code(),
            Some(if is_missing { 2 } else { 0 }),
            "{says}"
        );
        assert!(!(is_wanted(self.name) && is_missing), "{says}");
        !is_missing
    }

    /// Whether brokers share it.
    pub(crate) fn is_shared(&self) -> bool {
        ["rabbitmq", "kafka"].contains(&self.name)
    }

    /// Whether it keeps what it has in `DATA_DIR`.
    pub(crate) fn has_a_folder(&self) -> bool {
        ["disk", "rocksdb"].contains(&self.name)
    }

    /// A place for its messages, and nothing in it.
    pub(crate) fn place(&self) -> Place<'_> {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = folder.path().join("topics.toml");
        fs::write(&rules, RULES).expect("a file");
        Place {
            engine: self,
            folder,
        }
    }
}

/// So that no check waits for its turn, nor for a backoff.
const RULES: &str = "\
    [[rule]]\ntopics = \"jobs\"\nmax_failures = 2\nbackoff_max_ms = 10\n\
    [[rule]]\ntopics = \"narrow\"\ncapacity = 10\noverflow = \"drop\"\n";

/// Where brokers keep messages, one after the other.
pub(crate) struct Place<'a> {
    engine: &'a Engine,
    folder: TempDir,
}

impl Place<'_> {
    /// For what a test puts beside it.
    pub(crate) fn folder(&self) -> &str {
        self.folder.path().to_str().expect("UTF-8")
    }

    /// Its `DATA_DIR`, if the engine has one.
    pub(crate) fn data(&self) -> String {
        data(self.folder.path().to_str().expect("UTF-8"))
    }

    /// Starts a broker.
    pub(crate) fn start(&self) -> Running {
        self.start_beside(&[])
    }

    /// Starts one with more settings than those for its engine.
    pub(crate) fn start_beside(&self, more: &[(&str, &str)]) -> Running {
        let folder = self.folder.path().to_str().expect("UTF-8");
        let own = (self.engine.settings)(folder);
        let own: Vec<_> = own
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain(more.iter().copied())
            .collect();
        self.start_with(&own)
    }

    /// Starts one with these settings for its engine, and waits until it is ready.
    pub(crate) fn start_with(&self, own: &[(&str, &str)]) -> Running {
        let running = self.start_unready(own);
        running.wait_for_ready(200, "ready\n");
        running
    }

    /// The same, and does not wait.
    pub(crate) fn start_unready(&self, own: &[(&str, &str)]) -> Running {
        let folder = self.folder.path().to_str().expect("UTF-8");
        let rules = format!("{folder}/topics.toml");
        let common = [
            ("STORAGE", self.engine.name),
            ("TOPICS_FILE", rules.as_str()),
        ];
        let settings: Vec<_> = common.into_iter().chain(own.iter().copied()).collect();
        Running {
            broker: Broker::start(&settings),
        }
    }
}

/// A broker.
pub(crate) struct Running {
    pub(crate) broker: Broker,
}

impl Running {
    /// Waits until `/ready` says this.
    ///
    /// # Panics
    /// If it does not come to that.
    #[expect(
        clippy::disallowed_methods,
        reason = "the broker and its engine run in real time"
    )]
    pub(crate) fn wait_for_ready(&self, status: u16, body: &str) {
        let began = Instant::now();
        loop {
            let found = self.broker.get("/ready");
            if (found.0, found.1.as_str()) == (status, body) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "/ready stays at {found:?}");
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.broker.tcp()
    }

    /// A producer with these options, and the answer to them.
    pub(crate) fn producer(&self, options: &str) -> (Client, String) {
        self.connect(
            Link::ToProducer,
            &format!("PRODUCER {options} heartbeat=0\n"),
        )
    }

    /// A consumer with these options that settles what it gets, and the answer to them.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub(crate) fn consumer(&self, options: &str) -> Consumer {
        self.try_consumer(options).expect("it is not refused")
    }

    /// The same, or why it is refused.
    pub(crate) fn try_consumer(&self, options: &str) -> Result<Consumer, String> {
        let line = format!("CONSUMER {options} ack=1 heartbeat=0\n");
        let (client, answer) = self.connect(Link::ToConsumer, &line);
        if answer.starts_with("OK ") {
            Ok(Consumer { client, taken: 0 })
        } else {
            Err(answer)
        }
    }

    fn connect(&self, link: Link, line: &str) -> (Client, String) {
        let mut client = Client::connect(self.addr(), link, line);
        match client.next() {
            Told::Line(answer) => (client, answer),
            other @ (Told::Message { .. } | Told::Control(_) | Told::End) => {
                panic!("{line}: {other:?}")
            }
        }
    }

    /// Publishes messages from one number to before another, and waits until they are confirmed.
    pub(crate) fn publish(&self, topic: &str, from: u64, to: u64) {
        let (mut producer, answer) = self.producer(&format!("topic={topic} confirm=1"));
        assert!(answer.starts_with("OK "), "{answer}");
        producer.publish((from..to).map(|it| it.to_string()));
        assert!(is_confirmed(&mut producer, to - from));
    }

    /// Ends it in an orderly way.
    pub(crate) fn end(self) {
        self.broker.signal("TERM");
        assert!(self.broker.wait().0.success());
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        self.broker.signal("KILL");
        assert!(!self.broker.wait().0.success());
    }
}

/// Waits until a producer is told that all up to this position is safe.
pub(crate) fn is_confirmed(producer: &mut Client, position: u64) -> bool {
    loop {
        match producer.next() {
            Told::Control(Control::Confirmed { position: at, .. }) if at == position => {
                return true;
            }
            Told::Control(_) => {}
            Told::Line(_) | Told::Message { .. } | Told::End => return false,
        }
    }
}

/// Publishes these, and holds that none of them is confirmed while the engine is away: by the answer to a PING, nothing above
/// this position is.
pub(crate) fn publish_in_vain(producer: &mut Client, confirmed: u64, messages: Range<u64>) {
    producer.publish(messages.map(|it| it.to_string()));
    producer.say(&Control::Ping(7));
    producer.until(|told| {
        let is_early = matches!(told, Told::Control(Control::Confirmed { position, .. }) if *position > confirmed);
        assert!(!is_early, "the engine has not got it");
        matches!(told, Told::Control(Control::Pong(7, _)))
    });
}

/// A consumer that settles what it gets, by its position on the connection.
pub(crate) struct Consumer {
    client: Client,
    taken: u64,
}

/// A message that a consumer has.
pub(crate) struct Given {
    pub(crate) position: u64,
    pub(crate) sequence: u64,
    pub(crate) attempt: u32,
    pub(crate) text: String,
}

impl Consumer {
    /// What it is told next.
    pub(crate) fn next(&mut self) -> Result<Given, Told> {
        match self.client.next() {
            Told::Message {
                sequence,
                attempt,
                text,
            } => {
                self.taken += 1;
                Ok(Given {
                    position: self.taken,
                    sequence,
                    attempt,
                    text,
                })
            }
            other @ (Told::Line(_) | Told::Control(_) | Told::End) => Err(other),
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Given {
        loop {
            match self.next() {
                Ok(given) => return given,
                Err(Told::Control(_)) => {}
                Err(other) => panic!("no message, but {other:?}"),
            }
        }
    }

    /// What the next messages say.
    #[track_caller]
    pub(crate) fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.message().text);
        }
        texts
    }

    pub(crate) fn settle(&mut self, outcome: Outcome, position: u64) {
        self.client.settle(outcome, position, position);
    }

    /// This becomes of all that it has taken.
    pub(crate) fn settle_all(&mut self, outcome: Outcome) {
        self.client.settle(outcome, 1, self.taken);
    }

    /// The next message, which is done.
    #[track_caller]
    pub(crate) fn work(&mut self) -> Given {
        let given = self.message();
        self.settle(Outcome::Done, given.position);
        given
    }

    /// Waits until all that it has said has taken effect. Returns the messages that have come meanwhile.
    pub(crate) fn flush(&mut self) -> Vec<Given> {
        self.client.say(&Control::Flush(1));
        let mut given = Vec::new();
        loop {
            match self.next() {
                Ok(it) => given.push(it),
                Err(Told::Control(Control::Flushed(1))) => return given,
                Err(Told::Control(_)) => {}
                Err(other) => panic!("no answer to a flush, but {other:?}"),
            }
        }
    }

    /// Says that it goes.
    pub(crate) fn bye(&mut self) {
        self.client.say(&Control::Bye);
    }

    /// Leaves, and gives back what it holds.
    pub(crate) fn leave(mut self) {
        self.bye();
        self.client.until(|told| *told == Told::End);
    }
}
