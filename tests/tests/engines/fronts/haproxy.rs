//! HAProxy with the configuration that users are given.

use message_queue_tests::process::PATIENCE;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

const CONFIGURATION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/haproxy/one-service.cfg"
);

/// Where clients come, and where it is asked how it is.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) tcp: u16,
    pub(super) http: u16,
}

/// Ports that are free, below those that the system gives out by itself, and others each time.
pub(super) fn ports<const COUNT: usize>() -> [Ports; COUNT] {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 1_000).expect("small");
    let free = || loop {
        let port = 23_000 + process + TAKEN.fetch_add(7, Ordering::Relaxed);
        assert!(port < 32_000, "no port is free");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    };
    std::array::from_fn(|_| Ports {
        tcp: free(),
        http: free(),
    })
}

/// HAProxy, on ports of its own. Ends when dropped.
pub(super) struct HaProxy {
    process: Child,
    ports: Ports,
}

impl HaProxy {
    /// Starts it in front of two brokers. In its folder is what it was started with.
    pub(super) fn start(folder: &str, ports: Ports, brokers: [Ports; 2]) -> Self {
        let mut configuration = fs::read_to_string(CONFIGURATION).expect("it is there");
        let mut put = |from: &str, to: &str| {
            assert_eq!(configuration.matches(from).count(), 1, "{from}");
            configuration = configuration.replace(from, to);
        };
        put(
            "bind 10.0.0.10:9080",
            &format!("bind 127.0.0.1:{}", ports.tcp),
        );
        for (broker, Ports { tcp, http }) in (1..).zip(brokers) {
            let from = format!("server broker{broker} 10.0.0.1{broker}:9080");
            let to = format!("server broker{broker} 127.0.0.1:{tcp} port {http}");
            put(&from, &to);
        }
        // How many brokers are ready is asked by HTTP.
        configuration += &format!(
            "\nfrontend ready\n    mode http\n    bind 127.0.0.1:{}\n    \
             http-request return status 200 content-type text/plain lf-string \"%[nbsrv(message-queue)]\"\n",
            ports.http
        );
        let file = Path::new(folder).join("haproxy.cfg");
        fs::write(&file, configuration).expect("a file");
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("HAProxy is there: apt-get install haproxy");
        Self { process, ports }
    }

    /// Where clients come.
    pub(super) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tcp)
    }

    /// Waits until it has so many brokers that are ready.
    pub(super) fn wait_for(&self, ready: usize) {
        let answer = format!("\r\n\r\n{ready}");
        let has_them = |_| self.ask().is_some_and(|it| it.ends_with(&answer));
        assert!((0..100_000).any(has_them), "there are not {ready} brokers");
    }

    /// What it says to who asks. Before it listens it says nothing.
    fn ask(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports.http)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = String::new();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
