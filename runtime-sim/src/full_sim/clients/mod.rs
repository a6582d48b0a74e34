//! The clients, on hosts of their own, each with a byte-level protocol of its own: one that used
//! the broker's code would share its mistakes.

mod consumer;
mod hostile;
mod producer;
mod session;

use super::recorder::{Act, Recorder};
use super::stage;
use super::strings::Strings;
use crate::plan::{Client, Conduct};
use session::End;
use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

/// A client: what outlives its crashes.
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
    strings: Strings,
    /// Its last connection was turned away for want of a place.
    refused: Cell<bool>,
    /// Its own address in its last connection.
    addr: Cell<Option<SocketAddr>>,
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
            strings: Strings::default(),
            refused: Cell::new(false),
            addr: Cell::new(None),
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
                End::Left(away) => self.strings.wait(Duration::from_micros(away)).await,
                End::Broken => {
                    let addr = self.addr.get();
                    self.refused
                        .set(addr.is_some_and(|addr| self.recorder.was_refused(addr)));
                    self.strings.wait_to_connect().await;
                }
                End::Done => return,
            }
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

    fn strings(&self) -> &Strings {
        &self.strings
    }

    fn died(&self) {
        if let Some(addr) = self.addr.take() {
            self.recorder.act(addr, Act::Gone);
        }
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
