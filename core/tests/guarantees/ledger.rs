//! What must be true of every message, by what the broker has been told and has said.

use message_queue_core::ConnId;
use message_queue_core::store::StoredTopic;
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::wire::{FrameReader, Received};
use std::collections::{BTreeMap, BTreeSet};

/// A group, by the name of its topic and its own.
pub(crate) type GroupKey = (String, String);

/// What a message is now, in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// By a connection, at a position.
    Held(ConnId, u64),
    Done,
    GivenUp,
    /// Settled as done or given up; unless it had been taken from who settled it, who had not heard of that yet.
    Perhaps,
}

#[derive(Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<GroupKey, BTreeMap<u64, State>>,
    /// Of each topic, what stands at each sequence.
    sequences: BTreeMap<(String, u64), Vec<u8>>,
    /// Of each topic, which sequences a message has.
    bodies: BTreeMap<(String, Vec<u8>), BTreeSet<u64>>,
    members: BTreeMap<ConnId, Member>,
    /// How often each message was handed out since the broker began.
    attempts: BTreeMap<(GroupKey, u64), u32>,
    /// The highest sequence of a first attempt, by group.
    first_attempts: BTreeMap<GroupKey, u64>,
    pub(crate) redelivered: u64,
    pub(crate) revoked: u64,
}

/// A consumer's connection.
struct Member {
    group: String,
    topic: String,
    acks: bool,
    prefetch: usize,
    may_be_revoked: bool,
    run: (u64, u32),
    /// What was handed out, by position.
    handed: Vec<(GroupKey, u64)>,
    /// How much of that was looked at.
    seen: usize,
}

impl Ledger {
    pub(crate) fn join(
        &mut self,
        conn: ConnId,
        topic: &str,
        group: &str,
        (acks, prefetch): (bool, usize),
        may_be_revoked: bool,
    ) {
        let member = Member {
            group: group.to_owned(),
            topic: topic.to_owned(),
            acks,
            prefetch,
            may_be_revoked,
            run: (0, 0),
            handed: Vec::new(),
            seen: 0,
        };
        self.members.insert(conn, member);
    }

    /// The broker has handed a write to a consumer's socket.
    pub(crate) fn written(&mut self, conn: ConnId, bytes: &[u8], told: &mut FrameReader) {
        told.recv_buf().extend_from_slice(bytes);
        while let Some(received) = told.next().expect("the broker speaks version 2") {
            match received {
                Received::Line(line) => assert!(line.starts_with("OK v=2 "), "{line}"),
                Received::Control(control) => self.told(conn, control),
                Received::Batch(batch) => {
                    for body in batch.bodies() {
                        self.handed_out(conn, &body);
                    }
                }
            }
        }
    }

    fn told(&mut self, conn: ConnId, control: Control) {
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        match control {
            Control::Topic(name) => member.topic = name,
            Control::Run { first, attempt, .. } => member.run = (first, attempt),
            Control::Revoked { ranges, .. } => {
                assert!(member.may_be_revoked);
                for range in ranges {
                    for position in range.from..=range.to {
                        self.released(conn, position);
                        self.revoked += 1;
                    }
                }
            }
            _ => {}
        }
    }

    fn handed_out(&mut self, conn: ConnId, body: &[u8]) {
        let member = self.members.get_mut(&conn).expect("a consumer");
        let (sequence, attempt) = member.run;
        member.run.0 += 1;
        let key = (member.topic.clone(), member.group.clone());
        let topic = key.0.clone();
        let before = self
            .sequences
            .entry((topic.clone(), sequence))
            .or_insert_with(|| body.to_vec());
        assert_eq!(before, body, "{topic} {sequence} is two messages");
        let sequences = self.bodies.entry((topic, body.to_vec())).or_default();
        sequences.insert(sequence);
        let group = self.groups.get(&key);
        let was_had = group.is_some_and(|it| it.contains_key(&sequence));
        // Of what was handed out before a power cut it is not known how often.
        let before = if was_had { attempt - 1 } else { 0 };
        let attempts = self.attempts.entry((key.clone(), sequence));
        let handed_out = attempts.or_insert(before);
        *handed_out += 1;
        assert_eq!(attempt, *handed_out, "{key:?} {sequence}");
        if attempt == 1 {
            let last = self.first_attempts.entry(key.clone()).or_insert(0);
            assert!(sequence > *last, "{key:?}: {sequence} comes behind {last}");
            *last = sequence;
        } else {
            self.redelivered += 1;
        }
        let group = self.groups.entry(key.clone()).or_default();
        let state = group.entry(sequence).or_insert(State::Waiting);
        match *state {
            State::Waiting | State::Perhaps => {}
            // It was taken from who had settled nothing; that is not told yet.
            State::Held(other, _) if self.members[&other].may_be_revoked => {}
            other => panic!("{key:?}: {sequence} is {other:?} and handed to {conn}"),
        }
        let member = self.members.get_mut(&conn).expect("a consumer");
        *state = if member.acks {
            State::Held(conn, member.handed.len() as u64 + 1)
        } else {
            State::Done
        };
        member.handed.push((key, sequence));
        let held = self.held(conn);
        let member = &self.members[&conn];
        // What was taken from it, and it is not told of yet, does not count.
        if member.acks && !member.may_be_revoked {
            assert!(held <= member.prefetch, "{conn} holds {held}");
        }
    }

    /// What a consumer was handed since this was last asked: of which topic, and at which sequence.
    pub(crate) fn take_new(&mut self, conn: ConnId) -> Vec<(String, u64)> {
        let Some(member) = self.members.get_mut(&conn) else {
            return Vec::new();
        };
        let new = member.handed[member.seen..].iter();
        let new = new.map(|(key, sequence)| (key.0.clone(), *sequence));
        let new = new.collect();
        member.seen = member.handed.len();
        new
    }

    /// The broker begins anew, with this. These dead letters are safe.
    pub(crate) fn power_cut(&mut self, found: &[StoredTopic], dead: &BTreeSet<(GroupKey, u64)>) {
        self.attempts.clear();
        let topics = found.iter().map(|it| (it.name.as_str(), it));
        let topics: BTreeMap<&str, &StoredTopic> = topics.collect();
        for (topic, sequence) in self.sequences.keys() {
            let next = topics[topic.as_str()].next;
            assert!(
                *sequence < next,
                "{topic} {sequence} was handed out and is not there"
            );
        }
        for (key, group) in &mut self.groups {
            let groups = &topics[key.0.as_str()].groups;
            let progress = groups.iter().find(|(name, _)| name.as_str() == key.1);
            let (_, progress) = progress.expect("a group is lost");
            let is_settled = |sequence: u64| {
                let mut ranges = progress.settled.iter();
                sequence <= progress.settled_up_to
                    || ranges.any(|it| (it.from..=it.to).contains(&sequence))
            };
            for (sequence, state) in group.iter_mut() {
                if is_settled(*sequence) {
                    let is_dead = dead.contains(&(key.clone(), *sequence));
                    let is_with_nobody = !matches!(state, State::Waiting | State::Held(..));
                    let was_settled = is_dead || is_with_nobody;
                    assert!(
                        was_settled,
                        "{key:?} {sequence}: {state:?} counts as settled"
                    );
                } else {
                    *state = match state {
                        State::Waiting | State::Held(..) => State::Waiting,
                        // It will be handed out again, or will turn up among the dead letters.
                        State::Done | State::GivenUp | State::Perhaps => State::Perhaps,
                    };
                }
            }
            for sequence in 1..topics[key.0.as_str()].next {
                assert!(
                    !is_settled(sequence) || group.contains_key(&sequence),
                    "{key:?} {sequence}: nobody has had it, and it counts as settled"
                );
            }
            self.first_attempts
                .insert(key.clone(), progress.settled_up_to);
        }
        self.members.clear();
    }

    fn held(&self, conn: ConnId) -> usize {
        let groups = self.groups.values().flat_map(BTreeMap::values);
        groups
            .filter(|state| matches!(state, State::Held(holder, _) if *holder == conn))
            .count()
    }

    pub(crate) fn set_prefetch(&mut self, conn: ConnId, prefetch: usize) {
        let held = self.held(conn);
        if let Some(member) = self.members.get_mut(&conn) {
            member.prefetch = prefetch.max(held);
        }
    }

    fn released(&mut self, conn: ConnId, position: u64) {
        self.settle_one(conn, position, State::Waiting);
    }

    fn settle_one(&mut self, conn: ConnId, position: u64, to: State) {
        let member = &self.members[&conn];
        let to = match to {
            State::Done | State::GivenUp if member.may_be_revoked => State::Perhaps,
            to => to,
        };
        let (key, sequence) = member.handed[position as usize - 1].clone();
        let group = self.groups.get_mut(&key).expect("it was handed out");
        let state = group.get_mut(&sequence).expect("it was handed out");
        if *state == State::Held(conn, position) {
            *state = to;
        }
    }

    /// The broker has taken this in from a consumer.
    pub(crate) fn heard(&mut self, conn: ConnId, control: &Control) {
        match control {
            Control::Settle {
                outcome, ranges, ..
            } => {
                let to = match outcome {
                    Outcome::Done => State::Done,
                    Outcome::Return | Outcome::Failed => State::Waiting,
                    Outcome::Reject => State::GivenUp,
                    Outcome::Working => return,
                };
                for range in ranges {
                    for position in range.from..=range.to {
                        self.settle_one(conn, position, to);
                    }
                }
            }
            Control::Credit { messages, .. } => self.set_prefetch(conn, *messages as usize),
            _ => {}
        }
    }

    /// A consumer's connection is gone, and so many messages that were handed to it were not written.
    pub(crate) fn left(&mut self, conn: ConnId, unwritten: usize) {
        if let Some(member) = self.members.get(&conn) {
            // What its socket has not taken goes to others, as if it had not been handed out.
            let at = member.handed.len() - unwritten;
            for (key, sequence) in member.handed[at..].iter().cloned() {
                let group = self.groups.get_mut(&key).expect("it was handed out");
                let state = group.get_mut(&sequence).expect("it was handed out");
                if !member.acks {
                    *state = State::Waiting;
                }
                let attempts = self.attempts.get_mut(&(key.clone(), sequence));
                *attempts.expect("it was handed out") -= 1;
                let last = self.first_attempts.entry(key).or_insert(0);
                *last = (*last).min(sequence - 1);
            }
        }
        for state in self.groups.values_mut().flat_map(BTreeMap::values_mut) {
            if matches!(state, State::Held(holder, _) if *holder == conn) {
                *state = State::Waiting;
            }
        }
    }

    /// In how many places of a topic a message stands that was handed out there.
    pub(crate) fn places(&self, topic: &str, body: &[u8]) -> usize {
        let key = (topic.to_owned(), body.to_vec());
        self.bodies.get(&key).map_or(0, BTreeSet::len)
    }

    /// Where a message stands, for who looks for a fault.
    pub(crate) fn story(&self, topic: &str, body: &[u8]) -> String {
        let mut story = String::new();
        for name in [topic.to_owned(), format!("{topic}.dead")] {
            let sequences = self.bodies.get(&(name.clone(), body.to_vec()));
            for sequence in sequences.into_iter().flatten() {
                for (key, group) in self.groups.iter().filter(|(key, _)| key.0 == name) {
                    let state = group.get(sequence);
                    story.push_str(&format!("{key:?} {sequence} {state:?}; "));
                }
            }
        }
        story
    }

    /// Whether a message was settled as done somewhere: in the group, or as a dead letter of its topic.
    pub(crate) fn is_done(&self, topic: &str, group: &str, body: &[u8]) -> bool {
        let done = |topic: &str, group: &str| {
            let key = (topic.to_owned(), group.to_owned());
            let sequences = self.bodies.get(&(topic.to_owned(), body.to_vec()));
            let Some(states) = self.groups.get(&key) else {
                return false;
            };
            let mut sequences = sequences.into_iter().flatten();
            sequences.any(|it| matches!(states.get(it), Some(State::Done | State::Perhaps)))
        };
        done(topic, group) || done(&format!("{topic}.dead"), "queue")
    }
}
