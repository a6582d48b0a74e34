//! The clients that users have: `produce` and `consume`, with `--retry`.

use super::ledger::Given;
use message_queue_tests::process::{command, send_signal};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

const TOPIC: &str = "orders";

/// Exit code of a client that was told to end and has lost nothing.
const TERMINATED: i32 = 143;

/// What a producer that comes and goes has to say, and what one that stays says a second.
const MESSAGES: usize = 50;
const RATE: &str = "300";

/// A member of the group, which writes what it gets.
pub(super) struct Consumer {
    process: Child,
    writing: JoinHandle<()>,
}

impl Consumer {
    pub(super) fn start(addr: &str, ledger: Sender<Given>) -> Self {
        let options = ["--group", "workers", "--ack", "--prefetch", "50", "--retry"];
        let mut process = command(["consume", "--addr", addr, "--topic", TOPIC])
            .args(options)
            .args(["--format", "json", "--meta"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let writing = thread::spawn(move || {
            for line in lines {
                let line: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
                let given = Given {
                    text: line["message"].as_str().expect("a text").to_owned(),
                    attempt: line["attempt"].as_u64().expect("a number"),
                };
                // At the end nobody wants to know.
                let _ = ledger.send(given);
            }
        });
        Self { process, writing }
    }

    /// Ends it in an orderly way. All that it has written is in the ledger then.
    pub(super) fn end(mut self) {
        send_signal(self.process.id(), "TERM");
        let status = self.process.wait().expect("it was started");
        assert_eq!(status.code(), Some(TERMINATED));
        self.writing.join().expect("it has ended");
    }
}

/// Two producers that stay, and one after the other that comes and goes.
pub(super) struct Producers {
    staying: Vec<Staying>,
    coming: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
    confirmed: Arc<Mutex<BTreeSet<String>>>,
}

struct Staying {
    process: Child,
    name: String,
}

impl Producers {
    /// Starts them. Each message begins with this.
    pub(super) fn start(folder: &str, addr: &str, begin: &'static str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let confirmed = Arc::<Mutex<BTreeSet<String>>>::default();
        let coming = thread::spawn({
            let (is_over, confirmed) = (Arc::clone(&is_over), Arc::clone(&confirmed));
            let addr = addr.to_owned();
            move || {
                for producer in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let messages = come_and_go(&addr, &format!("{begin}-{producer}"));
                    confirmed.lock().expect("no panic").extend(messages);
                }
            }
        });
        let staying =
            ["one", "other"].map(|it| Staying::start(folder, addr, format!("{begin}-{it}")));
        Self {
            staying: staying.into(),
            coming,
            is_over,
            confirmed,
        }
    }

    /// What those had confirmed that have come and gone by now.
    pub(super) fn confirmed(&self) -> BTreeSet<String> {
        self.confirmed.lock().expect("no panic").clone()
    }

    /// Ends them in an orderly way. Returns what was confirmed.
    pub(super) fn end(self) -> BTreeSet<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.coming.join().expect("no panic");
        let mut confirmed = self.confirmed.lock().expect("no panic").clone();
        for staying in self.staying {
            confirmed.extend(staying.end());
        }
        confirmed
    }
}

fn message(producer: &str, number: usize) -> String {
    format!("{producer}-{number}")
}

/// A producer that is to be started.
fn produce(addr: &str) -> Command {
    let mut produce = command(["produce", "--addr", addr, "--topic", TOPIC]);
    produce
        .args(["--confirm", "--retry"])
        .stderr(Stdio::piped());
    produce
}

/// A producer that has some messages, and goes when they are confirmed.
fn come_and_go(addr: &str, name: &str) -> Vec<String> {
    let messages: Vec<_> = (0..MESSAGES).map(|it| message(name, it)).collect();
    let process = produce(addr).stdin(Stdio::piped()).spawn();
    let mut process = process.expect("it starts");
    let mut input = process.stdin.take().expect("it is piped");
    let lines = messages.join("\n");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    let output = process.wait_with_output().expect("it was started");
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {says}");
    messages
}

impl Staying {
    fn start(folder: &str, addr: &str, name: String) -> Self {
        // More than it will come to.
        let lines: Vec<_> = (0..100_000).map(|it| message(&name, it)).collect();
        let file = format!("{folder}/{name}.txt");
        fs::write(&file, lines.join("\n")).expect("a file");
        let process = produce(addr).args(["--rate", RATE, &file]).spawn();
        let process = process.expect("it starts");
        Self { process, name }
    }

    /// Ends it. Returns its messages that were confirmed: when it says what it has produced they all are.
    fn end(mut self) -> Vec<String> {
        send_signal(self.process.id(), "TERM");
        let mut says = String::new();
        let mut errors = self.process.stderr.take().expect("it is piped");
        errors.read_to_string(&mut says).expect("UTF-8");
        let status = self.process.wait().expect("it was started");
        assert_eq!(status.code(), Some(TERMINATED), "{}: {says}", self.name);
        let mut lines = says.lines();
        let produced = lines.find_map(|it| it.split_once("produced ")?.1.split(' ').next());
        let produced = produced.expect("it says that").replace(',', "");
        let produced = produced.parse().expect("a number");
        (0..produced).map(|it| message(&self.name, it)).collect()
    }
}
