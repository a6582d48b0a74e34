//! What is measured: a broker that runs already, or a broker or relay in a process of its own.

use super::certificate::Certificate;
use super::error::BenchError;
use super::handshakes::HANDSHAKERS;
use super::plan::{Plan, Storage, Transport, delivery_name, overflow_name};
use super::usage::{self, Usage};
use crate::client::connect_any;
use message_queue_core::wire::MAX_FRAME;
use rustls::ClientConfig;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
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
    /// Its port for TLS, if it has one.
    tls: Option<TlsTarget>,
    /// Its process, if it is known.
    pid: Option<u32>,
    /// Its process, if it was started here: ended when this is dropped.
    child: Option<Child>,
}

/// Where something speaks TLS.
#[derive(Debug)]
pub(super) struct TlsTarget {
    pub(super) addr: SocketAddr,
    certificate: Certificate,
}

/// The addresses that a log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Addresses {
    tcp: Option<SocketAddr>,
    tls: Option<SocketAddr>,
}

impl TlsTarget {
    /// How clients of it speak TLS.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.certificate.client()
    }
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
                tls: None,
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
        let certificate = match plan.transport {
            Transport::Plain => None,
            Transport::Tls | Transport::PlainBesideTls => Some(Certificate::new().map_err(failed)?),
        };
        match kind {
            Kind::Broker => broker_command(&mut command, plan, certificate.as_ref()),
            Kind::Relay => relay_command(&mut command, plan, certificate.as_ref()),
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
            tls: None,
            pid,
            child: Some(child),
        };
        let log = log.ok_or_else(|| failed("it has no log".to_owned()))?;
        let found = addresses_in(log).map_err(failed)?;
        if let Some(addr) = found.tcp.or(found.tls) {
            target.addr = addr;
        }
        if let (Some(addr), Some(certificate)) = (found.tls, certificate) {
            target.tls = Some(TlsTarget { addr, certificate });
        }
        Ok(target)
    }

    /// Where it listens: its plain port, or the one for TLS if that is all.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it speaks TLS, if it does.
    pub(super) const fn tls(&self) -> Option<&TlsTarget> {
        self.tls.as_ref()
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

fn broker_command(command: &mut Command, plan: &Plan, certificate: Option<&Certificate>) {
    let mut connections = plan.producers + plan.consumers + 1;
    if plan.transport == Transport::PlainBesideTls {
        // Some may not have ended when the next are there.
        connections += 2 * HANDSHAKERS;
    }
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
    if let Some(certificate) = certificate {
        command
            .env("TLS_PORT", "0")
            .env("TLS_CERT_FILE", certificate.cert_file())
            .env("TLS_KEY_FILE", certificate.key_file())
            .env("TLS_CLIENT_AUTH", "off")
            .env_remove("TLS_CLIENT_CA_FILE");
        if plan.transport == Transport::Tls {
            command.env("TCP_PORT", "off");
        }
    }
    match &plan.storage {
        Storage::AsSet => {}
        Storage::Memory => {
            command.env("STORAGE", "memory");
        }
        Storage::Stored(settings) => {
            command.envs(settings.iter().map(|(name, value)| (name, value)));
        }
    }
    if env::var_os("BROKER_BYTES").is_none() {
        // For each consumer one read on its way, and one that waits.
        let bytes = BROKER_BYTES.max(2 * plan.consumers * MAX_FRAME);
        command.env("BROKER_BYTES", bytes.to_string());
    }
}

fn relay_command(command: &mut Command, plan: &Plan, certificate: Option<&Certificate>) {
    command
        .args(["bench-relay", "--mode", delivery_name(plan.delivery)])
        .args(["--consumers", &plan.consumers.to_string()])
        .args(["--read", &plan.relay_read.to_string()]);
    if let Some(certificate) = certificate {
        command
            .arg("--tls-cert")
            .arg(certificate.cert_file())
            .arg("--tls-key")
            .arg(certificate.key_file());
    }
}

/// Waits for the line of the log that tells the addresses, and reads on: a log that nobody reads
/// would hold up whoever writes it.
fn addresses_in(log: ChildStderr) -> Result<Addresses, String> {
    let mut lines = BufReader::new(log).lines();
    let mut last = "it ended at once".to_owned();
    for line in lines.by_ref() {
        let line = line.map_err(|error| error.to_string())?;
        if let Some(found) = addresses(&line) {
            drain(lines).map_err(|error| error.to_string())?;
            return Ok(found);
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

/// The `tcp_address` and `tls_address` that a line of the log tells; none if it tells neither.
fn addresses(line: &str) -> Option<Addresses> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields").unwrap_or(&event);
    let address = |name| fields.get(name)?.as_str()?.parse().ok();
    let found = Addresses {
        tcp: address("tcp_address"),
        tls: address("tls_address"),
    };
    (found != Addresses::default()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_found_in_the_log() {
        let addr = Some(SocketAddr::from(([127, 0, 0, 1], 4242)));
        let plain = Some(Addresses {
            tcp: addr,
            tls: None,
        });
        let nested =
            r#"{"level":"INFO","fields":{"message":"listening","tcp_address":"127.0.0.1:4242"}}"#;
        assert_eq!(addresses(nested), plain);
        assert_eq!(addresses(r#"{"tcp_address":"127.0.0.1:4242"}"#), plain);
        let tls = Some(Addresses {
            tcp: None,
            tls: addr,
        });
        assert_eq!(addresses(r#"{"tls_address":"127.0.0.1:4242"}"#), tls);
        assert_eq!(addresses(r#"{"message":"listening"}"#), None);
        assert_eq!(addresses("TCP_PORT: cannot listen"), None);
    }
}
