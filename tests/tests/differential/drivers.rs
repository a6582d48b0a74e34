//! The two brokers, behind one face.

use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, Stats};
use message_queue_tests::smol_driver;
use message_queue_tokio::net::{self, SocketOptions};
use message_queue_tokio::{Handle, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A broker that is serving on loopback, in a thread of its own.
pub(crate) trait Serving {
    /// What to call it.
    fn name(&self) -> &'static str;
    /// Where it takes connections.
    fn addr(&self) -> SocketAddr;
    /// The counters now.
    fn stats(&self) -> Stats;
    /// Begins the orderly end.
    fn drain(&self, timeout: Duration);
    /// Waits for the end: the counters as they stand then.
    fn join(self: Box<Self>) -> Stats;
}

/// Both brokers, with the same settings.
pub(crate) fn both(config: &Config, decoder: DecoderConfig) -> [Box<dyn Serving>; 2] {
    let smol = smol_driver::Server::start(config.clone(), decoder).expect("it listens");
    [
        Box::new(Tokio::start(config.clone(), decoder)),
        Box::new(smol),
    ]
}

struct Tokio {
    addr: SocketAddr,
    handle: Handle,
    thread: JoinHandle<Stats>,
}

impl Tokio {
    fn start(config: Config, decoder: DecoderConfig) -> Self {
        let (sender, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listener =
                    net::listen((Ipv4Addr::LOCALHOST, 0).into(), SocketOptions::default());
                let listener = listener.expect("it listens");
                let addr = listener.local_addr().expect("an address");
                let server = Server::new(config, decoder);
                sender
                    .send((addr, server.handle()))
                    .expect("it is waited for");
                server.serve(listener).await
            })
        });
        let (addr, handle) = started.recv().expect("it starts");
        Self {
            addr,
            handle,
            thread,
        }
    }
}

impl Serving for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn stats(&self) -> Stats {
        self.handle.snapshot().stats
    }

    fn drain(&self, timeout: Duration) {
        self.handle.drain(timeout);
    }

    fn join(self: Box<Self>) -> Stats {
        self.thread.join().expect("the broker has no bug")
    }
}

impl Serving for smol_driver::Server {
    fn name(&self) -> &'static str {
        "smol"
    }

    fn addr(&self) -> SocketAddr {
        self.addr()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn drain(&self, timeout: Duration) {
        self.drain(timeout);
    }

    fn join(self: Box<Self>) -> Stats {
        (*self).join()
    }
}
