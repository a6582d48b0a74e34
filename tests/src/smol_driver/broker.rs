//! The one task that owns the core and every socket's write side.

use super::connection::{Connection, Progress};
use super::reader::Reader;
use super::{Event, Inbox, Socket};
use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Broker, Config, ConnId, Input, Now, Output, Stats};
use smol::channel::{Receiver, Sender};
use smol::future::{FutureExt, pending};
use smol::{Async, LocalExecutor, Timer};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait after the system had no connection to give for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The core and what it needs to act.
pub(super) struct BrokerTask {
    broker: Broker,
    decoder: DecoderConfig,
    started: Instant,
    /// Connections that have not ended.
    connections: BTreeMap<ConnId, Connection>,
    /// Connections with a write that has just been asked for.
    to_write: VecDeque<ConnId>,
    /// Connections that were closed, and what each has taken in all.
    sealed: VecDeque<(ConnId, u64)>,
    last_conn: u64,
    executor: Rc<LocalExecutor<'static>>,
    /// The way back to this task, for those that it starts.
    events: Sender<Event>,
    /// Closed when the orderly end begins: that is how readers learn of it. Nothing is ever sent.
    draining: (Sender<Infallible>, Receiver<Infallible>),
}

impl BrokerTask {
    pub(super) fn new(
        config: Config,
        decoder: DecoderConfig,
        executor: Rc<LocalExecutor<'static>>,
        events: Sender<Event>,
    ) -> Self {
        Self {
            broker: Broker::new(config),
            decoder,
            started: clock(),
            connections: BTreeMap::new(),
            to_write: VecDeque::new(),
            sealed: VecDeque::new(),
            last_conn: 0,
            executor,
            events,
            draining: smol::channel::bounded(1),
        }
    }

    /// Serves until the orderly end is over.
    pub(super) async fn run(mut self, listener: Async<TcpListener>, inbox: Inbox) -> Stats {
        let accepting = accept(listener, self.events.clone());
        let mut accepting = Some(self.executor.spawn(accepting));
        while !self.broker.is_drained() {
            let due = self.broker.poll_timeout();
            if due.is_some_and(|due| due <= self.now()) {
                self.broker.handle_timeout(self.now());
                self.execute();
            } else if let Some(event) = self.next(&inbox, due).await {
                if let Event::Drain(_) = event {
                    // Ends the task, and with it the listener.
                    accepting = None;
                }
                self.take(event);
            }
            while let Some(conn) = self.to_write.pop_front() {
                self.flush(conn);
            }
        }
        drop(accepting);
        self.broker.stats().clone()
    }

    /// The next event; none if it is time to look at the timers.
    async fn next(&self, inbox: &Inbox, due: Option<Now>) -> Option<Event> {
        let timer = async {
            match due {
                Some(due) => Timer::at(self.started + due.since_start()).await,
                None => pending().await,
            };
            None
        };
        // The sender in `self` keeps the channel open.
        let event = async { inbox.0.recv().await.ok() };
        event.or(timer).await
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Accepted(socket) => self.open(socket),
            Event::Input(conn, input) => {
                let is_batch = matches!(input, Input::Batch(_));
                self.feed(conn, input);
                if is_batch && let Some(connection) = self.connections.get_mut(&conn) {
                    connection.batch_taken();
                }
            }
            Event::Writable(conn) => self.to_write.push_back(conn),
            Event::Drain(timeout) => {
                self.draining.0.close();
                self.broker.drain(timeout, self.now());
                self.execute();
            }
            // Whoever asked may have gone.
            Event::Stats(answer) => drop(answer.try_send(self.broker.stats().clone())),
        }
    }

    fn open(&mut self, socket: Socket) {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        let (go_on, permits) = smol::channel::bounded(1);
        let reader = Reader {
            conn,
            socket: Arc::clone(&socket),
            events: self.events.clone(),
            permits,
            draining: self.draining.1.clone(),
        };
        let reading = self.executor.spawn(reader.run(self.decoder));
        self.connections
            .insert(conn, Connection::new(socket, go_on, reading));
        self.feed(conn, Input::Opened);
    }

    fn feed(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now());
        self.execute();
    }

    /// Does what the core asks for, except for writing: a write that is done at once is news for
    /// the core, and the core is to be listened to before it is told more.
    fn execute(&mut self) {
        self.poll_outputs();
        while let Some((conn, written)) = self.sealed.pop_front() {
            let sealed = Input::Sealed { written };
            self.broker.handle_input(conn, sealed, self.now());
            self.poll_outputs();
        }
    }

    fn poll_outputs(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        connection.start(write);
                        self.to_write.push_back(conn);
                    }
                }
                Output::Farewell { conn, bytes } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        connection.say_farewell(&bytes);
                    }
                }
                Output::Close { conn, reason } => {
                    if let Some(connection) = self.connections.remove(&conn) {
                        self.sealed.push_back((conn, connection.close(reason)));
                    }
                }
                Output::Pause { conn } => self.set_paused(conn, true),
                Output::Resume { conn } => self.set_paused(conn, false),
                Output::Registered { .. } | Output::Dropped { .. } => {}
                Output::Store { .. } => unreachable!("no topic is stored here"),
            }
        }
    }

    fn set_paused(&mut self, conn: ConnId, paused: bool) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.set_paused(paused);
        }
    }

    /// Writes what the socket takes and tells the core.
    fn flush(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let (written, progress) = connection.write();
        if let Progress::WouldBlock = progress {
            let (socket, events) = (connection.socket(), self.events.clone());
            connection.set_waiting(self.executor.spawn(async move {
                // A socket that has failed is writable too: the write will tell.
                let _ = socket.writable().await;
                // Nobody is told where the broker has ended.
                let _ = events.send(Event::Writable(conn)).await;
            }));
        }
        self.feed(conn, Input::Written(written));
        if let Progress::Failed = progress {
            self.feed(conn, Input::PeerReset);
        }
    }

    fn now(&self) -> Now {
        Now::at(clock() - self.started)
    }
}

/// Accepts connections for as long as somebody listens.
async fn accept(listener: Async<TcpListener>, events: Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // It fails only for a peer that is gone, and the first read will tell.
                let _ = socket.get_ref().set_nodelay(true);
                if events
                    .send(Event::Accepted(Arc::new(socket)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(_) => {
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reading of this driver's own clock"
)]
fn clock() -> Instant {
    Instant::now()
}
