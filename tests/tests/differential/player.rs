//! Plays a script to a broker and notes all that can be seen from outside.

use crate::client::{Client, End};
use crate::drivers::Serving;
use crate::script::{Action, Effect, Script};
use message_queue_core::Stats;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for what must happen. Never a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen of a broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// For each connection the bytes that came from the broker, and how it ended.
    pub(crate) connections: Vec<(Vec<u8>, End)>,
    /// The counters after each step in which everybody reads, and at the end.
    pub(crate) stats: Vec<Stats>,
}

struct Player {
    broker: Box<dyn Serving>,
    clients: Vec<Client>,
    /// What the broker is to have counted by now.
    expected: Effect,
}

/// Plays a script to its end, and the broker to its own.
pub(crate) fn play(script: &Script, broker: Box<dyn Serving>) -> Seen {
    let expected = Effect::default();
    let mut player = Player {
        broker,
        clients: Vec::new(),
        expected,
    };
    let mut stats = Vec::new();
    for (number, step) in script.steps.iter().enumerate() {
        for action in &step.actions {
            player.act(action);
        }
        player.expected.frames += step.effect.frames;
        player.expected.outcomes += step.effect.outcomes;
        let settled = player.settle(number, script);
        if player.everybody_reads() {
            stats.push(settled);
        }
    }
    for action in &script.last {
        player.act(action);
    }
    player.broker.drain(script.drain);
    let Player {
        broker,
        mut clients,
        ..
    } = player;
    for client in &mut clients {
        client.reads = true;
    }
    wait_until(
        || {
            clients.iter_mut().for_each(Client::read);
            clients.iter().all(|client| client.end.is_some())
        },
        || format!("{}: a client is not let go in {script:#?}", broker.name()),
    );
    stats.push(broker.join());
    let connections = clients.into_iter().map(|client| {
        let end = client.end.expect("it was waited for");
        (client.received, end)
    });
    Seen {
        connections: connections.collect(),
        stats,
    }
}

impl Player {
    fn act(&mut self, action: &Action) {
        match action {
            Action::Connect => self.clients.push(Client::connect(self.broker.addr())),
            Action::Send(client, bytes) => self.send(*client, &bytes.0),
            Action::StopReading(client) => self.clients[*client].reads = false,
            Action::HalfClose(client) => self.clients[*client].half_close(),
            Action::Reset(client) => self.clients[*client].reset(),
        }
    }

    /// Sends all of it, while everybody else reads.
    fn send(&mut self, client: usize, mut bytes: &[u8]) {
        let name = self.broker.name();
        wait_until(
            || {
                let sent = self.clients[client].send(bytes);
                bytes = &bytes[sent..];
                self.clients.iter_mut().for_each(Client::read);
                bytes.is_empty()
            },
            || format!("{name} does not read from client {client}"),
        );
    }

    /// Waits until all that was to come of the steps so far has come, down to the last byte that a
    /// consumer is to read. From here on what happens is a matter of what is done next alone.
    fn settle(&mut self, number: usize, script: &Script) -> Stats {
        let name = self.broker.name();
        let mut stats = self.broker.stats();
        wait_until(
            || {
                self.clients.iter_mut().for_each(Client::read);
                stats = self.broker.stats();
                self.is_settled(&stats)
            },
            || format!("{name}: step {number} does not come to rest in {script:#?}"),
        );
        stats
    }

    fn everybody_reads(&self) -> bool {
        self.clients.iter().all(|client| client.reads)
    }

    fn is_settled(&self, stats: &Stats) -> bool {
        let Effect { frames, outcomes } = self.expected;
        let registered = stats.producers_registered + stats.consumers_registered;
        let read: usize = self
            .clients
            .iter()
            .map(|client| client.received.len())
            .sum();
        stats.opened == self.clients.len() as u64
            && registered + stats.closed.iter().sum::<u64>() == outcomes
            && stats.received.messages + stats.parked.messages == frames
            && (!self.everybody_reads() || stats.flow.delivered.bytes == read as u64)
            && (!self.everybody_reads()
                || stats.consumers == 0
                || stats.flow.waiting.is_zero() && stats.parked.is_zero())
    }
}

/// Asks until it is so.
#[expect(clippy::disallowed_methods, reason = "a test that fails has to end")]
fn wait_until(mut is_so: impl FnMut() -> bool, otherwise: impl FnOnce() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{}", otherwise());
        thread::yield_now();
    }
}
