//! What connections may do, as it is checked where they ask for it.

use super::Broker;
use crate::access::{Access, GRACE, Principal};
use crate::config::DeliveryMode;
use crate::error::CloseReason;
use crate::id::{ConnId, TopicId};
use crate::names::{Name, TopicFilter, TopicName};
use crate::session::State;
use crate::time::Now;
use crate::timers::Timeout;
use crate::topic::SHARED_NAME;
use alloc::boxed::Box;

impl Broker {
    /// The runtime has found out who a peer is, or that it has other rights now.
    pub(super) fn identify(&mut self, conn: ConnId, mut principal: Principal) {
        self.clear_expiry(conn);
        let over = self.time_is_over(conn);
        if over.is_some() {
            // Whoever was told to go is handed nothing more, so more time would only keep it from its end.
            principal.expires = over;
        }
        self.shared.session(conn).access = Some(Box::new(Access::new(principal)));
        match self.may_go_on(conn) {
            Err(CloseReason::Unauthorized) if over.is_some() => self.ask_to_finish(conn, GRACE),
            Err(reason) => return self.turn_away(conn, reason),
            Ok(()) => {}
        }
        self.arm_expiry(conn);
    }

    /// When the time of a peer of version 2 was over, if it is.
    fn time_is_over(&self, conn: ConnId) -> Option<Now> {
        let session = &self.shared.sessions[&conn];
        let access = session.access.as_ref()?;
        let is_over = session.version2.is_some() && access.is_over(self.shared.now);
        access.principal.expires.filter(|_| is_over)
    }

    /// Ends a connection whose peer is not who it would have to be.
    pub(super) fn turn_away(&mut self, conn: ConnId, reason: CloseReason) {
        if let State::AwaitingRole { .. } = self.shared.session(conn).state {
            return self.refuse_role(conn, reason, alloc::string::String::new());
        }
        self.close(conn, reason);
    }

    /// Whether a connection may send to a topic.
    pub(super) fn may_produce(&self, conn: ConnId, topic: &TopicName) -> Result<(), CloseReason> {
        self.check_right(conn, |it| it.rights.may_produce(topic))
    }

    /// Whether a connection may receive what it asks for.
    pub(super) fn may_consume(
        &self,
        conn: ConnId,
        topics: &TopicFilter,
        group: Option<&Name>,
    ) -> Result<(), CloseReason> {
        self.check_right(conn, |it| {
            // In a queue whoever names no group joins the shared one, which has a name.
            let shared = match topics {
                TopicFilter::Topic(topic) if group.is_none() && self.is_queue(topic) => {
                    Name::new(SHARED_NAME).ok()
                }
                TopicFilter::Topic(_) | TopicFilter::Pattern(_) => None,
            };
            it.rights.may_consume(topics, group.or(shared.as_ref()))
        })
    }

    /// Whether a connection may become a member of the default group of a topic, or of one that it names.
    pub(super) fn may_join(
        &self,
        conn: ConnId,
        topic: TopicId,
        group: Option<&Name>,
    ) -> Result<(), CloseReason> {
        let topic = TopicFilter::Topic(self.topics[&topic].name().clone());
        self.may_consume(conn, &topic, group)
    }

    /// Whether a connection may send under a name: it belongs to the principal that took it first.
    pub(super) fn may_take_name(
        &self,
        conn: ConnId,
        topic: TopicId,
        name: &Name,
    ) -> Result<(), CloseReason> {
        let life = self.topics[&topic].producers.get(name);
        match life {
            Some(life) if life.owner != self.principal_name(conn) => Err(CloseReason::Forbidden),
            Some(_) | None => Ok(()),
        }
    }

    /// The name of who a connection is.
    pub(super) fn principal_name(&self, conn: ConnId) -> Option<Name> {
        let principal = self.shared.sessions[&conn].principal()?;
        Some(principal.name.clone())
    }

    /// A peer's time is over, or it has had its grace.
    pub(super) fn expire_access(&mut self, conn: ConnId) {
        let now = self.shared.now;
        let session = self.shared.session(conn);
        // Who has begun something may bring it to its end. Who waits for an answer has not, and gets this one.
        let has_begun = session.version2.is_some() && !session.awaits_answer();
        let Some(access) = &mut session.access else {
            return;
        };
        access.timer = None;
        let is_told = access.principal.expires.is_some_and(|at| at + GRACE <= now);
        if is_told || !has_begun {
            return self.turn_away(conn, CloseReason::Unauthorized);
        }
        self.ask_to_finish(conn, GRACE);
        self.arm_expiry(conn);
    }

    /// Whether a connection may still do what it does.
    pub(super) fn may_go_on(&self, conn: ConnId) -> Result<(), CloseReason> {
        let session = &self.shared.sessions[&conn];
        match &session.state {
            State::AwaitingRole { .. } => Ok(()),
            State::Producer(producer) => match producer.topic {
                Ok(topic) => self.may_produce(conn, self.topics[&topic].name()),
                // It is told so of each message.
                Err(_) => Ok(()),
            },
            State::Consumer(consumer) => match &consumer.pattern {
                Some(wanted) => {
                    let topics = TopicFilter::Pattern(wanted.pattern.clone());
                    self.may_consume(conn, &topics, wanted.group.as_ref())
                }
                None => consumer.memberships.iter().try_for_each(|membership| {
                    let group = &self.topics[&membership.topic].groups()[&membership.group];
                    self.may_join(conn, membership.topic, group.name())
                }),
            },
        }
    }

    fn check_right(
        &self,
        conn: ConnId,
        allows: impl FnOnce(&Principal) -> bool,
    ) -> Result<(), CloseReason> {
        let session = &self.shared.sessions[&conn];
        let Some(access) = &session.access else {
            return Ok(());
        };
        if !allows(&access.principal) {
            return Err(CloseReason::Forbidden);
        }
        if access.is_over(self.shared.now) {
            return Err(CloseReason::Unauthorized);
        }
        Ok(())
    }

    fn is_queue(&self, topic: &TopicName) -> bool {
        let mode = match self.names.get(topic) {
            Some(id) => self.topics[id].settings.mode,
            None => self.shared.config.topic(topic).mode,
        };
        mode == DeliveryMode::Queue
    }

    fn arm_expiry(&mut self, conn: ConnId) {
        let now = self.shared.now;
        let Some(access) = &mut self.shared.session(conn).access else {
            return;
        };
        let Some(expires) = access.principal.expires else {
            return;
        };
        let due = if expires > now {
            expires
        } else {
            now.max(expires + GRACE)
        };
        access.timer = Some(due);
        self.shared.timers.set(due, Timeout::Expiry(conn));
    }

    fn clear_expiry(&mut self, conn: ConnId) {
        let access = self.shared.session(conn).access.as_mut();
        if let Some(due) = access.and_then(|it| it.timer.take()) {
            self.shared.timers.clear(due, Timeout::Expiry(conn));
        }
    }
}
