//! What members are handed, and what becomes of it.

use super::{
    Asks, BACKOFF_MAX, Consumer, Group, GroupName, Message, Model, Origin, dead_letters_of,
    is_dead_letter_topic,
};
use message_queue_core::ConnId;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a consumer says of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The work is done.
    Done,
    /// Not its fault: back at once.
    Return,
    /// It has failed, and waits for so long at least.
    Failed(Duration),
    /// It is dead.
    Reject,
    /// Still at work.
    Working,
}

impl Model {
    /// A consumer connects, and joins a group.
    pub fn consumer_comes(&mut self, conn: ConnId, topic: &str, group: &GroupName, asks: &Asks) {
        let groups = &mut self.topic(topic).groups;
        let group_now = groups.entry(group.clone()).or_default();
        if asks.as_one && group_now.members.is_empty() {
            group_now.active = Some(conn);
        }
        group_now.members.push(conn);
        let consumer = Consumer {
            topic: topic.to_owned(),
            group: group.clone(),
            prefetch: asks.prefetch,
            next: 1,
            held: BTreeMap::new(),
            workers: asks.workers,
            settled: self.now,
            revoked: Vec::new(),
            is_going: false,
        };
        self.consumers.insert(conn, consumer);
        self.let_in_who_waits();
    }

    /// A consumer may hold so many from now on.
    pub fn credit_changes(&mut self, conn: ConnId, messages: usize) {
        self.consumer(conn).prefetch = Some(messages);
        self.hand_out();
    }

    /// How many messages the members of a group may be handed now.
    pub(super) fn credit(&self, topic: &str, name: &GroupName) -> usize {
        let group = &self.topics[topic].groups[name];
        let free = |conn: &ConnId| {
            let consumer = &self.consumers[conn];
            let prefetch = match consumer.prefetch {
                _ if consumer.is_going => 0,
                prefetch => prefetch.unwrap_or(usize::MAX),
            };
            prefetch.saturating_sub(consumer.held.len())
        };
        let members = group.members.iter().filter(|it| group.may_serve(**it));
        let free = members.map(free).fold(0, usize::saturating_add);
        free.saturating_sub(group.on_its_way.len())
    }

    /// Whether a member of a group settles what it is handed.
    pub(super) fn is_settled(&self, topic: &str, name: &GroupName) -> bool {
        let mut members = self.topics[topic].groups[name].members.iter();
        members.any(|it| self.consumers[it].prefetch.is_some())
    }

    pub(super) fn takes_anything(&self, group: &Group) -> bool {
        let mut members = group.members.iter().filter(|it| group.may_serve(**it));
        members.any(|it| self.consumers[it].prefetch.is_none())
    }

    /// The broker has handed a message to a consumer. Returns whether it goes alone.
    ///
    /// # Panics
    /// If it was not to.
    pub fn handed_out(
        &mut self,
        conn: ConnId,
        sequence: u64,
        attempt: u32,
        body: &str,
        origin: Option<&Origin>,
    ) -> bool {
        let consumer = self.consumer(conn);
        let (topic, name) = (consumer.topic.clone(), consumer.group.clone());
        let (prefetch, holds) = (consumer.prefetch, consumer.held.len());
        assert!(
            !consumer.is_going,
            "{conn} is to finish, and is handed {body}"
        );
        assert!(
            prefetch.is_none_or(|it| holds < it),
            "{conn} holds {holds} and is handed {body}, prefetch {prefetch:?}"
        );
        let group = self.group(&topic, &name);
        assert!(
            group.may_serve(conn),
            "{conn} stands by, and is handed {body}"
        );
        let owed = group.on_its_way.remove(&sequence);
        let mut message = owed.unwrap_or_else(|| panic!("{name:?} was not to hand out {sequence}"));
        message.attempts += 1;
        message.handed_out = self.now;
        assert_eq!(
            (attempt, body, origin),
            (message.attempts, &*message.body, message.origin.as_ref())
        );
        let consumer = self.consumer(conn);
        let position = consumer.next;
        consumer.next += 1;
        let goes_alone = message.goes_alone();
        if consumer.prefetch.is_some() {
            consumer.held.insert(position, (sequence, message));
        }
        goes_alone
    }

    /// Each group hands out what waits, oldest first, as far as its members have room. To whom each goes is the broker's
    /// choice.
    pub(super) fn hand_out(&mut self) {
        for (topic, name) in self.all_groups() {
            self.hand_out_in(&topic, &name);
        }
    }

    pub(super) fn hand_out_in(&mut self, topic: &str, name: &GroupName) {
        if self.hand_out_alone(topic, name) {
            return;
        }
        let credit = self.credit(topic, name);
        let group = self.group(topic, name);
        for _ in 0..credit.min(group.ready.len()) {
            let (sequence, message) = group.ready.pop_first().expect("one waits");
            group.on_its_way.insert(sequence, message);
        }
    }

    /// Checks that all has been handed out that was to be.
    ///
    /// # Panics
    /// If that is not so.
    pub fn check_that_all_is_handed_out(&self) {
        for (topic_name, topic) in &self.topics {
            for (name, group) in &topic.groups {
                let missing = &group.on_its_way;
                assert!(
                    missing.is_empty(),
                    "{topic_name}, {name:?}: {missing:?} did not come"
                );
            }
        }
    }

    /// Whether a consumer settles what it is handed.
    pub fn settles(&self, conn: ConnId) -> bool {
        self.consumers
            .get(&conn)
            .is_some_and(|it| it.prefetch.is_some())
    }

    /// Whether the model knows what comes of it when what a consumer holds fails. It does not for dead letters: in time
    /// they would be handed out alone. Nor for what may be too old when it comes back, where several members share:
    /// whether one that is just being sent something is ready for it is the broker's business.
    pub fn may_fail(&self, conn: ConnId) -> bool {
        let consumer = &self.consumers[&conn];
        let topic = &self.topics[&consumer.topic];
        let shares = consumer.group.is_lasting() && topic.groups[&consumer.group].active.is_none();
        let may_be_too_old = shares && topic.rules.max_age.is_some();
        !is_dead_letter_topic(&consumer.topic) && !may_be_too_old
    }

    /// Whether a consumer is a group of its own.
    pub fn is_alone(&self, conn: ConnId) -> bool {
        self.consumers
            .get(&conn)
            .is_some_and(|it| !it.group.is_lasting())
    }

    /// How many messages a consumer was handed in all.
    pub fn was_handed(&self, conn: ConnId) -> u64 {
        self.consumers.get(&conn).map_or(0, |it| it.next - 1)
    }

    /// The positions that a consumer holds.
    pub fn holds(&self, conn: ConnId) -> Vec<u64> {
        let consumer = self.consumers.get(&conn);
        consumer.map_or_else(Vec::new, |it| it.held.keys().copied().collect())
    }

    /// The positions that a consumer has lost because it settled nothing for too long.
    pub fn revoked(&self, conn: ConnId) -> &[u64] {
        &self.consumers[&conn].revoked
    }

    /// A consumer settles these positions. Of those that it does not hold any more nothing comes.
    pub fn settle(&mut self, conn: ConnId, fate: Fate, positions: &[u64]) {
        self.consumer(conn).settled = self.now;
        for position in positions {
            if fate == Fate::Working {
                continue;
            }
            let Some((sequence, message)) = self.consumer(conn).held.remove(position) else {
                continue;
            };
            self.becomes(conn, fate, sequence, message);
        }
        self.let_in_who_waits();
    }

    fn becomes(&mut self, conn: ConnId, fate: Fate, sequence: u64, mut message: Message) {
        let consumer = self.consumer(conn);
        let (topic, name) = (consumer.topic.clone(), consumer.group.clone());
        match fate {
            Fate::Done | Fate::Working => {}
            Fate::Return => {
                self.group(&topic, &name).ready.insert(sequence, message);
            }
            Fate::Reject => self.dies(&topic, &name, sequence, message),
            Fate::Failed(at_least) => {
                message.failures += 1;
                if message.failures >= self.topic(&topic).rules.max_failures {
                    return self.dies(&topic, &name, sequence, message);
                }
                let backoff = Duration::from_millis(10) * 2_u32.pow(message.failures - 1);
                let due = self.now + backoff.min(BACKOFF_MAX).max(at_least);
                self.group(&topic, &name)
                    .delayed
                    .push((due, sequence, message));
            }
        }
    }

    fn dies(&mut self, topic: &str, name: &GroupName, sequence: u64, message: Message) {
        if is_dead_letter_topic(topic) {
            self.group(topic, name).lost += 1;
            return;
        }
        let dead = Message {
            origin: Some(Origin {
                topic: topic.to_owned(),
                sequence,
                group: name.label(),
                failures: message.failures,
            }),
            ..Message::new(message.body)
        };
        self.offer(&dead_letters_of(topic), dead);
    }

    /// A consumer leaves. What it holds goes back; and where it did not say that it goes, the oldest have failed, as many
    /// as it worked on at once.
    pub fn consumer_leaves(&mut self, conn: ConnId, says_so: bool) {
        let workers = self.consumer(conn).workers;
        let mut held = std::mem::take(&mut self.consumer(conn).held);
        if !self.consumer(conn).group.is_lasting() {
            // Its group goes with it, and all that is in it.
            held.clear();
        }
        for (number, (sequence, message)) in held.into_values().enumerate() {
            let fate = match number {
                number if number < workers && !says_so => Fate::Failed(Duration::ZERO),
                _ => Fate::Return,
            };
            self.becomes(conn, fate, sequence, message);
        }
        let gone = self.consumers.remove(&conn).expect("it is connected");
        let groups = &mut self.topic(&gone.topic).groups;
        if gone.group.is_lasting() {
            let group = groups.get_mut(&gone.group).expect("the group is there");
            group.members.retain(|it| *it != conn);
            if group.active == Some(conn) {
                group.active = group.members.first().copied();
            }
        } else {
            groups.remove(&gone.group);
        }
        self.let_in_who_waits();
    }

    pub(super) fn consumer(&mut self, conn: ConnId) -> &mut Consumer {
        self.consumers.get_mut(&conn).expect("it is connected")
    }
}

impl Group {
    fn may_serve(&self, conn: ConnId) -> bool {
        self.active.is_none_or(|active| active == conn)
    }
}
