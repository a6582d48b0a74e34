//! `message-queue log`, on the real binary.

use message_queue_core::log::Stored;
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::Range;
use message_queue_tests::process::{command, run};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;

/// When the first message was published, in milliseconds since 1970.
const PUBLISHED: u64 = 1_764_000_000_000;

#[track_caller]
fn assert_ended(output: &Output, code: i32, says: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{err}{out}");
    let said = format!("{err}{out}");
    assert!(said.contains(says), "it does not say {says:?} but:\n{said}");
    assert!(!err.contains("panicked"), "{err}");
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The stored topic `orders` with messages 1 to 30, three by three, a second apart.
struct Stored30 {
    folder: TempDir,
    export: Vec<u8>,
}

impl Stored30 {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let export = stream(1);
        let stored = Self { folder, export };
        // What is written later says that what came before was safe.
        let (before, last) = stored
            .export
            .split_at(stored.export.len() - stream(28).len());
        let output = stored.feed(&["import", stored.path(), "orders"], before);
        assert_ended(&output, 0, "imported 27 messages");
        let output = stored.feed(&["import", stored.path(), "orders"], last);
        assert_ended(&output, 0, "imported 3 messages");
        stored
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().expect("UTF-8")
    }

    /// A command on the topic.
    fn log(&self, name: &str, args: &[&str]) -> Output {
        run([&["log", name, self.path(), "orders"], args].concat(), &[])
    }

    fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = command([&["log"], args].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that ends before it has read all of it says so by its exit code.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    fn exported(&self, args: &[&str]) -> Vec<u8> {
        let output = self.log("export", args);
        assert_ended(&output, 0, "exported");
        output.stdout
    }

    fn file(&self, suffix: &str) -> PathBuf {
        let topic = self.folder.path().join("topics/orders");
        let mut files = fs::read_dir(topic).expect("a folder");
        let file = files.find_map(|it| {
            let path = it.expect("an entry").path();
            let name = path.to_str().expect("UTF-8");
            name.ends_with(suffix).then_some(path)
        });
        file.expect("it is there")
    }

    /// Changes a byte of the record that holds the message 10.
    fn damage(&self) -> PathBuf {
        let file = self.file(".log");
        let mut bytes = fs::read(&file).expect("it can be read");
        let body = b"message 10";
        let at = bytes.windows(body.len()).position(|it| it == body);
        bytes[at.expect("it is there")] ^= 1;
        fs::write(&file, &bytes).expect("it can be written");
        file
    }
}

/// Three messages.
fn piece(first: u64) -> Stored {
    let bodies: Vec<_> = (first..first + 3)
        .map(|it| format!("message {it}"))
        .collect();
    Stored::Run {
        first,
        published: PUBLISHED + first / 3 * 1000,
        batch: FrameBatch::encode(&bodies).expect("small"),
        producers: Vec::new(),
        origin: None,
    }
}

/// What an export of them is, from this sequence on.
fn stream(first: u64) -> Vec<u8> {
    let pieces = (first..=30).step_by(3).flat_map(|it| piece(it).encode());
    pieces.flat_map(|it| it.to_vec()).collect()
}

/// Everything in a folder, by its path.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).expect("it can be read");
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}

#[test]
fn what_is_exported_is_what_was_imported_in_whole_or_in_part() {
    let stored = Stored30::new();
    assert_eq!(stored.exported(&[]), stored.export);
    assert_eq!(stored.exported(&["--from", "22"]), stream(22));
    let from = format!("@{}", PUBLISHED + 6_500);
    assert_eq!(stored.exported(&["--from", &from]), stream(22));
    let one = piece(4)
        .within(Range { from: 5, to: 5 })
        .expect("it is there");
    let one = one.encode().concat();
    assert_eq!(stored.exported(&["--from", "5", "--to", "5"]), one);

    let file = stored.folder.path().join("orders.mq");
    let file = file.to_str().expect("UTF-8");
    let output = stored.log("export", &["--output", file, "--from", "7"]);
    assert_ended(&output, 0, "exported 24 messages of orders");
    let output = run(["log", "import", stored.path(), "copy", file], &[]);
    assert_ended(&output, 0, "imported 24 messages");
    let output = run(
        ["log", "inspect", stored.path(), "copy", "--format", "json"],
        &[],
    );
    let copy = json(&output);
    assert_eq!((&copy["first"], &copy["next"]), (&1.into(), &25.into()));
    assert_eq!(copy["published"]["first"], "2025-11-24T16:00:02.000Z");
    // Again, behind what is there.
    let output = run(["log", "import", stored.path(), "copy", file], &[]);
    assert_ended(&output, 0, "imported 24 messages");
    let output = run(
        ["log", "inspect", stored.path(), "copy", "--format", "json"],
        &[],
    );
    assert_eq!(json(&output)["next"], 49);
}

#[test]
fn an_export_that_is_damaged_or_is_none_is_imported_as_far_as_it_is_whole() {
    let stored = Stored30::new();
    let mut changed = stored.export.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let cut = &stored.export[..last];
    for (topic, bytes, says, next) in [
        ("a", &changed[..], "damaged", 28),
        ("b", cut, "cut off", 28),
        ("c", b"{\"not\": \"an export\"}", "no CHECK frame", 1),
    ] {
        let output = stored.feed(&["import", stored.path(), topic], bytes);
        assert_ended(&output, 1, says);
        assert_ended(
            &output,
            1,
            &format!("{} messages had been appended", next - 1),
        );
        assert_ended(&output, 1, "standard input");
    }
    let output = run(["log", "import", stored.path(), "orders", "/none"], &[]);
    assert_ended(&output, 1, "cannot read /none");
}

#[test]
fn inspect_says_what_is_there_and_verify_that_it_is_whole_and_neither_changes_it() {
    let stored = Stored30::new();
    let before = contents(&stored.folder.path().join("topics"));
    let output = run(["log", "inspect", stored.path()], &[]);
    assert_ended(&output, 0, "orders");
    let output = stored.log("inspect", &[]);
    assert_ended(&output, 0, "00000000000000000001.log");
    let topic = json(&stored.log("inspect", &["--format", "json"]));
    assert_eq!(
        (&topic["topic"], &topic["next"]),
        (&"orders".into(), &31.into())
    );
    assert_eq!(topic["segments"][0]["first"], 1);
    assert_eq!(
        (&topic["damage"], &topic["groups"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
    let output = stored.log("inspect", &["--records", "--format", "json"]);
    assert_ended(&output, 0, "");
    let text = String::from_utf8(output.stdout).expect("text");
    let records: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).expect("JSON"))
        .collect();
    assert_eq!(records.len(), 11);
    assert_eq!(
        (&records[10]["first"], &records[10]["last"]),
        (&28.into(), &30.into())
    );
    let output = stored.log("inspect", &["--records"]);
    assert_ended(&output, 0, "HOLDS");

    let output = stored.log("verify", &[]);
    assert_ended(&output, 0, "orders: whole; 30 messages in 1 segment");
    let verdict = json(&stored.log("verify", &["--format", "json"]));
    assert_eq!(
        (&verdict["whole"], &verdict["messages"]),
        (&true.into(), &30.into())
    );
    let output = stored.log("repair", &["--yes"]);
    assert_ended(&output, 0, "nothing is to be done");
    assert_eq!(contents(&stored.folder.path().join("topics")), before);
    assert!(!stored.folder.path().join("aside").exists());
}

#[test]
fn a_record_that_is_damaged_is_named_and_a_repair_loses_it_alone_and_keeps_the_file() {
    let stored = Stored30::new();
    let file = stored.damage();
    let damaged = fs::read(&file).expect("it can be read");
    let output = stored.log("verify", &[]);
    assert_ended(&output, 1, "00000000000000000001.log is damaged at byte ");
    assert_ended(&output, 1, "damaged in one place");
    let output = stored.log("export", &[]);
    assert_ended(&output, 1, "log repair");
    assert_ended(&output, 1, "9 messages had been written");

    let topics = stored.folder.path().join("topics");
    let before = contents(&topics);
    let output = stored.log("repair", &[]);
    assert_ended(&output, 1, "lost: messages 10 to 12, 3 in all");
    assert_ended(&output, 1, "would write 00000000000000000001.log");
    assert_ended(&output, 1, "--yes does it");
    assert_eq!(contents(&topics), before, "nothing was done");
    assert!(!stored.folder.path().join("aside").exists());

    let output = stored.log("repair", &["--yes"]);
    assert_ended(&output, 0, "lost: messages 10 to 12, 3 in all");
    assert_ended(&output, 0, "orders: repaired");
    let aside = stored.folder.path().join("aside/orders-1");
    let kept = fs::read(aside.join("00000000000000000001.log"));
    assert_eq!(kept.expect("it is kept"), damaged);
    assert!(!aside.join("new").exists());
    assert_ended(&stored.log("verify", &[]), 0, "whole; 27 messages");
    assert_ended(
        &stored.log("repair", &["--yes"]),
        0,
        "nothing is to be done",
    );

    let gap = Stored::Gap(Range { from: 10, to: 12 }).encode().concat();
    let mut expected = stream(1);
    let after = stream(13);
    let at = expected.len() - stream(10).len();
    expected.truncate(at);
    expected.extend(gap);
    expected.extend(after);
    assert_eq!(stored.exported(&[]), expected);
    // The topic goes on behind what it had.
    let output = stored.feed(&["import", stored.path(), "orders"], &stream(28));
    assert_ended(&output, 0, "imported 3 messages");
    assert_eq!(
        json(&stored.log("inspect", &["--format", "json"]))["next"],
        34
    );
}

#[test]
fn a_journal_that_is_lost_is_made_anew_and_that_is_said() {
    let stored = Stored30::new();
    fs::remove_file(stored.file(".journal")).expect("it is there");
    assert_ended(&stored.log("verify", &[]), 1, "there is no journal");
    let output = stored.feed(&["import", stored.path(), "orders"], &stream(28));
    assert_ended(&output, 1, "no journal says");
    let output = stored.log("repair", &["--yes"]);
    assert_ended(&output, 0, "groups: nothing is known of them");
    assert_ended(&output, 0, "no message that is known of is lost");
    assert_ended(&stored.log("verify", &[]), 0, "whole; 30 messages");
    assert_eq!(stored.exported(&[]), stored.export);
}

#[test]
fn a_repair_that_was_interrupted_is_brought_to_its_end_and_nothing_else_is_done_before() {
    let stored = Stored30::new();
    stored.damage();
    assert_ended(&stored.log("repair", &["--yes"]), 0, "repaired");
    // As if it had ended before the new files had got their places: the journal goes first.
    let topic = stored.folder.path().join("topics/orders");
    let aside = stored.folder.path().join("aside/orders-1");
    fs::create_dir(aside.join("new")).expect("a folder");
    for file in [stored.file(".log"), stored.file(".journal")] {
        let name = file.file_name().expect("it has a name");
        fs::rename(&file, aside.join("new").join(name)).expect("it moves");
    }
    let segment = aside.join("00000000000000000001.log");
    fs::hard_link(segment, topic.join("00000000000000000001.log")).expect("a link");
    for name in ["inspect", "verify", "export"] {
        assert_ended(&stored.log(name, &[]), 1, "a repair was interrupted");
    }
    let output = stored.feed(&["import", stored.path(), "orders"], b"");
    assert_ended(&output, 1, "a repair was interrupted");
    assert_ended(&stored.log("repair", &[]), 1, "would be brought to its end");
    assert_ended(
        &stored.log("repair", &["--yes"]),
        0,
        "nothing is to be done",
    );
    assert_ended(&stored.log("verify", &[]), 0, "whole; 27 messages");
    assert!(!aside.join("new").exists());
}

#[test]
fn what_is_wrong_with_one_topic_does_not_keep_from_the_others() {
    let stored = Stored30::new();
    stored.damage();
    for other in ["a", "z"] {
        let output = stored.feed(&["import", stored.path(), other], &stream(28));
        assert_ended(&output, 0, "imported 3 messages");
    }
    let pending = stored.folder.path().join("aside/a-1/new");
    fs::create_dir_all(pending).expect("a folder");
    let output = run(["log", "verify", stored.path()], &[]);
    for says in ["a: a repair was interrupted", "orders: damaged", "z: whole"] {
        assert_ended(&output, 1, says);
    }
    let output = run(["log", "inspect", stored.path()], &[]);
    assert_ended(&output, 1, "orders");
    assert_ended(&run(["log", "repair", stored.path()], &[]), 1, "z: whole");
    let output = run(["log", "repair", stored.path(), "--yes"], &[]);
    assert_ended(&output, 0, "orders: repaired");
    let output = run(["log", "verify", stored.path()], &[]);
    assert_ended(&output, 0, "a: whole");
}

#[test]
fn what_is_not_there_or_not_allowed_is_named() {
    let stored = Stored30::new();
    let output = run(["log", "verify", stored.path(), "nothing"], &[]);
    assert_ended(&output, 1, "the topic nothing is not stored there");
    let output = run(["log", "verify", "/none"], &[]);
    assert_ended(&output, 1, "/none");
    let lock = stored.folder.path().join("lock");
    let own = std::process::id().to_string();
    fs::write(&lock, &own).expect("it can be written");
    let broker = fs::File::open(&lock).expect("it is there");
    broker.try_lock().expect("nobody has it");
    for name in ["inspect", "verify", "repair", "export"] {
        assert_ended(
            &stored.log(name, &[]),
            1,
            &format!("process {own}; end the broker first"),
        );
    }
    for args in [
        &["log", "verify"][..],
        &["log", "export", stored.path()],
        &["log", "export", stored.path(), "orders", "--from", "new"],
        &["log", "inspect", stored.path(), "--records"],
        &["log", "verify", stored.path(), "a/b"],
    ] {
        assert_eq!(run(args, &[]).status.code(), Some(2), "{args:?}");
    }
}
