//! Holds `docs/SETTINGS.md` and `.env.example` to the list of settings.

use super::dotenv;
use super::{Origin, SETTINGS, Settings, topics};
use message_queue_core::names::TopicName;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

const TOPICS_EXAMPLE: &str = "examples/topics.toml";

const UPDATE: &str = "UPDATE_DOCS=1 cargo test -p message-queue-tokio settings_doc";

/// What `tests/tests/memory.rs` holds the real process to.
const MEMORY: &str = "\
## Memory

Beyond what it takes when idle (some 6 MiB) the broker takes at most the sum of:

| for | bytes |
|---|---|
| all messages, whole or not | 2 x (`BROKER_BYTES` + 1048580) |
| messages that consumers are yet to acknowledge, besides | `BROKER_BYTES` / 8 |
| each message that waits | 256, if each came in a read of its own; otherwise 256 for each read |
| each consumer | 2 x the larger of `WRITE_BYTES` and 1048580 |
| each producer that sends | 2 x (`READ_BYTES` + 1048580) |
| each connection | 16384 |
| each stored topic, for the pieces that wait for the disk | 4096 x 200 |
| each stored topic, for the index of its last segment | `SEGMENT_BYTES` / 2048 |
| each group of a stored topic that is behind, for what is being read | the larger of `WRITE_BYTES` and 1048580 |

At most `MAX_CONSUMERS` x `CONSUMER_CHANNEL_BUFFER_SIZE` (broadcast) or `QUEUE_CAPACITY` (queue)
messages wait. The kernel's socket buffers come on top, and the flight recorder's memory if it is on
(`docs/FLIGHT_RECORDER.md`). `tests/tests/memory.rs` checks the real process against these bounds;
`docs/BENCHMARKS.md` has measurements.
";

const TOPICS: &str = "\
## The file of topics

Without `TOPICS_FILE` every topic works as the settings say. The file holds rules in TOML, each a table
`[[rule]]` with the key `topics`, the name of a topic or a pattern, and any of the keys below. For each value the
first rule counts that matches the topic and has it. A plain number of a time counts milliseconds, one of a size
bytes; a string takes units, as in the settings.

A rule that names one topic declares it: it is there from the start, with its groups, and with
`TOPIC_CREATION=off` such topics and those that a pattern in the file matches are the only ones. Dead-letter topics
match no pattern, but a rule may name one; its mode is always `queue`, and it has no dead letters of its own.

A file that is not understood ends the broker with exit code 2 and one line for each problem, with line and
column. `message-queue serve --print-config TOPIC` shows how a topic works, and which rule or setting says so.

On SIGHUP the broker reads the file again. New topics work by the new rules. In topics that are there everything changes
at once but three things, which the log names with the topic (`needs_restart`): the `mode`, the `storage`, and groups
that are no longer declared, which stay. Topics and groups that are newly declared are made. Where `capacity` or `bytes`
is now less than what a group holds, that is kept, and nothing more is let in until there is room. A file with an error changes nothing:
the log has each problem with line and column. Nor does one that the other settings do not allow as they are in force,
and one by which the first topic begins to block its producers, or the last one stops to: that changes how many places are
kept for consumers, and takes a restart. So does a file by which the first topic is stored, or the last one stops to be:
`DATA_DIR` is opened at the start.
";

const PEERS: &str = "\
## Peers that vanish

A peer whose machine or network is gone does not end its stream. Without a check its place would stay
taken for ever. So the kernel sends a TCP keepalive probe to a peer that has been silent for
`KEEPALIVE_MS`, and further probes after each third of that time. It ends the connection when
`TCP_USER_TIMEOUT_MS` have passed without an answer (or, if that is 0, after the third probe). With the
defaults the place of a vanished peer is free within about a minute; the log and the metrics say
`peer_reset`.

`TCP_USER_TIMEOUT_MS` also limits how long data may stay unacknowledged and, on Linux, how long the
receive buffer of a consumer may stay full. If a consumer may pause for longer than that, raise it, and
`WRITE_TIMEOUT_MS` too.

`produce` and `consume` use keepalive in the same way: a probe after 30 s, then every 10 s.
";

const SLOW: &str = "\
## Slow consumers

A consumer is disconnected if its socket takes nothing of a write for `WRITE_TIMEOUT_MS`. As long as it takes some,
it may be slow. So that one that takes a byte now and then does not hold a write for ever, a write of n
bytes may take `WRITE_TIMEOUT_MS` + n / `MIN_CONSUMER_RATE` in all. At the defaults that is 30 s without progress,
and 18 minutes for a write of 1 MiB.

With `OVERFLOW=block` all producers wait for the slowest consumer (in queue mode, once all others wait too). There,
set `MIN_CONSUMER_RATE` to the least rate that you want to wait for. 0 turns the rule off: then a consumer that takes
one byte within every `WRITE_TIMEOUT_MS` holds everybody for as long as it likes.
";

const RELOAD: &str = "\
## Settings that change while the broker runs

On SIGHUP (`systemctl reload`) the broker reads `.env` and the file of topics again. `LOG_LEVEL`, `RUST_LOG`,
`DRAIN_TIMEOUT_MS`, `DRAIN_DELAY_MS` and [the rules for topics](#the-file-of-topics) are applied at once. The log names the settings that have
changed, and those that have changed in the file but need a restart. A file with an error changes
nothing. A variable of the environment still wins over `.env`: the environment of a running process
cannot be changed.
";

fn in_repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

/// Compares the file at `path` to `text`, or writes it where `UPDATE_DOCS` is set.
fn assert_file(path: &str, text: &str) {
    let file = in_repository(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{path} does not match the list of settings; to update it: {UPDATE}"
    );
}

fn settings_md() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Every setting of the broker is an environment variable, or a `KEY=value` line of the file\n\
         `.env` in the working directory. The environment wins over `.env`, even where a variable is\n\
         empty: an empty value means the default. Spaces around a value and the letter case of words\n\
         do not matter. A value that is not allowed ends the broker with exit code 2 and one line for\n\
         each bad variable.\n\n\
         A size is a number of bytes, or a number with a unit: `64KiB`, `512MiB` (powers of 1024),\n\
         `1.5GB` (powers of 1000). A time is a number of milliseconds, or numbers with units: `500ms`,\n\
         `10s`, `1m30s`.\n\n\
         `message-queue --help` lists the settings, `message-queue serve --print-config` shows the\n\
         values in force and where each comes from, `message-queue serve --check-config` only checks\n\
         them. `.env.example` is a file to start from.\n\n\
         If the name of a variable differs from a setting by one or two letters, the broker warns at the\n\
         start and names the setting; with `--check-config` the exit code is 2. Other variables in `.env`\n\
         are ignored with a warning. `produce`, `consume` and `health` read `BROKER_ADDR` and `HTTP_PORT`\n\
         from the same file.\n\n\
         | Name | Default | Allowed | What it does |\n\
         |---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        writeln!(
            text,
            "| `{}` | {default} | {} | {} |",
            setting.name, setting.allowed, setting.help,
        )
        .unwrap();
    }
    let topics = topics_md();
    text.push_str("\n## What a setting costs\n\nMemory, for those that have a cost.\n\n");
    for setting in SETTINGS {
        if let Some(memory) = setting.memory {
            writeln!(text, "- **`{}`**. {memory}", setting.name).unwrap();
        }
    }
    write!(
        text,
        "\n## Rules between settings\n\n\
         - `HTTP_PORT` differs from `TCP_PORT`, unless both are 0.\n\
         - `BROKER_BYTES` is at least `BACKLOG_BYTES`.\n\
         - `BROKER_BYTES` is at least the `bytes` of every rule in `TOPICS_FILE`.\n\
         - With `OVERFLOW=block` and `DELIVERY_MODE=broadcast`, in any topic, `BROKER_BYTES` is at least\n  \
         `MAX_CONSUMERS` x 1048580 (the largest message and its length): a producer blocks until\n  \
         every consumer has room for its message.\n\
         - `DATA_DIR` is set, and is not `RECORD_DIR`, with `STORAGE=disk` or `rocksdb`, or a rule in `TOPICS_FILE` that\n  \
         has one of them as `storage`. All that is stored is stored in one of the two. Where nothing is stored, the broker warns at the start of settings that say how.\n\
         - Where `RETENTION_BYTES` is less than `SEGMENT_BYTES`, the broker warns at the start: whole segments are\n  \
         deleted, and never the last one.\n\
         - In broadcast mode, where `BROKER_BYTES` is less than `MAX_CONSUMERS` x `BACKLOG_BYTES`, the\n  \
         broker warns at the start: consumers that are stuck can use up the room of those that are not.\n\
         - Where `TCP_USER_TIMEOUT_MS` is less than `WRITE_TIMEOUT_MS`, the broker warns at the start: the\n  \
         kernel ends a consumer that is stuck before the broker would.\n\n\
         Colours are used for text on a terminal only, and not where `NO_COLOR` is set.\n\n\
         {MEMORY}\n\
         {topics}\n\
         {PEERS}\n\
         {SLOW}\n\
         {RELOAD}\n\
         Made from `runtime-tokio/src/settings/table/`. To update this page:\n\
         `{UPDATE}`.\n"
    )
    .unwrap();
    text
}

fn topics_md() -> String {
    let mut text =
        format!("{TOPICS}\n| Key | Otherwise | Allowed | What it does |\n|---|---|---|---|\n");
    for key in topics::DOCUMENTED {
        writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            key.name, key.otherwise, key.form, key.help
        )
        .unwrap();
    }
    let example = std::fs::read_to_string(in_repository(TOPICS_EXAMPLE)).unwrap();
    write!(text, "\n`{TOPICS_EXAMPLE}`:\n\n```toml\n{example}```\n").unwrap();
    text
}

/// The example is a file of topics, and each of its rules is in force for a topic.
#[test]
fn settings_doc_topics() {
    let path = in_repository(TOPICS_EXAMPLE);
    let settings = Settings::from_variables([("TOPICS_FILE", path)]).unwrap();
    let config = settings.broker_config();
    for (topic, capacity, max_failures) in [
        ("orders", 10_000, 5),
        ("jobs.eu.1", 50_000, 20),
        ("telemetry.gpu", 1_000, 20),
        ("orders.dead", 100_000, 0),
    ] {
        let topic = config.topic(&TopicName::new(topic).unwrap());
        assert_eq!(
            (topic.capacity, topic.max_failures),
            (capacity, max_failures)
        );
    }
    assert_eq!(config.topics.rules.len(), 4);
}

fn env_example() -> String {
    let mut text = String::from(
        "# Copy to .env and change what you need. The environment wins over .env;\n\
         # an empty value means the default. All of it: docs/SETTINGS.md\n",
    );
    for setting in SETTINGS {
        write!(
            text,
            "\n# {}\n# Allowed: {}.\n{}={}\n",
            setting.help, setting.allowed, setting.name, setting.default
        )
        .unwrap();
    }
    text
}

#[test]
fn settings_doc_page() {
    assert_file("docs/SETTINGS.md", &settings_md());
}

/// The example sets what is the default anyway.
#[test]
fn settings_doc_example() {
    assert_file(".env.example", &env_example());
    let file = dotenv::read(&in_repository(".env.example"), &|_| true).unwrap();
    assert_eq!(file.variables.len(), SETTINGS.len());
    let settings = Settings::from_sources(&BTreeMap::new(), &file).unwrap();
    assert_eq!(settings.warnings(), [""; 0]);
    for effective in settings.effective() {
        assert_eq!(
            effective.shown().as_deref(),
            Some(effective.setting().default),
            "{:?}",
            effective.setting()
        );
        let given = !effective.setting().default.is_empty();
        assert_eq!(
            effective.origin() == Origin::DotEnv,
            given,
            "{:?}",
            effective.setting()
        );
    }
}

/// The README shows some of the settings, with their defaults.
#[test]
fn settings_doc_readme() {
    let readme = std::fs::read_to_string(in_repository("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        let default = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let is_variable = name.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
        is_variable.then_some((name, default))
    });
    let shown: Vec<_> = rows.collect();
    assert!(shown.len() >= 5, "{shown:?}");
    for (name, default) in shown {
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        assert_eq!(setting.map(|it| it.default), Some(default), "{name}");
    }
}

#[test]
fn no_cell_of_the_page_breaks_its_table() {
    for setting in SETTINGS {
        let allowed = setting.allowed.to_string();
        for text in [setting.help, setting.memory.unwrap_or_default(), &allowed] {
            assert!(!text.contains(['|', '\n']), "{}: {text}", setting.name);
        }
    }
}
