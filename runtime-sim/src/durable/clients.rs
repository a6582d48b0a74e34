//! The clients, on hosts of their own: the state machines of version 2 over simulated sockets, and the applications that
//! use them.

use super::plan::Actor;
use super::recorder::Recorder;
use crate::full_sim::BROKER;
use crate::full_sim::stage;
use crate::full_sim::strings::Strings;
use crate::guarantees::world::peers::{producer_client, session};
use crate::guarantees::{Asked, Client, Consumer, Event, Producer, WhichGroup};
use crate::plan::Micros;
use crate::rng::{Rng, mix};
use bytes::{Buf, BytesMut};
use message_queue_core::Now;
use message_queue_core::client::{
    ConsumerClient, ConsumerEvent, Delivery, Ended, ProducerClient, ProducerEvent,
};
use message_queue_core::wire::FrameBatch;
use message_queue_core::wire::control::{Control, Outcome};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use turmoil_net::shim::tokio::net::TcpStream;

/// How long it waits for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long it waits for the broker to end the connection too, when it leaves.
const FAREWELL: Duration = Duration::from_secs(5);

/// Once all is healed, everybody acts so often.
const HURRY: Duration = Duration::from_millis(2);

/// The most bytes that are read at once.
const READ: usize = 4096;

/// A client: what outlives its crashes, and the strings that it hangs on.
pub(super) struct Puppet {
    actor: Actor,
    recorder: Recorder,
    /// Where the broker listens.
    port: Rc<Cell<u16>>,
    machine: RefCell<Machine>,
    /// Whether confirmed messages are never lost.
    is_stored: bool,
    rng: RefCell<Rng>,
    /// How many brokers had died before the one that it is connected to.
    deaths: Cell<u64>,
    /// It has waited for its time to start.
    begun: Cell<bool>,
    strings: Strings,
}

enum Machine {
    Producer {
        client: Box<ProducerClient>,
        plan: Producer,
        /// The messages by number, from 1.
        sent: Vec<String>,
    },
    Consumer {
        client: Box<ConsumerClient>,
        plan: Consumer,
        held: VecDeque<Delivery>,
        /// Whether the broker has accepted the connection.
        is_accepted: bool,
        /// Whether something was settled since it last asked whether that is safe.
        has_settled: bool,
        /// How often it has asked that.
        flushes: u64,
    },
}

/// How a connection ended.
enum End {
    /// The client has left, and comes back after so many microseconds.
    Left(Micros),
    Broken,
}

impl Puppet {
    pub(super) fn new(
        actor: Actor,
        recorder: Recorder,
        heartbeat: u16,
        is_stored: bool,
        port: Rc<Cell<u16>>,
    ) -> Rc<Self> {
        let machine = match &actor.client {
            Client::Producer(plan) => Machine::Producer {
                client: Box::new(producer_client(actor.id as usize, plan, 0, heartbeat)),
                plan: plan.clone(),
                sent: Vec::new(),
            },
            Client::Consumer(plan) => Machine::Consumer {
                client: Box::new(ConsumerClient::new(plan.options(heartbeat))),
                plan: plan.clone(),
                held: VecDeque::new(),
                is_accepted: false,
                has_settled: false,
                flushes: 0,
            },
        };
        Rc::new(Self {
            rng: RefCell::new(Rng::new(mix(actor.stream))),
            actor,
            recorder,
            port,
            machine: RefCell::new(machine),
            is_stored,
            deaths: Cell::new(0),
            begun: Cell::new(false),
            strings: Strings::default(),
        })
    }

    fn number(&self) -> usize {
        self.actor.id as usize
    }

    /// As clients know it.
    fn now(&self) -> Now {
        Now::at(Duration::from_micros(self.recorder.now()))
    }

    async fn live(&self) {
        if !self.begun.get() {
            self.strings
                .wait(Duration::from_micros(self.actor.starts_us))
                .await;
            self.begun.set(true);
        }
        loop {
            let connecting = TcpStream::connect((BROKER, self.port.get()));
            let end = match timeout(CONNECT, connecting).await {
                Ok(Ok(stream)) => self.converse(stream).await,
                Ok(Err(_)) | Err(_) => End::Broken,
            };
            self.disconnected();
            if let End::Left(away) = end {
                self.strings.stay_away(away);
            }
            self.strings.wait_to_connect().await;
        }
    }

    /// One connection.
    async fn converse(&self, stream: TcpStream) -> End {
        let Ok(addr) = stream.local_addr() else {
            return End::Broken;
        };
        let asked = self.connected();
        self.recorder.connected(addr, self.number(), asked);
        let (mut reader, mut writer) = split(stream);
        let (mut outgoing, mut incoming) = (BytesMut::new(), [0; READ]);
        let mut acts = Instant::now() + self.pace();
        loop {
            self.strings.until_free().await;
            self.transmit(&mut outgoing);
            if !self.machine.borrow().is_connected() {
                return End::Broken;
            }
            if let Some(away) = self.strings.take_leave() {
                self.say_goodbye(&mut outgoing);
                let farewell = async {
                    writer.write_all(&outgoing).await?;
                    writer.shutdown().await?;
                    while let Ok(bytes @ 1..) = reader.read(&mut incoming).await {
                        self.received(&incoming[..bytes]);
                    }
                    Ok::<(), std::io::Error>(())
                };
                // Whether the broker answers in time or not, the client is gone.
                let _ = timeout(FAREWELL, farewell).await;
                return End::Left(away);
            }
            tokio::select! {
                biased;
                () = self.strings.pulled() => {}
                read = reader.read(&mut incoming) => match read {
                    Ok(bytes @ 1..) => self.received(&incoming[..bytes]),
                    Ok(0) | Err(_) => return End::Broken,
                },
                written = writer.write(&outgoing), if !outgoing.is_empty() => match written {
                    Ok(bytes @ 1..) => outgoing.advance(bytes),
                    Ok(0) | Err(_) => return End::Broken,
                },
                () = sleep_until(acts) => {
                    self.act();
                    acts = Instant::now() + self.pace();
                }
                () = self.timer() => self.handle_timeout(),
            }
        }
    }

    /// The time until its next act.
    fn pace(&self) -> Duration {
        if self.strings.is_healed() {
            HURRY
        } else {
            Duration::from_micros(self.actor.every_us)
        }
    }

    /// Ready when the client has something to do at its time.
    async fn timer(&self) {
        let due = match &*self.machine.borrow() {
            Machine::Producer { client, .. } => client.poll_timeout(),
            Machine::Consumer { client, .. } => client.poll_timeout(),
        };
        match due {
            // A tick at least: its clock goes by ticks.
            Some(due) => sleep(due.since(self.now()).max(crate::hosts::TICK)).await,
            None => std::future::pending().await,
        }
    }

    fn handle_timeout(&self) {
        let now = self.now();
        match &mut *self.machine.borrow_mut() {
            Machine::Producer { client, .. } => client.handle_timeout(now),
            Machine::Consumer { client, .. } => client.handle_timeout(now),
        }
        self.events();
    }

    /// There is a connection. Returns what it asks for.
    fn connected(&self) -> Asked {
        let now = self.now();
        self.deaths.set(self.recorder.deaths());
        match &mut *self.machine.borrow_mut() {
            Machine::Producer { client, plan, .. } => {
                client.connected(now);
                let name = format!("p{}", self.number());
                Asked::ToSend {
                    topic: plan.topic.clone(),
                    life: plan.named.then(|| (name, session(0))),
                    confirms: plan.confirms,
                }
            }
            Machine::Consumer { client, plan, .. } => {
                client.connected(now);
                let group = match plan.group {
                    WhichGroup::Queue => "queue",
                    WhichGroup::Declared | WhichGroup::Extra | WhichGroup::Own => {
                        plan.group_name().unwrap_or_default()
                    }
                };
                Asked::ToReceive {
                    consumer: plan.clone(),
                    group: group.to_owned(),
                }
            }
        }
    }

    fn disconnected(&self) {
        match &mut *self.machine.borrow_mut() {
            Machine::Producer { client, .. } => {
                client.disconnected();
                while client.poll_event().is_some() {}
            }
            Machine::Consumer {
                client,
                held,
                is_accepted,
                has_settled,
                ..
            } => {
                client.disconnected();
                held.clear();
                (*is_accepted, *has_settled) = (false, false);
                while client.poll_event().is_some() {}
            }
        }
    }

    /// What is to be written, behind what was not written yet.
    fn transmit(&self, outgoing: &mut BytesMut) {
        // What waits for room is not asked for.
        if !outgoing.is_empty() {
            return;
        }
        let now = self.now();
        let next = || match &mut *self.machine.borrow_mut() {
            Machine::Producer { client, .. } => client.poll_transmit(now),
            Machine::Consumer { client, .. } => client.poll_transmit(now),
        };
        while let Some(bytes) = next() {
            outgoing.extend_from_slice(&bytes);
        }
        self.flush(outgoing);
    }

    /// A consumer asks now and then whether what it has settled is safe.
    fn flush(&self, outgoing: &mut BytesMut) {
        let Machine::Consumer {
            is_accepted,
            has_settled,
            flushes,
            ..
        } = &mut *self.machine.borrow_mut()
        else {
            return;
        };
        if *is_accepted && *has_settled && self.rng.borrow_mut().chance(40) {
            *has_settled = false;
            *flushes += 1;
            Control::Flush(*flushes).encode(outgoing);
        }
    }

    fn say_goodbye(&self, outgoing: &mut BytesMut) {
        if let Machine::Consumer { client, .. } = &mut *self.machine.borrow_mut() {
            client.leave();
        }
        let now = self.now();
        let last = match &mut *self.machine.borrow_mut() {
            Machine::Consumer { client, .. } => client.poll_transmit(now),
            Machine::Producer { .. } => None,
        };
        outgoing.extend_from_slice(&last.unwrap_or_default());
    }

    fn received(&self, mut bytes: &[u8]) {
        let now = self.now();
        while !bytes.is_empty() {
            let machine = &mut *self.machine.borrow_mut();
            let buffer = match machine {
                Machine::Producer { client, .. } => client.recv_buf(),
                Machine::Consumer { client, .. } => client.recv_buf(),
            };
            let Some(buffer) = buffer else { break };
            let size = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..size]);
            bytes = &bytes[size..];
            match machine {
                Machine::Producer { client, .. } => client.received(now),
                Machine::Consumer { client, .. } => client.received(now),
            }
        }
        self.events();
    }

    /// What a client has to tell its application.
    fn events(&self) {
        let client_number = self.number();
        let mut said = Vec::new();
        let mut ended = None;
        match &mut *self.machine.borrow_mut() {
            Machine::Producer { client, sent, .. } => {
                while let Some(event) = client.poll_event() {
                    match event {
                        ProducerEvent::Confirmed { number, .. } => {
                            let bodies = sent[..number as usize].to_vec();
                            let client = client_number;
                            said.push(if self.recorder.deaths() == self.deaths.get() {
                                Event::Safe { client, bodies }
                            } else {
                                Event::WasSafe { client, bodies }
                            });
                        }
                        ProducerEvent::Refused(range, _) => said.push(Event::NotTaken {
                            client: client_number,
                            bodies: sent[range.from as usize - 1..range.to as usize].to_vec(),
                        }),
                        // In memory they are lost with the broker.
                        ProducerEvent::Lost(_) if !self.is_stored && self.recorder.deaths() > 0 => {
                        }
                        ProducerEvent::Lost(messages) => said.push(Event::Complaint {
                            client: client_number,
                            text: format!("{messages} confirmed messages are lost"),
                        }),
                        ProducerEvent::Ended(why) => ended = Some(why),
                        ProducerEvent::Connected(_)
                        | ProducerEvent::Blocked(..)
                        | ProducerEvent::GoAway { .. } => {}
                    }
                }
            }
            Machine::Consumer {
                client,
                held,
                is_accepted,
                ..
            } => {
                while let Some(event) = client.poll_event() {
                    match event {
                        ConsumerEvent::Delivered(delivery) => held.push_back(delivery),
                        ConsumerEvent::Ended(why) => ended = Some(why),
                        ConsumerEvent::Connected(_) => *is_accepted = true,
                        ConsumerEvent::Gap(..)
                        | ConsumerEvent::Revoked { .. }
                        | ConsumerEvent::Lag(..)
                        | ConsumerEvent::GoAway { .. } => {}
                    }
                }
            }
        }
        if let Some(Ended::Refused(_) | Ended::NotUnderstood(_) | Ended::NoAnswer(_)) = &ended
            && let Some(ended) = ended.filter(|it| !it.may_try_again())
        {
            said.push(Event::Complaint {
                client: client_number,
                text: ended.to_string(),
            });
        }
        for event in said {
            self.recorder.note(event);
        }
    }

    /// What its application does.
    fn act(&self) {
        match self.actor.client {
            Client::Producer(_) => self.produce(),
            Client::Consumer(_) => {
                let times = if self.strings.is_healed() { 3 } else { 1 };
                for _ in 0..times {
                    self.settle();
                }
            }
        }
    }

    fn produce(&self) {
        let Machine::Producer { client, plan, sent } = &mut *self.machine.borrow_mut() else {
            return;
        };
        let mut rng = self.rng.borrow_mut();
        let most = self.actor.messages.saturating_sub(sent.len());
        let count = most.min(rng.within(1..=6) as usize);
        if count == 0 {
            return;
        }
        let number = self.number();
        let bodies = (0..count).map(|place| {
            let size = rng.within(0..=30) as usize;
            format!("{number}-{}-{}", sent.len() + place + 1, "x".repeat(size))
        });
        let bodies: Vec<String> = bodies.collect();
        let batch = FrameBatch::encode(&bodies).expect("small messages");
        if client.send(batch).is_ok() {
            sent.extend(bodies.iter().cloned());
            self.recorder.note(Event::Given {
                client: number,
                topic: plan.topic.clone(),
                named: plan.named,
                confirms: plan.confirms,
                bodies,
            });
        }
    }

    /// A consumer says what became of something that it holds.
    fn settle(&self) {
        let Machine::Consumer {
            client,
            plan,
            held,
            has_settled,
            ..
        } = &mut *self.machine.borrow_mut()
        else {
            return;
        };
        let mut rng = self.rng.borrow_mut();
        let Some(delivery) = held.front() else { return };
        if !plan.ack {
            held.pop_front();
            return;
        }
        let outcome = if plan.fails && !self.strings.is_healed() {
            rng.pick(&[
                Outcome::Done,
                Outcome::Done,
                Outcome::Done,
                Outcome::Return,
                Outcome::Failed,
                Outcome::Reject,
            ])
        } else {
            Outcome::Done
        };
        let (first, last) = (delivery.position(0), delivery.last());
        if rng.chance(25) {
            // One of them is something else.
            let place = rng.next_u64() as usize % delivery.batch.messages();
            let one = delivery.position(place);
            client.settle(outcome, 0, one, one);
            client.settle(Outcome::Done, 0, first, last);
        } else {
            client.settle(outcome, 0, first, last);
        }
        *has_settled = true;
        held.pop_front();
    }
}

impl Machine {
    fn is_connected(&self) -> bool {
        match self {
            Self::Producer { client, .. } => client.is_connected(),
            Self::Consumer { client, .. } => client.is_connected(),
        }
    }
}

impl stage::Puppet for Puppet {
    fn id(&self) -> u32 {
        self.actor.id
    }

    fn run(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { self.live().await })
    }

    fn strings(&self) -> &Strings {
        &self.strings
    }

    fn died(&self) {
        self.disconnected();
    }

    fn is_unfinished(&self) -> bool {
        match &*self.machine.borrow() {
            Machine::Producer { client, sent, .. } => {
                sent.len() < self.actor.messages || !client.is_done()
            }
            Machine::Consumer {
                held, is_accepted, ..
            } => !is_accepted || !held.is_empty(),
        }
    }

    fn is_wanted(&self) -> bool {
        true
    }
}
