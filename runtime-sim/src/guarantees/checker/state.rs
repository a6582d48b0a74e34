//! What the checker knows: of each message in each group, of each connection, of each producer's name.

use super::engine::Engine;
use super::losses::Losses;
use super::rights::Standing;
use super::rules::Rules;
use super::turns::{Offered, Turn};
use crate::guarantees::history::Asked;
use crate::guarantees::plan::Settings;
use crate::plan::{MILLISECOND, Micros, SECOND};
use message_queue_core::wire::control::Origin;
use message_queue_core::{CloseReason, ConnId};
use std::collections::{BTreeMap, BTreeSet};

/// A group, by the name of its topic and its own.
pub(super) type Key = (String, String);

/// From so many failures on a message is handed out alone.
pub(super) const ALONE_FROM: u32 = 3;

/// The group that is there from the start.
pub(super) const DECLARED: &str = "workers";

pub(super) struct State {
    /// The settings that are in force.
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    /// The engine that topics are kept in, if other brokers share it.
    pub(super) engine: Option<Engine>,
    /// Whose turn it is at the room of each topic.
    pub(super) turns: BTreeMap<String, Turn>,
    /// When the broker was given messages, by topic: one time for each.
    pub(super) times: BTreeMap<String, Vec<Micros>>,
    /// What a producer without confirms has sent in this step.
    pub(super) offered: Option<Offered>,
    pub(super) groups: BTreeMap<Key, Group>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    /// Every message that an application gave to its producer, by its text.
    pub(super) given: BTreeMap<String, Given>,
    /// Of each topic, what stands at each sequence.
    pub(super) sequences: BTreeMap<(String, u64), String>,
    /// The lives of producers: by topic and name.
    pub(super) lives: BTreeMap<(String, String), Life>,
    /// What was given up, by where it was: the group and the sequence.
    pub(super) given_up: BTreeMap<(Key, u64), GivenUp>,
    /// Confirmed messages that no member of the declared group was handed yet, by topic.
    pub(super) safe_and_waiting: BTreeMap<String, BTreeSet<String>>,
    /// Whether the broker asks who its clients are.
    pub(super) asks_who: bool,
    /// Whether an operator's deletion is under way.
    pub(super) is_deleting: bool,
    pub(super) drain_began: Option<Micros>,
    /// Whether the store of the broker has failed: the broker ends.
    pub(super) has_store_failed: bool,
    /// Whether a broker has died.
    pub(super) has_died: bool,
    /// How many messages were dropped because the time for an orderly end ran out.
    pub(super) shut_down: u64,
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) messages: BTreeMap<u64, Message>,
    /// Those that wait.
    pub(super) waiting: BTreeSet<u64>,
    /// How many are held.
    pub(super) held: usize,
    /// The sequence of the next message that was never handed out, once it is known.
    pub(super) next: Option<u64>,
    /// Whether it goes with its only member.
    pub(super) is_own: bool,
    /// Whether a member of it does not settle.
    pub(super) has_unacked: bool,
    /// What it has lost.
    pub(super) losses: Losses,
}

pub(super) struct Message {
    pub(super) stands: Stands,
    /// Whether what was said of it outlives the broker.
    pub(super) is_safe: bool,
    /// How often it was handed out; none: a broker that died knew.
    pub(super) attempts: Option<u32>,
    /// Whether a broker that died knew how often it has failed, and until when it is to wait.
    pub(super) is_unsure: bool,
    pub(super) failures: u32,
    /// It is not handed out before this.
    pub(super) not_before: Micros,
    pub(super) published: Micros,
    /// When it last came back to its group.
    pub(super) came_back: Micros,
}

/// What became of a message in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Waiting,
    /// A member has it, and is to settle it.
    Held(ConnId),
    /// Settled as done; or handed to a member that does not settle.
    Done,
    GivenUp,
    /// It has waited for too long.
    Expired,
    /// Done, given up or waiting: who knew died before it was safe.
    Unknown,
    /// The engine has it again, for whoever comes next: under this sequence it does not come again.
    TakenBack,
}

/// A message that an application gave to its producer.
pub(super) struct Given {
    pub(super) client: usize,
    pub(super) topic: String,
    /// Whether it is to enter once.
    pub(super) named: bool,
    /// Whether its producer asks for confirms.
    pub(super) confirms: bool,
    /// In which step the broker was first given it, and under the how manieth rules.
    pub(super) published: Option<(u64, u64)>,
    /// Whether it is known that there was room for it.
    pub(super) is_in: bool,
    pub(super) is_safe: bool,
    pub(super) is_refused: bool,
    /// Whether its application has forgotten it.
    pub(super) is_forgotten: bool,
    /// Whether it was confirmed by a broker that kept it in memory, and has died.
    pub(super) has_died: bool,
    /// The sequences it stands at.
    pub(super) places: BTreeSet<u64>,
}

/// A message that is to become a dead letter.
pub(super) struct GivenUp {
    pub(super) body: String,
    pub(super) failures: u32,
    pub(super) reason: &'static str,
    /// Its sequence in the dead-letter topic, once it was seen there.
    pub(super) place: Option<u64>,
    /// Whether its group has gone since: it is lost if it still waited for room among the dead letters.
    pub(super) may_be_lost: bool,
    /// Whether a broker has died since: it may have been given up again.
    pub(super) is_unsure: bool,
}

/// The last life of a producer's name.
pub(super) struct Life {
    /// The principal that took the name first.
    pub(super) owner: Option<String>,
    pub(super) session: String,
    pub(super) conn: ConnId,
    /// The highest position that was confirmed.
    pub(super) confirmed: u64,
    /// The highest position that the broker was given.
    pub(super) received: u64,
    /// Whether a broker has died since it was heard of last: what was not confirmed may be forgotten.
    pub(super) is_unsure: bool,
}

/// What a RUN says of the message that comes next.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) sequence: u64,
    pub(super) attempt: u32,
    pub(super) published: Micros,
}

/// A message that a consumer holds.
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) sequence: u64,
    pub(super) bytes: u64,
    pub(super) since: Micros,
}

pub(super) struct Conn {
    pub(super) asked: Asked,
    pub(super) is_accepted: bool,
    pub(super) is_busy: bool,
    pub(super) closed: Option<CloseReason>,
    /// Whether its peer has ended it.
    pub(super) has_ended: bool,
    /// When something last came from it, or it was chosen not to read from it.
    pub(super) heard: Micros,
    /// Since when it is not read from, or is again.
    pub(super) paused: Option<Micros>,
    pub(super) resumed: Option<Micros>,
    pub(super) was_told_blocked: bool,
    pub(super) is_going_away: bool,
    pub(super) standing: Standing,

    /// The topic of the messages that follow.
    pub(super) topic: String,
    /// What is known of the next message.
    pub(super) run: Option<Run>,
    pub(super) origin: Option<Origin>,
    /// Everything that it was handed, in the order of positions, from 1.
    pub(super) handed: Vec<(Key, u64)>,
    /// What it holds, by position.
    pub(super) held: BTreeMap<u64, Held>,
    pub(super) held_bytes: u64,
    pub(super) settled: Micros,
    /// What it has brought to its end, in that order; and how much of it before each FLUSH, by the number of that.
    pub(super) settlements: Vec<(Key, u64)>,
    pub(super) flushes: BTreeMap<u64, usize>,
    pub(super) said_bye: bool,
    /// Positions that were taken from it, and it is not told of yet.
    pub(super) taken_away: BTreeSet<u64>,
    /// In which step that was. Others whose time was over in the same step may have been first.
    pub(super) taken_in: u64,

    /// What it has sent: the last of it has the position `received`.
    pub(super) sent: Vec<String>,
    /// The positions of what it was told is refused.
    pub(super) refused: BTreeSet<u64>,
    /// The position of its last message.
    pub(super) received: u64,
    pub(super) confirmed: u64,
}

impl State {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            rules: Rules::default(),
            engine: Engine::of(settings),
            turns: BTreeMap::new(),
            times: BTreeMap::new(),
            offered: None,
            groups: BTreeMap::new(),
            conns: BTreeMap::new(),
            given: BTreeMap::new(),
            sequences: BTreeMap::new(),
            lives: BTreeMap::new(),
            given_up: BTreeMap::new(),
            safe_and_waiting: BTreeMap::new(),
            asks_who: false,
            is_deleting: false,
            drain_began: None,
            has_store_failed: false,
            has_died: false,
            shut_down: 0,
        }
    }

    /// A connection, which has connected.
    pub(super) fn conn(&mut self, conn: ConnId) -> &mut Conn {
        self.conns.get_mut(&conn).expect("it has connected")
    }

    pub(super) fn group(&mut self, key: &Key) -> &mut Group {
        if !self.groups.contains_key(key) {
            let is_own = key.1.starts_with("own-");
            let from_the_start = key.1 == DECLARED || key.1 == "queue";
            let group = Group {
                next: from_the_start.then_some(1),
                is_own,
                ..Group::default()
            };
            self.groups.insert(key.clone(), group);
        }
        self.groups.get_mut(key).expect("it is there")
    }

    pub(super) fn group_is_gone(&mut self, key: &Key) {
        let given_up = self.given_up.iter_mut();
        let of_this_group = given_up.filter(|((whence, _), _)| whence == key);
        of_this_group.for_each(|(_, given_up)| given_up.may_be_lost = true);
    }

    /// How long a message that has failed so often waits at least.
    pub(super) fn backoff_in(&self, topic: &str, failures: u32) -> Micros {
        let most = if topic.ends_with(".dead") {
            SECOND
        } else {
            self.settings.backoff_max_ms * MILLISECOND
        };
        let doubled = (10 * MILLISECOND) << failures.saturating_sub(1).min(20);
        doubled.min(most).max(10 * MILLISECOND)
    }

    pub(super) fn heartbeat(&self) -> Micros {
        Micros::from(self.settings.heartbeat) * SECOND
    }
}

impl Group {
    /// What becomes of a message that was handed out.
    pub(super) fn set(&mut self, sequence: u64, stands: Stands) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        let is_held = |stands: Stands| usize::from(matches!(stands, Stands::Held(_)));
        self.held -= is_held(message.stands);
        self.held += is_held(stands);
        message.stands = stands;
        if stands == Stands::Waiting {
            self.waiting.insert(sequence);
        } else {
            self.waiting.remove(&sequence);
        }
    }

    pub(super) fn message(&mut self, sequence: u64) -> &mut Message {
        self.messages.get_mut(&sequence).expect("it was handed out")
    }
}

impl Conn {
    pub(super) fn new(asked: &Asked, at: Micros) -> Self {
        let topic = match asked {
            Asked::ToSend { topic, .. } => topic.clone(),
            Asked::ToReceive { consumer, .. } => consumer.topic.clone(),
        };
        Self {
            asked: asked.clone(),
            is_accepted: false,
            is_busy: false,
            closed: None,
            has_ended: false,
            heard: at,
            paused: None,
            resumed: None,
            was_told_blocked: false,
            is_going_away: false,
            standing: Standing::new(),
            topic,
            run: None,
            origin: None,
            handed: Vec::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            settled: at,
            settlements: Vec::new(),
            flushes: BTreeMap::new(),
            said_bye: false,
            taken_away: BTreeSet::new(),
            taken_in: 0,
            sent: Vec::new(),
            refused: BTreeSet::new(),
            received: 0,
            confirmed: 0,
        }
    }

    /// Takes a position out of what it holds.
    pub(super) fn let_go(&mut self, position: u64) -> Option<Held> {
        let held = self.held.remove(&position)?;
        self.held_bytes -= held.bytes;
        Some(held)
    }

    /// The oldest positions that it holds, as many as it works on.
    pub(super) fn works_on(&self) -> Vec<u64> {
        let workers = match &self.asked {
            Asked::ToReceive { consumer, .. } => consumer.workers as usize,
            Asked::ToSend { .. } => 0,
        };
        self.held.keys().take(workers).copied().collect()
    }

    /// Whether it is a member of this group that could be handed any message.
    pub(super) fn is_free(&self) -> bool {
        let may_have = match &self.asked {
            Asked::ToReceive { consumer, .. } => consumer.prefetch > 0,
            Asked::ToSend { .. } => false,
        };
        let is_there = self.is_accepted && self.closed.is_none() && !self.is_going_away;
        may_have && is_there && !self.is_busy && self.held.is_empty()
    }

    /// Whether it is a member of this group.
    pub(super) fn is_member(&self, key: &Key) -> bool {
        match &self.asked {
            Asked::ToReceive { consumer, group } => {
                let pattern = consumer.topic == "jobs.*" && !key.0.ends_with(".dead");
                *group == key.1 && (pattern || consumer.topic == key.0)
            }
            Asked::ToSend { .. } => false,
        }
    }
}
