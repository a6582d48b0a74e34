//! A second driver: the same core over smol's TCP.
//!
//! It shares no code with the tokio one and no shape either. There, whoever reads a batch locks the
//! core and writes to idle consumers itself. Here one task owns the core and writes to every socket,
//! and the tasks that read talk to it over a channel (`broker.rs`); writes and the ends of
//! connections are in one order because one task does both. What the two have in common, byte for
//! byte, is therefore the core's doing: `tests/tests/differential.rs`.
//!
//! It runs in one thread of its own, on loopback, and logs nothing.

mod broker;
mod connection;
mod reader;

use broker::BrokerTask;
use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, ConnId, Input, Stats};
use smol::channel::{self, Receiver, Sender};
use smol::{Async, LocalExecutor};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Events that may wait for the broker's task. Whoever has one more waits; the task itself waits
/// for nobody.
const EVENTS: usize = 64;

/// A socket, shared by the task that reads from it and the one that writes to it.
type Socket = Arc<Async<TcpStream>>;

/// What the broker's task is told.
#[derive(Debug)]
enum Event {
    /// A connection was accepted.
    Accepted(Socket),
    /// A reader has something for the core.
    Input(ConnId, Input),
    /// A socket that would have blocked takes bytes again.
    Writable(ConnId),
    /// The orderly end is to begin.
    Drain(Duration),
    /// Somebody wants to know the counters.
    Stats(Sender<Stats>),
}

/// The broker's end of the channel of events. When it goes, if by a panic, what is in the channel
/// goes with it, so that nobody waits for an answer that will not come.
struct Inbox(Receiver<Event>);

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

/// A broker that is serving.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    events: Sender<Event>,
    thread: JoinHandle<Stats>,
}

impl Server {
    /// Serves on a free port of the loopback interface.
    ///
    /// # Errors
    /// Whatever the system says to a new listener.
    ///
    /// # Panics
    /// If the settings do not keep their bounds ([`Config::check`]): in the broker's thread, so the
    /// next call of any method panics.
    pub fn start(config: Config, decoder: DecoderConfig) -> io::Result<Self> {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.get_ref().local_addr()?;
        let (events, inbox) = channel::bounded(EVENTS);
        let outbox = events.clone();
        let thread = thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            let broker = BrokerTask::new(config, decoder, Rc::clone(&executor), outbox);
            smol::block_on(executor.run(broker.run(listener, Inbox(inbox))))
        });
        Ok(Self {
            addr,
            events,
            thread,
        })
    }

    /// Where it takes producers and consumers.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The counters now.
    ///
    /// # Panics
    /// If the broker has ended.
    pub fn stats(&self) -> Stats {
        let (answer, stats) = channel::bounded(1);
        self.tell(Event::Stats(answer));
        stats.recv_blocking().expect("the broker is running")
    }

    /// Begins the orderly end; what is left after `timeout` is dropped and counted.
    ///
    /// # Panics
    /// If the broker has ended.
    pub fn drain(&self, timeout: Duration) {
        self.tell(Event::Drain(timeout));
    }

    /// Waits for the end and returns the counters as they stand then.
    ///
    /// # Panics
    /// If the broker's thread panicked.
    pub fn join(self) -> Stats {
        self.thread.join().expect("the broker has no bug")
    }

    fn tell(&self, event: Event) {
        self.events
            .send_blocking(event)
            .expect("the broker is running");
    }
}
