//! What is set wrong about engines: the rows of a table in OPERATIONS.md, "When an engine does not start", each on the real binary.

use crate::engine::{Engine, KAFKA, RABBITMQ};
use crate::kafka::sasl;
use crate::secure::untrusted_rabbitmq;
use message_queue_tests::process::run;
use message_queue_tests::specification::{code, operations_rows};
use std::fs;
use std::process::Output;

/// Sets something wrong about an engine. Returns what the binary does; none if the binary cannot be brought to it.
type Wrong = fn(&Engine) -> Option<Output>;

/// Every row, in the order of the table. Those of an engine that brokers share are about that one.
const WRONG: &[(&str, Wrong)] = &[
    ("no-feature", no_feature),
    ("two-engines", two_engines),
    ("no-folder", no_folder),
    ("other-engine", other_engine),
    ("log-commands", log_commands),
    ("in-memory", in_memory),
    ("in-use", in_use),
    ("newer", newer),
    ("damaged", damaged),
    ("no-rabbitmq", |_| no_feature(rabbitmq())),
    ("no-url", |_| of_rabbitmq("")),
    ("no-scheme", |_| of_rabbitmq("localhost:5672")),
    ("password", |_| wrong_password()),
    ("vhost", |_| wrong_vhost()),
    ("no-authorities", |_| no_authorities()),
    ("certificate", |_| untrusted_rabbitmq()),
    ("elsewhere", |_| elsewhere()),
    ("no-kafka", |_| no_feature(kafka())),
    ("no-brokers", |_| of_kafka(&[("KAFKA_BROKERS", "")])),
    ("no-port", |_| {
        of_kafka(&[("KAFKA_BROKERS", "one:9092,two")])
    }),
    ("kafka-prefix", |_| {
        of_kafka(&[("KAFKA_TOPIC_PREFIX", "a/")])
    }),
    ("kafka-keys", |_| of_kafka(&[("KAFKA_KEY_PATTERN", "gpu")])),
    ("no-property", |_| with_properties(NOWHERE, "sasl.password")),
    ("unknown-property", |_| {
        with_properties(NOWHERE, "no.such=1")
    }),
    ("owned-property", |_| with_properties(NOWHERE, "acks=1")),
    ("kafka-password", |_| wrong_kafka_password()),
];

/// Where nobody asks for Kafka.
const NOWHERE: &str = "localhost:9092";

fn kafka() -> &'static Engine {
    Engine::named("kafka")
}

fn of_kafka(settings: &[(&str, &str)]) -> Option<Output> {
    let common = [("STORAGE", "kafka"), ("KAFKA_BROKERS", NOWHERE)];
    kafka()
        .has_feature()
        .then(|| serve(&[&common[..], settings].concat()))?
}

/// With a file of properties that ends with these.
fn with_properties(brokers: &str, properties: &str) -> Option<Output> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), format!("# ours\n{properties}\n")).expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    of_kafka(&[("KAFKA_BROKERS", brokers), ("KAFKA_CONFIG_FILE", path)])
}

fn wrong_kafka_password() -> Option<Output> {
    let brokers = std::env::var(KAFKA).ok()?;
    let (host, port) = brokers.rsplit_once(':').expect("HOST:PORT");
    let port: u16 = port.parse().expect("a port");
    with_properties(&format!("{host}:{}", port + 2), &sasl("wrong"))
}

fn rabbitmq() -> &'static Engine {
    Engine::named("rabbitmq")
}

/// With this URL, which nobody connects to.
fn of_rabbitmq(url: &str) -> Option<Output> {
    rabbitmq()
        .has_feature()
        .then(|| serve(&[("STORAGE", "rabbitmq"), ("RABBITMQ_URL", url)]))?
}

/// With the URL of the RabbitMQ that is there, made wrong.
fn of_real_rabbitmq(wrong: impl FnOnce(String) -> String) -> Option<Output> {
    let url = std::env::var(RABBITMQ).ok()?;
    of_rabbitmq(&wrong(url))
}

fn wrong_password() -> Option<Output> {
    of_real_rabbitmq(|url| url.replace("guest:guest", "guest:wrong"))
}

fn wrong_vhost() -> Option<Output> {
    of_real_rabbitmq(|url| url.replace("/%2f", "/nowhere"))
}

fn no_authorities() -> Option<Output> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    let settings = [
        ("STORAGE", "rabbitmq"),
        ("RABBITMQ_URL", "amqps://localhost"),
        ("RABBITMQ_CA_FILE", path),
    ];
    rabbitmq().has_feature().then(|| serve(&settings))?
}

/// What is on a disk is not passed over.
fn elsewhere() -> Option<Output> {
    if !rabbitmq().has_feature() {
        return None;
    }
    let place = Engine::named("disk").place();
    let broker = place.start();
    broker.publish("jobs", 0, 3);
    broker.end();
    let data = place.data();
    serve(&[
        ("STORAGE", "rabbitmq"),
        ("RABBITMQ_URL", "amqp://localhost"),
        ("DATA_DIR", &data),
    ])
}

fn rocksdb() -> &'static Engine {
    Engine::named("rocksdb")
}

fn serve(settings: &[(&str, &str)]) -> Option<Output> {
    let ports = [("TCP_PORT", "0"), ("HTTP_PORT", "0")];
    Some(run(["serve"], &[&ports[..], settings].concat()))
}

fn no_feature(engine: &Engine) -> Option<Output> {
    if engine.has_feature() {
        return None;
    }
    serve(&[("STORAGE", engine.name), ("DATA_DIR", "/nowhere/data")])
}

fn two_engines(engine: &Engine) -> Option<Output> {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("topics.toml");
    fs::write(&rules, "[[rule]]\ntopics = \"jobs\"\nstorage = \"disk\"\n").expect("a file");
    let rules = rules.to_str().expect("UTF-8");
    engine.is_in_the_binary().then(|| {
        serve(&[
            ("STORAGE", engine.name),
            ("DATA_DIR", "/nowhere/data"),
            ("TOPICS_FILE", rules),
        ])
    })?
}

fn no_folder(engine: &Engine) -> Option<Output> {
    engine
        .is_in_the_binary()
        .then(|| serve(&[("STORAGE", engine.name)]))?
}

/// A folder of the engine, with a topic in it, is not touched by what is refused.
fn of_a_folder(engine: &Engine, end: impl FnOnce(&str) -> Option<Output>) -> Option<Output> {
    if !engine.is_in_the_binary() {
        return None;
    }
    let place = engine.place();
    let broker = place.start();
    broker.publish("jobs", 0, 3);
    broker.end();
    let output = end(&place.data());
    let broker = place.start();
    let mut consumer = broker.consumer("topic=jobs group=all from=first");
    assert_eq!(consumer.texts(3), ["0", "1", "2"]);
    output
}

fn other_engine(engine: &Engine) -> Option<Output> {
    of_a_folder(engine, |data| {
        serve(&[("STORAGE", "disk"), ("DATA_DIR", data)])
    })
}

fn log_commands(engine: &Engine) -> Option<Output> {
    of_a_folder(engine, |data| {
        for command in ["inspect", "repair"] {
            let output = run(["log", command, data], &[]);
            assert_eq!(output.status.code(), Some(1));
        }
        Some(run(["log", "verify", data], &[]))
    })
}

fn in_memory(engine: &Engine) -> Option<Output> {
    of_a_folder(engine, |data| {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = folder.path().join("topics.toml");
        let memory = "[[rule]]\ntopics = \"jobs\"\nstorage = \"memory\"\n";
        fs::write(&rules, memory).expect("a file");
        let rules = rules.to_str().expect("UTF-8");
        serve(&[
            ("STORAGE", engine.name),
            ("DATA_DIR", data),
            ("TOPICS_FILE", rules),
        ])
    })
}

fn in_use(engine: &Engine) -> Option<Output> {
    if !engine.is_in_the_binary() {
        return None;
    }
    let place = engine.place();
    let _broker = place.start();
    serve(&[("STORAGE", engine.name), ("DATA_DIR", &place.data())])
}

fn newer(engine: &Engine) -> Option<Output> {
    of_a_folder(engine, |data| {
        let format = format!("{data}/format");
        let old = fs::read(&format).expect("a file");
        fs::write(&format, "rocksdb 2\n").expect("a file");
        let output = serve(&[("STORAGE", engine.name), ("DATA_DIR", data)]);
        fs::write(&format, old).expect("a file");
        output
    })
}

fn damaged(engine: &Engine) -> Option<Output> {
    of_a_folder(engine, |data| {
        let current = format!("{data}/rocksdb/CURRENT");
        let old = fs::read(&current).expect("a file");
        fs::write(&current, "MANIFEST-999999\n").expect("a file");
        let output = serve(&[("STORAGE", engine.name), ("DATA_DIR", data)]);
        fs::write(&current, old).expect("a file");
        output
    })
}

#[test]
fn what_is_set_wrong_gets_the_line_and_the_exit_code_of_its_row() {
    let rows = operations_rows("### When an engine does not start");
    let names: Vec<_> = rows.iter().map(|row| code(row[0])).collect();
    let tested: Vec<_> = WRONG.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, tested);
    for (row, (name, wrong)) in rows.iter().zip(WRONG) {
        let Some(output) = wrong(rocksdb()) else {
            continue;
        };
        let says = String::from_utf8_lossy(&output.stderr);
        let last = says.lines().last().unwrap_or_default();
        assert!(last.contains(code(row[1])), "{name}: {says}");
        let exit = output.status.code().map(|it| it.to_string());
        assert_eq!(exit.as_deref(), Some(row[2]), "{name}: {says}");
    }
}
