//! What the driver's lock protects: the core, and who and what it is connected to. Every input is shown to the observer,
//! and what the core asks for is gathered, to be done without the lock.

use crate::operate::report::Loser;
use crate::serve::observe::{Observed, Observer};
use crate::serve::pacing::{Limit, Pacing};
use crate::serve::peer::Peer;
use crate::store::Store;
use bytes::Bytes;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::store::Answer;
use message_queue_core::wire::Role;
use message_queue_core::{
    Broker, CloseReason, Config, ConnId, Count, DEFAULT_TOPIC, DropReason, Input, NeedsRestart,
    Now, Output, Overflow, StoredTopic, TopicChange, TopicId, TopicRule, Write,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the lock protects.
pub(crate) struct Core {
    pub(crate) broker: Broker,
    /// Connections that have not ended.
    pub(crate) peers: BTreeMap<ConnId, Arc<Peer>>,
    next_conn: u64,
    /// The moment that the server sleeps until.
    pub(super) alarm: Option<Now>,
    /// Says when producers are to be read from.
    pub(super) pacing: Pacing,
    /// The topics in which something has happened since that took note of them.
    touched: Vec<TopicId>,
    observer: Option<Box<dyn Observer>>,
    /// Where topics are stored, if any is.
    pub(super) store: Option<Store>,
}

/// Producers are paced where more waits than this part of a write: bulk is, and a few small
/// messages are not. Together with what is unsettled it may be a write.
const PACE_RATIO: usize = 4;

/// What a step of the core has asked for, to be done without its lock.
#[derive(Default)]
pub(super) struct Actions {
    pub(super) writes: Vec<(Arc<Peer>, Write)>,
    pub(super) closes: Vec<Closed>,
    pub(super) registered: Vec<Registered>,
    pub(super) dropped: Vec<Dropped>,
}

/// A connection to be closed, why, and the last that its peer is told.
pub(super) type Closed = (Arc<Peer>, CloseReason, Option<Bytes>);
pub(super) type Registered = (Arc<Peer>, Role);
pub(super) type Dropped = (Loser, DropReason, Count);

impl Core {
    /// A core with what was found in its store, at this moment.
    pub(super) fn new(config: Config, stored: Vec<StoredTopic>, origin: Now) -> Self {
        let pacing = Pacing::new(match config.overflow {
            Overflow::Block => Some(Limit {
                waiting: config.write_bytes / PACE_RATIO,
                held: config.write_bytes,
            }),
            Overflow::Drop | Overflow::Reject | Overflow::DropOldest => None,
        });
        Self {
            broker: Broker::with_stored(config, stored, origin),
            peers: BTreeMap::new(),
            next_conn: 1,
            alarm: None,
            pacing,
            touched: Vec::new(),
            observer: None,
            store: None,
        }
    }

    /// From now on everything is shown to `observer`.
    pub(crate) fn set_observer(&mut self, mut observer: Box<dyn Observer>) {
        observer.begins(&self.broker);
        self.observer = Some(observer);
    }

    /// The name of the next connection.
    pub(super) fn next_conn(&mut self) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        conn
    }

    pub(super) fn handle_input(&mut self, conn: ConnId, input: Input, now: Now) {
        self.show(Observed::Input(conn, &input), now);
        self.touch_topic_of(conn);
        self.broker.handle_input(conn, input, now);
    }

    pub(super) fn answer(&mut self, topic: TopicId, answer: Answer, now: Now) {
        self.show(Observed::Answer(topic, &answer), now);
        self.touched.push(topic);
        self.broker.handle_answer(topic, answer, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.show(Observed::Timeout, now);
        self.broker.handle_timeout(now);
    }

    pub(super) fn drain(&mut self, timeout: Duration, now: Now) {
        self.show(Observed::Drain(timeout), now);
        self.broker.drain(timeout, now);
    }

    pub(super) fn purge(&mut self, now: Now) -> Option<Count> {
        self.show(Observed::Purge, now);
        self.touched.push(DEFAULT_TOPIC);
        self.broker.purge(now)
    }

    pub(super) fn end_group(&mut self, topic: &TopicName, group: &Name, now: Now) -> bool {
        let Some(id) = self.broker.topic_named(topic) else {
            return false;
        };
        let Some(group) = self.broker.group_named(id, group) else {
            return false;
        };
        self.show(Observed::EndGroup(topic, group), now);
        self.touched.push(id);
        self.broker.delete_group(topic, group, now)
    }

    pub(super) fn set_rules(
        &mut self,
        rules: Vec<TopicRule>,
        now: Now,
    ) -> Result<Vec<TopicChange>, NeedsRestart> {
        self.show(Observed::Rules(&rules), now);
        let changes = self.broker.set_rules(rules, now)?;
        // Before it is asked for the topics that these rules have made.
        if let Some(store) = &self.store {
            store.follow(self.broker.config().clone());
        }
        for change in &changes {
            self.touched.extend(self.broker.topic_named(&change.topic));
        }
        Ok(changes)
    }

    pub(super) fn show(&mut self, observed: Observed<'_>, now: Now) {
        if let Some(observer) = &mut self.observer {
            observer.observe(observed, now);
        }
    }

    /// Gathers what the core asks for. What takes no time is done at once.
    pub(super) fn poll_outputs(&mut self, now: Now) -> Actions {
        let mut actions = Actions::default();
        let mut farewell = None;
        while let Some(output) = self.broker.poll_output() {
            self.show(Observed::Output(&output), now);
            match output {
                Output::Write { conn, write } => {
                    if let Some(peer) = self.peers.get(&conn) {
                        actions.writes.push((Arc::clone(peer), write));
                    }
                }
                Output::Farewell { bytes, .. } => farewell = Some(bytes),
                Output::Close { conn, reason } => {
                    let farewell = farewell.take();
                    if let Some(peer) = self.peers.remove(&conn) {
                        actions.closes.push((peer, reason, farewell));
                    }
                }
                Output::Pause { conn } => self.set_paused(conn, true),
                Output::Resume { conn } => {
                    // Maybe in another topic, which waited for bytes that this one has given back.
                    self.touch_topic_of(conn);
                    self.set_paused(conn, false);
                }
                Output::Registered { conn, role } => {
                    self.touch_topic_of(conn);
                    if let Some(peer) = self.peers.get(&conn) {
                        peer.set_role(role);
                        if role == Role::Producer
                            && let Some(topic) = self.broker.topic_of(conn)
                        {
                            peer.set_line(self.pacing.line(topic));
                        }
                        actions.registered.push((Arc::clone(peer), role));
                    }
                }
                Output::Dropped {
                    topic,
                    group,
                    name,
                    reason,
                    count,
                } => {
                    let loser = Loser { topic, group, name };
                    actions.dropped.push((loser, reason, count));
                }
                // In the order in which the core asks: under its lock.
                Output::Store { topic, request } => {
                    if let Some(store) = &self.store {
                        store.ask(topic, request);
                    }
                }
            }
        }
        if let Some(observer) = &mut self.observer {
            observer.step_ended(&self.broker, now);
        }
        actions
    }

    pub(super) fn touch_topic_of(&mut self, conn: ConnId) {
        if self.pacing.is_needed()
            && let Some(topic) = self.broker.topic_of(conn)
            && !self.touched.contains(&topic)
        {
            self.touched.push(topic);
        }
    }

    /// Tells the producers of the topics in which something has happened how they are read from now.
    pub(super) fn pace(&mut self) {
        for topic in self.touched.drain(..) {
            if let Some(view) = self.broker.topic_view(topic) {
                self.pacing.note(topic, view);
            }
        }
    }

    fn set_paused(&self, conn: ConnId, paused: bool) {
        if let Some(peer) = self.peers.get(&conn) {
            peer.set_paused(paused);
        }
    }
}
