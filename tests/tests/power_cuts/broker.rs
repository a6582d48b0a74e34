//! The real binary under the shim.

use message_queue_tests::process::command;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

const SIGKILL: i32 = 9;

/// What a broker is started with.
pub(crate) struct Setup<'a> {
    pub(crate) shim: &'a Path,
    /// What the shim looks at; the data folder is in it.
    pub(crate) disk: &'a Path,
    pub(crate) data: &'a Path,
    pub(crate) journal: &'a Path,
    pub(crate) fsync: &'a str,
    /// The operation at which it is killed; 0: none.
    pub(crate) cut_at: usize,
}

/// A broker that may be killed at any moment.
pub(crate) struct Broker {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    pub(crate) address: Option<SocketAddr>,
}

impl Broker {
    /// Starts it, and waits until it listens or is dead.
    pub(crate) fn start(setup: &Setup<'_>) -> Self {
        let mut serve = command(["serve"]);
        serve
            .envs([
                ("BIND_ADDRESS", "127.0.0.1"),
                ("TCP_PORT", "0"),
                ("HTTP_PORT", "0"),
            ])
            .envs([
                ("LOG_FORMAT", "json"),
                ("STORAGE", "disk"),
                ("SEGMENT_BYTES", "1MiB"),
            ])
            .env("FSYNC", setup.fsync)
            .env("DATA_DIR", setup.data)
            .env("LD_PRELOAD", setup.shim)
            .env("POWER_FOLDER", setup.disk)
            .env("POWER_JOURNAL", setup.journal)
            .env("POWER_CUT_AT", setup.cut_at.to_string());
        let child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        let mut broker = Self {
            child,
            lines,
            log: Vec::new(),
            address: None,
        };
        broker.address = broker.wait_until_it_listens();
        broker
    }

    fn wait_until_it_listens(&mut self) -> Option<SocketAddr> {
        while let Ok(line) = self.lines.recv() {
            let said: Option<Value> = serde_json::from_str(&line).ok();
            self.log.push(line);
            if let Some(said) = said.filter(|it| it["message"] == "listening") {
                let address = said["tcp_address"].as_str().expect("an address");
                return Some(address.parse().expect("an address"));
            }
        }
        None
    }

    /// Ends it, if it is not dead yet.
    ///
    /// # Panics
    /// If it has ended in another way than by being killed.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        let status = self.child.wait().expect("it ends");
        self.log.extend(self.lines.iter());
        let log = self.log.join("\n");
        assert_eq!(status.signal(), Some(SIGKILL), "{status}\n{log}");
    }
}
