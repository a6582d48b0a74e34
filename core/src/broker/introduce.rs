//! A connection of version 2 says what it is (PROTOCOL.md, section "Opting in").

use super::{Broker, Output};
use crate::error::{CloseReason, NotTaken, ProtocolError};
use crate::id::{ConnId, GroupId, TopicId};
use crate::names::{TopicFilter, TopicName};
use crate::session::{
    Acks, Confirms, Consumer, Producer, Signals, Speech, State, Version2, Wanted,
};
use crate::store::Storage;
use crate::topic::{Life, Refusals, SHARED_NAME};
use crate::unsettled::Unsettled;
use crate::wire::handshake::{
    Accepted, Answer, BadOption, BadOptionKind, Common, ConsumerOptions, ProducerOptions,
    RoleOptions, Safety, Share, Start,
};
use crate::wire::{MAX_FRAME_BODY, Role};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Why a role line is refused: what is counted, and what the peer is told.
struct Refusal {
    reason: CloseReason,
    text: String,
}

impl From<CloseReason> for Refusal {
    fn from(reason: CloseReason) -> Self {
        Self {
            reason,
            text: String::new(),
        }
    }
}

impl Broker {
    /// A role line of version 2 came.
    pub(super) fn introduce(&mut self, conn: ConnId, options: RoleOptions) {
        if self.has_to_wait(conn, &options) {
            return self.shared.waiting_roles.push((conn, options));
        }
        let introduced = match options {
            RoleOptions::Producer(options) => self.introduce_producer(conn, options),
            RoleOptions::Consumer(options) => self.introduce_consumer(conn, options),
        };
        if let Err(Refusal { reason, text }) = introduced {
            self.refuse_role(conn, reason, text);
        }
    }

    /// A role line came whose options are not allowed.
    pub(super) fn refuse_options(&mut self, conn: ConnId, bad: BadOption) {
        let reason = CloseReason::Protocol(ProtocolError::BadOption(bad.kind));
        self.refuse_role(conn, reason, bad.text);
    }

    /// Answers a role line with an error, and closes.
    pub(super) fn refuse_role(&mut self, conn: ConnId, reason: CloseReason, text: String) {
        let answer = Answer::Error {
            code: reason.as_str().into(),
            text: if text.is_empty() {
                reason.explanation()
            } else {
                text
            },
        };
        let bytes = answer.line().into();
        self.shared
            .outputs
            .push_back(Output::Farewell { conn, bytes });
        self.close(conn, reason);
    }

    fn introduce_producer(
        &mut self,
        conn: ConnId,
        options: ProducerOptions,
    ) -> Result<(), Refusal> {
        let confirms = options.confirm || options.identity.is_some();
        let name = match options.topic {
            Some(name) => name,
            None => self.topics[&self.default_topic].name().clone(),
        };
        // First of all: whoever has no right learns nothing else.
        self.may_produce(conn, &name)
            .map_err(|reason| self.no_right(conn, reason, &name))?;
        self.admit_producer(conn, confirms)?;
        let topic = self
            .topic_for(&name)
            .map_err(|reason| no_topic(reason, &name))?;
        if options.identity.is_some() && self.topics[&topic].is_shared() {
            return Err(cannot_keep(
                "producer",
                &name,
                "it does not keep how far a producer has got",
            ));
        }
        let mut accepted = self.accepted(conn, &options.common, topic);
        let mut producer = Producer::new(topic);
        accepted.safe = Some(match self.topics[&topic].settings.storage {
            Storage::Memory => Safety::Memory,
            Storage::Disk | Storage::RocksDb => Safety::Disk,
            Storage::RabbitMq | Storage::Kafka => Safety::Engine,
        });
        let (mut safe, mut resumed, mut signals) = (0, false, Signals::default());
        if let Some(identity) = options.identity {
            let name = identity.name.clone();
            self.may_take_name(conn, topic, &name)
                .map_err(|reason| Refusal {
                    reason,
                    text: format!("producer {name}: the name belongs to somebody else"),
                })?;
            (safe, resumed) = self.take_over(conn, topic, &identity, &mut signals)?;
            producer.name = Some(name);
            producer.session = identity.session;
            accepted.refused = u32::try_from(signals.refused.len()).ok();
            accepted.refused = accepted.refused.filter(|it| *it > 0);
        }
        accepted.accepted = Some(safe);
        accepted.resumed = Some(resumed);
        if confirms {
            producer.confirms = Some(Confirms::new(safe));
            self.shared.confirming += 1;
        }
        self.use_topic(topic);
        self.begin(
            conn,
            State::Producer(Box::new(producer)),
            &options.common,
            accepted,
            signals,
        );
        // While the broker drains it is asked to finish as those were who came before.
        self.go_away(conn);
        Ok(())
    }

    /// A producer comes under a name: one that is there under it already has to go, unless it was accepted later.
    /// Returns the last position that is safe, and whether its life is known. What was refused of that is to be told.
    fn take_over(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        identity: &crate::wire::handshake::Identity,
        signals: &mut Signals,
    ) -> Result<(u64, bool), CloseReason> {
        let name = &identity.name;
        if let Some(life) = self.topics[&topic].producers.get(name) {
            if life.conn > conn {
                return Err(CloseReason::TakenOver);
            }
            if life.is_connected {
                self.close(life.conn, CloseReason::TakenOver);
            }
        }
        self.forget_producers();
        let now = self.shared.now;
        let known = self.topics[&topic].producers.get(name).cloned();
        if let Some(life) = &known {
            let idle = (life.left, topic, name.clone());
            self.shared.idle_names.remove(&idle);
        }
        let known_owner = known.as_ref().map(|it| it.owner.clone());
        let known = known.filter(|it| it.session == identity.session);
        let is_known = known.is_some();
        let (accepted, refused) = match known {
            Some(life) => (life.accepted, life.refused),
            None => (identity.at - 1, Refusals::default()),
        };
        for (range, reason) in refused.from(identity.at) {
            signals.refuse(range, reason);
        }
        let life = Life {
            session: identity.session.clone(),
            owner: known_owner.unwrap_or_else(|| self.principal_name(conn)),
            accepted,
            storing: 0,
            refused,
            conn,
            is_connected: true,
            left: now,
        };
        let is_new = self.with_topic(topic, |it, _| it.producers.begin(name.clone(), life));
        self.shared.stats.producer_names += usize::from(is_new);
        Ok((accepted, is_known))
    }

    /// Forgets names of producers: those that left too long ago, and the first that left where there are too many.
    pub(super) fn forget_producers(&mut self) {
        let config = &self.shared.config.topics;
        let (most, idle) = (config.max_producer_names, config.producer_idle);
        while let Some((left, topic, name)) = self.shared.idle_names.first() {
            let is_old = idle.is_some_and(|idle| *left + idle <= self.shared.now);
            if !is_old && self.shared.idle_names.len() <= most {
                return;
            }
            if let Some(topic) = self.topics.get_mut(topic) {
                let forgotten = topic.producers.forget(name);
                self.shared.stats.producer_names -= usize::from(forgotten);
            }
            self.shared.idle_names.pop_first();
        }
    }

    fn introduce_consumer(
        &mut self,
        conn: ConnId,
        options: ConsumerOptions,
    ) -> Result<(), Refusal> {
        let filter = match &options.topic {
            Some(filter) => filter.clone(),
            None => TopicFilter::Topic(self.topics[&self.default_topic].name().clone()),
        };
        self.may_consume(conn, &filter, options.group.as_ref())
            .map_err(|reason| self.no_right(conn, reason, &filter))?;
        self.admit_consumer()?;
        let (topics, pattern) = match filter {
            TopicFilter::Topic(name) => {
                let topic = self
                    .topic_for(&name)
                    .map_err(|reason| no_topic(reason, &name))?;
                (Vec::from([topic]), None)
            }
            TopicFilter::Pattern(pattern) if self.shared.config.may_share() => {
                let why = "other brokers may have topics that match, which this one does not know";
                return Err(cannot_keep("topic", &pattern, why));
            }
            TopicFilter::Pattern(pattern) => {
                let matching = self.names.iter().filter(|(name, _)| pattern.matches(name));
                (matching.map(|(_, id)| *id).collect(), Some(pattern))
            }
        };
        for topic in &topics {
            self.check_start(conn, *topic, &options)?;
        }
        let mut accepted = match (&pattern, topics.first()) {
            (None, Some(topic)) => self.accepted(conn, &options.common, *topic),
            _ => self.accepted_without_topic(conn, &options.common),
        };
        let mut consumer = Consumer::new();
        consumer.speech = Some(Box::new(Speech::new(options.check)));
        consumer.acks = options.ack.then(|| {
            Box::new(Acks {
                pinned: 0,
                unsettled: Unsettled::new(),
                prefetch: options.prefetch,
                prefetch_bytes: options.prefetch_bytes,
                workers: options.workers,
                is_alone: false,
                credit_was_set: false,
                said_bye: false,
                settled: self.shared.now,
                timer: None,
            })
        });
        let is_pattern = pattern.is_some();
        consumer.pattern = pattern.map(|pattern| Wanted {
            pattern,
            group: options.group.clone(),
            share: options.share,
        });
        self.become_consumer(conn, consumer);
        if is_pattern {
            self.shared.patterns.insert(conn);
        }
        let mut signals = Signals::default();
        for topic in topics {
            let (group, created) = self.join(
                conn,
                topic,
                options.group.as_ref(),
                Some(options.share),
                options.from,
            )?;
            // Of a group that other brokers share nobody here knows whether it is new.
            if !is_pattern && !self.topics[&topic].is_shared() {
                accepted.created = Some(created);
            }
            if self.topics[&topic].is_shared() && matches!(group, GroupId::Own(_)) {
                // What another broker publishes comes to it once the engine has opened it, and it is told OK then.
                signals.is_held = true;
            }
            if group == GroupId::Shared && !is_pattern {
                accepted.group = crate::names::Name::new(SHARED_NAME).ok();
            }
        }
        accepted.group = options.group.or(accepted.group);
        self.answer(conn, &options.common, accepted, signals);
        if is_pattern {
            self.release_members_of_nothing();
        }
        Ok(())
    }

    /// Why a peer may not do what it asks for, with whom it is taken for.
    fn no_right(&self, conn: ConnId, reason: CloseReason, topics: &impl fmt::Display) -> Refusal {
        let text = match (reason, self.principal_name(conn)) {
            (CloseReason::Forbidden, Some(name)) => {
                format!("topic {topics}: {name} has no right to that")
            }
            _ => String::new(),
        };
        Refusal { reason, text }
    }

    /// Whether a new group can begin where a consumer wants: a topic in memory keeps nothing of what was.
    fn check_start(
        &self,
        conn: ConnId,
        topic: TopicId,
        options: &ConsumerOptions,
    ) -> Result<(), Refusal> {
        let topic = &self.topics[&topic];
        if topic.is_shared() {
            return check_shared(topic.name(), topic.settings.storage, options);
        }
        if topic.find_group(conn, options.group.as_ref()).is_some() {
            return Ok(());
        }
        let next = topic.next_sequence();
        let has = match (options.from, topic.stored()) {
            (Start::New | Start::First | Start::Last, _) | (Start::Time(_), Some(_)) => true,
            (Start::Sequence(sequence), Some(stored)) => {
                (stored.first()..=next).contains(&sequence)
            }
            (Start::Sequence(sequence), None) => sequence == next,
            (Start::Time(at), None) => at >= self.wall_clock(),
        };
        if has {
            return Ok(());
        }
        if let Some(stored) = topic.stored() {
            return Err(Refusal {
                reason: CloseReason::NoHistory,
                text: format!(
                    "from: the topic {} keeps the sequences from {} on, and its next is {next}; allowed: these, new, \
                     first, last, @ and a time",
                    topic.name(),
                    stored.first(),
                ),
            });
        }
        Err(Refusal {
            reason: CloseReason::NoHistory,
            text: format!(
                "from: the topic {} keeps nothing; its next sequence is {}; allowed: new, first, last",
                topic.name(),
                topic.next_sequence()
            ),
        })
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_clock(&self) -> u64 {
        self.shared.wall_clock(self.shared.now)
    }

    fn accepted(&self, conn: ConnId, common: &Common, topic: TopicId) -> Accepted {
        let topic = &self.topics[&topic];
        Accepted {
            topic: Some(topic.name().to_string()),
            epoch: Some(topic.epoch()),
            ..self.accepted_without_topic(conn, common)
        }
    }

    fn accepted_without_topic(&self, conn: ConnId, common: &Common) -> Accepted {
        #[expect(clippy::cast_possible_truncation, reason = "a mebibyte")]
        let max_message = MAX_FRAME_BODY as u32;
        Accepted {
            server: self.shared.config.server.clone(),
            conn: conn.0,
            heartbeat: common.heartbeat,
            max_message,
            ..Accepted::default()
        }
    }

    /// A connection of version 2 is what it asked to be.
    fn begin(
        &mut self,
        conn: ConnId,
        state: State,
        common: &Common,
        accepted: Accepted,
        signals: Signals,
    ) {
        self.shared.session(conn).state = state;
        self.shared.stats.producers += 1;
        self.shared.stats.producers_registered += 1;
        self.answer(conn, common, accepted, signals);
    }

    /// Says OK, and `signals` right behind it.
    fn answer(&mut self, conn: ConnId, common: &Common, accepted: Accepted, signals: Signals) {
        self.clear_role_timer(conn);
        let now = self.shared.now;
        let mut version2 = Version2::new(common.client.clone(), common.heartbeat, now);
        version2.signals = signals;
        version2.signals.answer = Some(Answer::Ok(accepted).line());
        let session = self.shared.session(conn);
        session.version2 = Some(Box::new(version2));
        self.shared.stats.version2 += 1;
        self.shared.stats.introduced += 1;
        let session = self.shared.session(conn);
        let role = match session.state {
            State::Consumer(_) => Role::Consumer,
            State::Producer(_) | State::AwaitingRole { .. } => Role::Producer,
        };
        self.shared
            .outputs
            .push_back(Output::Registered { conn, role });
        self.shared.arm_heartbeat(conn);
        self.shared.flush_signals(conn);
    }
}

/// What a topic cannot keep for a consumer that other brokers share.
fn check_shared(
    topic: &TopicName,
    storage: Storage,
    options: &ConsumerOptions,
) -> Result<(), Refusal> {
    if options.share == Share::One {
        let why = "another broker may have members of the group, too";
        return Err(cannot_keep("share", topic, why));
    }
    let text = match (options.from, storage.has_history()) {
        (Start::New, _) | (Start::First | Start::Last | Start::Time(_), true) => return Ok(()),
        (Start::Sequence(_), true) => format!(
            "from: a sequence of the topic {topic} means nothing to the engine that keeps it; allowed: new, first, last, \
             @ and a time"
        ),
        (_, false) => format!(
            "from: the engine that keeps the topic {topic} has no history for a group that is new; allowed: new"
        ),
    };
    Err(Refusal {
        reason: CloseReason::NoHistory,
        text,
    })
}

/// An option that the engine of a topic cannot keep.
fn cannot_keep(option: &str, topic: &dyn fmt::Display, why: &str) -> Refusal {
    Refusal {
        reason: CloseReason::Protocol(ProtocolError::BadOption(BadOptionKind::Bad)),
        text: format!("{option}: the engine that keeps {topic} cannot do that: {why}"),
    }
}

fn no_topic(reason: NotTaken, name: &TopicName) -> Refusal {
    Refusal {
        reason: reason.into(),
        text: format!("topic {name}: {}", reason.explanation()),
    }
}
