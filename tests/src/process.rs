//! The real binary, started with some settings, and what it says.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long a test waits for something that must happen. Never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The level at which every connection has its lines, however many come in a second.
const EVERY_LINE: &str = "debug";

/// The binary, built from the sources as they are. Built once a test process, by the cargo and in
/// the profile that built the test; `MESSAGE_QUEUE_BIN` names another.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("MESSAGE_QUEUE_BIN") {
            return path.into();
        }
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--package", "message-queue-tokio"]);
        cargo.args(["--bin", "message-queue", "--message-format", "json"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "the binary does not build");
        let messages = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
        let mut executables = messages.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            Some(message.get("executable")?.as_str()?.into())
        });
        executables.next_back().expect("cargo names the binary")
    })
}

/// A command that runs the binary with none of our settings in its environment, in a directory
/// without a `.env` file.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    isolate(&mut command);
    command
}

fn isolate(command: &mut Command) {
    command
        .env_clear()
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null());
}

/// Runs the binary to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, env: &[(&str, &str)]) -> Output {
    command(args)
        .envs(env.iter().copied())
        .output()
        .expect("the binary starts")
}

/// Checks how a command has ended, and that it says so and does not panic.
///
/// # Panics
/// If that is not so.
#[track_caller]
pub fn assert_ended(output: &Output, code: i32, says: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.contains(says), "it does not say {says:?} but:\n{err}");
    assert!(!err.contains("panicked"), "{err}");
}

/// A broker that is running. Killed when dropped.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    log: Arc<Log>,
    tcp: SocketAddr,
    http: SocketAddr,
}

/// What the broker has logged so far.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    grown: Condvar,
    ended: Mutex<bool>,
}

impl Broker {
    /// Starts a broker with these settings, on ports of its own.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = command(["serve"]);
        command.env("LOG_LEVEL", EVERY_LINE);
        Self::spawn(command, settings)
    }

    /// Starts a broker in a directory, whose `.env` it reads; its log is as it is by default.
    pub fn start_in(directory: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = command(["serve"]);
        command.current_dir(directory);
        Self::spawn(command, settings)
    }

    /// Starts a broker that may have no more than this many files and sockets open.
    pub fn start_with_descriptors(limit: u32, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {limit} && exec \"$0\" serve"))
            .arg(binary());
        isolate(&mut command);
        command.env("LOG_LEVEL", EVERY_LINE);
        Self::spawn(command, settings)
    }

    fn spawn(mut command: Command, settings: &[(&str, &str)]) -> Self {
        command.envs([
            ("BIND_ADDRESS", "127.0.0.1"),
            ("TCP_PORT", "0"),
            ("HTTP_PORT", "0"),
        ]);
        command
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().copied());
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::<Log>::default();
        let stderr = child.stderr.take().expect("it is piped");
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || log.follow(stderr)
        });
        let listening = log.wait_for(|line| line["message"] == "listening");
        let addr = |name: &str| -> SocketAddr {
            listening[name]
                .as_str()
                .expect("an address")
                .parse()
                .expect("an address")
        };
        Self {
            tcp: addr("tcp_address"),
            http: addr("http_address"),
            child,
            log,
        }
    }

    /// Where it takes producers and consumers.
    pub const fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it answers operators.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that has sent nothing yet.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// A connection that has sent these bytes.
    pub fn connect_with(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("the broker reads");
        stream
    }

    /// A connection that says `bytes` is reset, before or after it has said them. Of the two calls
    /// one is told of it, and only one: after that, reading sees an ordinary end.
    ///
    /// # Panics
    ///
    /// If it was let in.
    pub fn refuses(&self, bytes: &[u8]) {
        let mut refused = self.connect();
        let told = refused.write_all(bytes);
        let told = told.and_then(|()| refused.read(&mut [0]));
        assert!(told.is_err(), "it was let in: {told:?}");
    }

    /// A consumer that the broker has registered.
    pub fn consumer(&self) -> TcpStream {
        let stream = self.connect_with(b"CONSUMER\n");
        let own = stream.local_addr().expect("an address").to_string();
        self.wait_for_log(|line| line["message"] == "registered" && line["peer"] == own.as_str());
        stream
    }

    /// A producer. Its role line is sent; it counts as registered once its messages arrive.
    pub fn producer(&self) -> TcpStream {
        self.connect_with(b"PRODUCER\n")
    }

    /// The first line of its log, past or to come, that this holds for: an object of its fields.
    pub fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.log.wait_for(wanted)
    }

    /// The reason in the log for which the broker closed, or closes, the connection of `stream`.
    pub fn wait_for_close(&self, stream: &TcpStream) -> String {
        let line = self.wait_for_close_line(stream);
        line["reason"].as_str().expect("a name").to_owned()
    }

    /// The line in the log that says that the broker closed, or closes, the connection of `stream`.
    pub fn wait_for_close_line(&self, stream: &TcpStream) -> Value {
        let own = stream.local_addr().expect("an address").to_string();
        self.wait_for_log(|line| line["peer"] == own.as_str() && line.get("reason").is_some())
    }

    /// Every line of its log so far.
    pub fn log(&self) -> Vec<Value> {
        self.log
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks for a page: the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.http, path)
    }

    /// Makes a request without a body: the status and the body of the answer.
    pub fn request(&self, method: &str, path: &str) -> (u16, String) {
        request(self.http, method, path)
    }

    /// The value of a metric, summed over its labels; `labels` is text that must be in them.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        let values = body.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (found, value) = rest.rsplit_once(' ')?;
            let labelled = found.is_empty() || found.starts_with('{');
            (labelled && found.contains(labels)).then(|| value.parse::<f64>().expect("a number"))
        });
        let values: Vec<f64> = values.collect();
        assert!(!values.is_empty(), "no {name} with {labels:?} in\n{body}");
        values.iter().sum()
    }

    /// Asks for a metric, summed over its labels, until it has this value.
    pub fn wait_for_metric(&self, name: &str, value: f64) {
        self.wait_until(name, |found| found == value);
    }

    /// Waits until this holds of a metric.
    ///
    /// # Panics
    /// If it does not come true.
    pub fn wait_until(&self, name: &str, holds: impl Fn(f64) -> bool) {
        const TRIES: usize = 100_000;
        let mut last = f64::NAN;
        for _ in 0..TRIES {
            last = self.metric(name, "");
            if holds(last) {
                return;
            }
        }
        panic!("{name} stays at {last}");
    }

    /// Sends it a signal by name: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If a line is no event, but for the last one of a broker that has failed, which says why.
    pub fn wait(mut self) -> (ExitStatus, Vec<Value>) {
        let status = self.child.wait().expect("it was started");
        self.log.wait_for_end();
        let log = self.log();
        if status.code() != Some(1) {
            assert!(
                log.iter().all(Value::is_object),
                "not JSON: {:?}",
                log.last()
            );
        }
        (status, log)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn follow(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).lines() {
            let line = line.expect("the log is UTF-8");
            // The last line of a broker that fails is for whoever started it, and so no event.
            let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Value::String(line)) = lines.last() {
                panic!("not a line of JSON: {line}");
            }
            lines.push(event);
            drop(lines);
            self.grown.notify_all();
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.grown.notify_all();
    }

    fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, result) = self
            .grown
            .wait_timeout_while(lines, PATIENCE, |lines| !lines.iter().any(&wanted))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "it is not in the log:\n{lines:#?}");
        lines
            .iter()
            .find(|line| wanted(line))
            .expect("it was there")
            .clone()
    }

    fn wait_for_end(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .grown
            .wait_timeout_while(ended, PATIENCE, |ended| !*ended);
        assert!(
            !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(),
            "its log goes on"
        );
    }
}

/// Sends a process a signal by name: `TERM`, `INT`.
pub fn send_signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

/// Asks for a page over HTTP: the status and the body.
pub fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    request(addr, "GET", path)
}

fn request(addr: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).expect("HTTP is served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n\r\n"
    )
    .expect("the request is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    (status, body.to_owned())
}
