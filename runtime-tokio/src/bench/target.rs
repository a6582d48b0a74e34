//! What is measured: a broker that runs already, or a broker or relay in a process of its own.

use super::error::BenchError;
use super::plan::{Plan, Storage, delivery_name, overflow_name};
use super::usage::{self, Usage};
use crate::client::connect_any;
use message_queue_core::wire::MAX_FRAME;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use tokio::runtime::Builder;

/// The broker's own default for `BROKER_BYTES`.
const BROKER_BYTES: usize = 512 << 20;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The broker.
    Broker,
    /// The relay: the yardstick.
    Relay,
}

/// Something to connect to.
#[derive(Debug)]
pub struct Target {
    addr: SocketAddr,
    /// Its process, if it is known.
    pid: Option<u32>,
    /// Its process, if it was started here: ended when this is dropped.
    child: Option<Child>,
}

impl Kind {
    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Relay => "relay",
        }
    }
}

impl Target {
    /// A broker that is there already, at `addr` (`host:port`): of several addresses of that name
    /// the one that answers. Its `pid`, where given and on this machine, tells what it used. Not to
    /// be called from within a runtime: it starts one of its own.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn at(addr: &str, pid: Option<u32>) -> Result<Self, BenchError> {
        let found = Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(connect_any(addr))?.peer_addr());
        match found {
            Ok(addr) => Ok(Self {
                addr,
                pid,
                child: None,
            }),
            Err(source) => Err(BenchError::Connect {
                addr: addr.to_owned(),
                source,
            }),
        }
    }

    /// Starts a broker or a relay for this plan: this same program, on ports of its own. Settings
    /// in the environment that the plan does not decide are the broker's too.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(kind: Kind, plan: &Plan) -> Result<Self, BenchError> {
        let failed = |reason: String| BenchError::Start {
            kind: kind.as_str(),
            reason,
        };
        let program = env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(program);
        match kind {
            Kind::Broker => broker_command(&mut command, plan),
            Kind::Relay => relay_command(&mut command, plan),
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let pid = Some(child.id());
        let log = child.stderr.take();
        let mut target = Self {
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            pid,
            child: Some(child),
        };
        let log = log.ok_or_else(|| failed("it has no log".to_owned()))?;
        target.addr = address_in(log).map_err(failed)?;
        Ok(target)
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What its process has used so far, if that can be read.
    pub(super) fn usage(&self) -> Option<Usage> {
        usage::of_process(self.pid?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; then there is nothing to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn broker_command(command: &mut Command, plan: &Plan) {
    let connections = plan.producers + plan.consumers + 1;
    command
        .arg("serve")
        .env_remove("RUST_LOG")
        .env("LOG_LEVEL", "info")
        .env("LOG_FORMAT", "json")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("TCP_PORT", "0")
        .env("HTTP_PORT", "0")
        .env("DELIVERY_MODE", delivery_name(plan.delivery))
        .env("OVERFLOW", overflow_name(plan.overflow))
        .env("MAX_CONSUMERS", plan.consumers.to_string())
        .env("MAX_CONNECTIONS", connections.to_string());
    match &plan.storage {
        Storage::AsSet => {}
        Storage::Memory => {
            command.env("STORAGE", "memory");
        }
        Storage::Stored {
            engine,
            folder,
            fsync,
        } => {
            command
                .env("STORAGE", engine.setting())
                .env("DATA_DIR", folder)
                .env("FSYNC", fsync);
        }
    }
    if env::var_os("BROKER_BYTES").is_none() {
        // For each consumer one read on its way, and one that waits.
        let bytes = BROKER_BYTES.max(2 * plan.consumers * MAX_FRAME);
        command.env("BROKER_BYTES", bytes.to_string());
    }
}

fn relay_command(command: &mut Command, plan: &Plan) {
    command
        .args(["bench-relay", "--mode", delivery_name(plan.delivery)])
        .args(["--consumers", &plan.consumers.to_string()])
        .args(["--read", &plan.relay_read.to_string()]);
}

/// Waits for the line of the log that tells the address, and reads on: a log that nobody reads
/// would hold up whoever writes it.
fn address_in(log: ChildStderr) -> Result<SocketAddr, String> {
    let mut lines = BufReader::new(log).lines();
    let mut last = "it ended at once".to_owned();
    for line in lines.by_ref() {
        let line = line.map_err(|error| error.to_string())?;
        if let Some(addr) = address(&line) {
            drain(lines).map_err(|error| error.to_string())?;
            return Ok(addr);
        }
        last = line;
    }
    Err(last)
}

fn drain(lines: io::Lines<BufReader<ChildStderr>>) -> io::Result<()> {
    let mut log = lines;
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || log.by_ref().for_each(drop))?;
    Ok(())
}

/// The `tcp_address` that a line of the log tells.
fn address(line: &str) -> Option<SocketAddr> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    fields.get("tcp_address")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let addr = Some(SocketAddr::from(([127, 0, 0, 1], 4242)));
        let nested =
            r#"{"level":"INFO","fields":{"message":"listening","tcp_address":"127.0.0.1:4242"}}"#;
        assert_eq!(address(nested), addr);
        assert_eq!(address(r#"{"tcp_address":"127.0.0.1:4242"}"#), addr);
        assert_eq!(address(r#"{"message":"listening"}"#), None);
        assert_eq!(address("TCP_PORT: cannot listen"), None);
    }
}
