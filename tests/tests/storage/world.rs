//! A broker that stores its topics, and the clients of the command line.

use message_queue_tests::process::{Broker, assert_ended, command, run};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A broker that stores its topics there.
pub(crate) fn start(data: &Path) -> Broker {
    start_with(data, &[])
}

/// The same, with more settings.
pub(crate) fn start_with(data: &Path, settings: &[(&str, &str)]) -> Broker {
    let stored = [
        ("STORAGE", "disk"),
        ("DATA_DIR", text(data)),
        ("SEGMENT_BYTES", "1MiB"),
    ];
    let broker = Broker::start(&[&stored[..], settings].concat());
    wait_until_ready(&broker, 200, "ready\n");
    broker
}

/// Ends it in an orderly way.
#[track_caller]
pub(crate) fn stop(broker: Broker) {
    broker.signal("TERM");
    assert!(broker.wait().0.success());
}

/// A broker that cannot start.
pub(crate) fn refused(settings: &[(&str, &str)]) -> Output {
    let ports = [("TCP_PORT", "0"), ("HTTP_PORT", "0")];
    let address = [("BIND_ADDRESS", "127.0.0.1"), ("LOG_LEVEL", "error")];
    run(["serve"], &[settings, &ports, &address].concat())
}

pub(crate) fn wait_until_ready(broker: &Broker, status: u16, says: &str) {
    let is_so = |_| broker.get("/ready") == (status, says.to_owned());
    assert!((0..100_000).any(is_so), "/ready does not say {says:?}");
}

pub(crate) fn client(broker: &Broker, args: &[&str]) -> Command {
    let mut client = command(args);
    client.args(["--addr", &broker.tcp().to_string(), "--topic", "jobs"]);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    client
}

/// A producer that is sending these lines.
pub(crate) fn produce(broker: &Broker, flags: &[&str], lines: &[String]) -> Child {
    let mut produce = client(broker, &[&["produce"], flags].concat());
    let mut child = produce.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = lines.join("\n");
    stdin.write_all(input.as_bytes()).expect("it reads");
    child
}

#[track_caller]
pub(crate) fn publish(broker: &Broker, flags: &[&str], lines: &[String]) -> Output {
    let output = produce(broker, flags, lines).wait_with_output();
    let output = output.expect("it ends");
    assert_ended(&output, 0, "produced ");
    output
}

#[track_caller]
pub(crate) fn consume(broker: &Broker, flags: &[&str]) -> Vec<String> {
    let output = client(broker, &[&["consume"], flags].concat()).output();
    let output = output.expect("it ends");
    assert_ended(&output, 0, "consumed ");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|it| it.to_string()).collect()
}

/// The only file of the topic `jobs` with this ending.
pub(crate) fn file(data: &Path, ending: &str) -> PathBuf {
    let entries = fs::read_dir(data.join("topics/jobs")).expect("a folder");
    let paths = entries.map(|it| it.expect("a file").path());
    let mut paths = paths.filter(|it| text(it).ends_with(ending));
    let path = paths.next().expect("a file");
    assert_eq!(paths.next(), None);
    path
}

/// What the broker says of the topic `jobs`.
pub(crate) fn topic(broker: &Broker) -> serde_json::Value {
    let (status, page) = broker.get("/topics/jobs");
    assert_eq!(status, 200, "{page}");
    serde_json::from_str(&page).expect("JSON")
}
