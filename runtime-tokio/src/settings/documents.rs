//! Holds `docs/SETTINGS.md` and `.env.example` to the list of settings.

use super::dotenv;
use super::{Origin, SETTINGS, Settings};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

const UPDATE: &str = "UPDATE_DOCS=1 cargo test -p message-queue-tokio settings_doc";

/// What `tests/tests/memory.rs` holds the real process to.
const MEMORY: &str = "\
## Memory

Beyond what it takes when idle (some 6 MiB) the broker takes at most the sum of:

| for | bytes |
|---|---|
| all backlogs and unfinished messages | 2 x `BROKER_BYTES` |
| unfinished messages where backlogs are full | a quarter of `BROKER_BYTES`, 2097160 at least |
| each message that waits | 256, if each came in a read of its own; else so much for each read |
| each consumer | 2 x the larger of `WRITE_BYTES` and 1048580 |
| each producer that sends | 2 x (`READ_BYTES` + 1048580) |
| each producer that waits for room | `READ_BYTES` |
| each connection | 16384 |

Messages that wait are as many as `MAX_CONSUMERS` x `CONSUMER_CHANNEL_BUFFER_SIZE` (broadcast) or
`QUEUE_CAPACITY` (queue) at the most. The kernel's socket buffers come on top, and what is recorded
where recording is on (`docs/FLIGHT_RECORDER.md`). `tests/tests/memory.rs` holds the real process to
this; `docs/BENCHMARKS.md` has what was measured.
";

const PEERS: &str = "\
## Peers that vanish

A peer whose machine or network is gone sends no end of its stream, and a broker that only waits would
keep its place for ever. So the kernel asks a peer that has been silent for `KEEPALIVE_MS` whether it
is still there, again after each third of that, and ends the connection when `TCP_USER_TIMEOUT_MS` have
passed without an answer (or, where that is 0, with the third question). At the defaults a vanished
peer has left its place within about a minute; the log and the metrics say `peer_reset`.

`TCP_USER_TIMEOUT_MS` counts two more things as silence: data that is not acknowledged, and, on Linux, a
consumer whose receive buffer stays full. A consumer that may pause for longer than that without being
disconnected needs a larger value, and a larger `WRITE_TIMEOUT_MS`.

`produce` and `consume` have the kernel ask in the same way: after 30 s, and every 10 s.
";

const RELOAD: &str = "\
## Settings that change while the broker runs

On SIGHUP (`systemctl reload`) the broker reads `.env` again. `LOG_LEVEL`, `RUST_LOG`,
`DRAIN_TIMEOUT_MS` and `DRAIN_DELAY_MS` are applied at once; the log says what has changed, and names
what has changed in the file and needs a restart. A file that is not allowed changes nothing. A variable
of the environment still wins over `.env`: nobody can change the environment of a process that runs.
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
         A variable that is one or two letters from a setting is a warning at the start with the name\n\
         that was probably meant, and exit code 2 under `--check-config`. What else `.env` holds for\n\
         other programs is named in a warning and ignored. `produce`, `consume` and `health` read the\n\
         same file: `BROKER_ADDR` and `HTTP_PORT`.\n\n\
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
         - With `OVERFLOW=block` and `DELIVERY_MODE=broadcast`, `BROKER_BYTES` is at least\n  \
         `MAX_CONSUMERS` x 1048580 (the largest message and its length): a producer blocks until\n  \
         every consumer has room for its message.\n\
         - In broadcast mode, where `BROKER_BYTES` is less than `MAX_CONSUMERS` x `BACKLOG_BYTES`, the\n  \
         broker warns at the start: consumers that are stuck can use up the room of those that are not.\n\
         - Where `TCP_USER_TIMEOUT_MS` is less than `WRITE_TIMEOUT_MS`, the broker warns at the start: the\n  \
         kernel ends a consumer that is stuck before the broker would.\n\n\
         Colours are used for text on a terminal only, and not where `NO_COLOR` is set.\n\n\
         {MEMORY}\n\
         {PEERS}\n\
         {RELOAD}\n\
         Made from `runtime-tokio/src/settings/table.rs`. To update this page:\n\
         `{UPDATE}`.\n"
    )
    .unwrap();
    text
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
