//! The clients, on hosts of their own, each with a byte-level protocol of its own: one that used
//! the broker's code would share its mistakes.

mod consumer;
mod hostile;
mod producer;
mod session;

use super::recorder::{Act, Recorder};
use super::stage;
use crate::plan::{Client, Conduct, Micros};
use session::End;
use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a client waits until it tries again to connect.
const AGAIN: Duration = Duration::from_millis(150);

/// A client: what outlives its crashes, and the strings that it hangs on.
pub(super) struct Puppet {
    pub(super) client: Client,
    /// The longest role line that the broker takes.
    role_line_bytes: usize,
    recorder: Recorder,
    /// Where the broker listens.
    port: Rc<Cell<u16>>,
    /// The next message to publish.
    next: Cell<u32>,
    /// It has waited for its time to start.
    begun: Cell<bool>,
    /// It is to do nothing.
    stalled: Cell<bool>,
    /// It is to leave, and to come back after so long.
    leave: Cell<Option<Micros>>,
    /// When its connection breaks, it is to come back after so long.
    away: Cell<Option<Micros>>,
    /// All is healed: it hurries.
    healed: Cell<bool>,
    /// Its last connection was turned away for want of a place.
    refused: Cell<bool>,
    /// Its own address in its last connection.
    addr: Cell<Option<SocketAddr>>,
    /// Something of the above has changed.
    pulled: Notify,
}

impl Puppet {
    pub(super) fn new(
        client: Client,
        recorder: Recorder,
        role_line_bytes: usize,
        port: Rc<Cell<u16>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            client,
            role_line_bytes,
            recorder,
            port,
            next: Cell::new(0),
            begun: Cell::new(false),
            stalled: Cell::new(false),
            leave: Cell::new(None),
            away: Cell::new(None),
            healed: Cell::new(false),
            refused: Cell::new(false),
            addr: Cell::new(None),
            pulled: Notify::new(),
        })
    }

    async fn act(&self) {
        if !self.begun.get() {
            sleep(Duration::from_micros(self.client.starts_us)).await;
            self.begun.set(true);
        }
        if let Conduct::Hostile(hostile) = &self.client.conduct {
            return self.misbehave(hostile).await;
        }
        loop {
            let end = match &self.client.conduct {
                Conduct::Producer(producer) => self.produce(producer).await,
                Conduct::Consumer(consumer) => self.consume(consumer).await,
                Conduct::Hostile(_) => End::Done,
            };
            match end {
                End::Left(away) => self.wait(Duration::from_micros(away)).await,
                End::Broken => {
                    let addr = self.addr.get();
                    self.refused
                        .set(addr.is_some_and(|addr| self.recorder.was_refused(addr)));
                    let away = self.away.take();
                    self.wait(away.map_or(AGAIN, Duration::from_micros)).await;
                }
                End::Done => return,
            }
        }
    }

    /// Waits, but no longer once all is healed.
    async fn wait(&self, span: Duration) {
        let until = Instant::now() + span;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = self.pulled.notified() => {}
            }
            if self.healed.get() {
                return sleep(AGAIN.min(span)).await;
            }
        }
    }

    /// Waits for a while between two acts; less if there is something to be done.
    async fn pause(&self, span: Duration) {
        let until = Instant::now() + span;
        while self.leave.get().is_none() && !self.healed.get() {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = self.pulled.notified() => {}
            }
        }
    }

    /// Waits until it may do something.
    async fn until_free(&self) {
        while self.stalled.get() {
            self.pulled.notified().await;
        }
    }
}

impl stage::Puppet for Puppet {
    fn id(&self) -> u32 {
        self.client.id
    }

    fn run(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { self.act().await })
    }

    fn stall(&self, stalled: bool) {
        self.stalled.set(stalled);
        self.pulled.notify_one();
    }

    fn leave(&self, away: Micros) {
        self.leave.set(Some(away));
        self.pulled.notify_one();
    }

    fn stay_away(&self, away: Micros) {
        self.away.set(Some(away));
    }

    fn died(&self) {
        if let Some(addr) = self.addr.take() {
            self.recorder.act(addr, Act::Gone);
        }
    }

    fn heal(&self) {
        self.leave.set(None);
        self.healed.set(true);
        self.stall(false);
    }

    fn is_unfinished(&self) -> bool {
        match &self.client.conduct {
            Conduct::Producer(producer) => {
                self.next.get() < producer.messages && !self.refused.get()
            }
            Conduct::Consumer(_) | Conduct::Hostile(_) => false,
        }
    }

    fn is_wanted(&self) -> bool {
        !matches!(self.client.conduct, Conduct::Hostile(_))
    }
}
