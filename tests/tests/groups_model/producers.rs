//! What producers do.

use crate::lockstep::Lockstep;
use crate::script::Script;
use message_queue_core::wire::FrameBatch;
use message_queue_core::{ConnId, DeliveryMode, Overflow};
use message_queue_tests::groups_model::{Person, Told};

impl Lockstep {
    pub(crate) fn publish(&mut self, conn: ConnId, count: usize, script: &Script) {
        let bodies: Vec<String> = (0..count).map(|_| self.body()).collect();
        let topic = self.model.topic_of(conn).to_owned();
        let number = script.rules.iter().position(|it| it.topic == topic);
        let number = number.expect("a topic of the script");
        // Where messages are dropped or refused they come one by one. Of several at a time members have shares, and
        // whether one finds a member before it is dropped depends on those.
        let at_a_time = match (script.rules[number].overflow, script.confirms[number]) {
            (Overflow::Block, _) | (Overflow::Drop | Overflow::DropOldest, true) => count,
            (Overflow::Drop | Overflow::DropOldest, false) | (Overflow::Reject, _) => 1,
        };
        for bodies in bodies.chunks(at_a_time) {
            let batch = FrameBatch::encode(bodies).expect("small messages");
            self.model.publish(conn, bodies.to_vec());
            self.world.send(conn, batch.as_bytes());
            self.compare();
        }
    }

    /// A producer comes. None: it may not.
    pub(crate) fn producer_comes(
        &mut self,
        topic: &str,
        confirms: bool,
        name: Option<(u8, u8)>,
        who: Option<usize>,
        mode: DeliveryMode,
    ) -> Option<ConnId> {
        let confirm = u8::from(confirms);
        let mut line = format!("PRODUCER topic={topic} confirm={confirm} heartbeat=0");
        let name = name.map(|(name, session)| (format!("p{name}"), format!("s{session}")));
        if let Some((name, session)) = &name {
            line += &format!(" producer={name} session={session} at=1");
        }
        let person = who.map(|it| self.people[it].clone());
        let owns = name
            .as_ref()
            .is_none_or(|(name, _)| self.model.may_take_name(person.as_ref(), topic, name));
        let is_let_in = self.model.lets_in(mode);
        let conn = self.connects(who, &line);
        if self.comes_too_late(conn, is_let_in) {
            return None;
        }
        if self.model.may_produce(person.as_ref(), topic) && self.model.is_draining() {
            self.is_refused(conn, "draining");
            return None;
        }
        if !owns || !self.model.may_produce(person.as_ref(), topic) {
            self.is_refused(conn, "forbidden");
            return None;
        }
        match name {
            Some((name, session)) => {
                self.named_producer(conn, topic, &name, &session, person.as_ref());
            }
            None => self.producer(conn, topic, confirms),
        }
        Some(conn)
    }

    fn producer(&mut self, conn: ConnId, topic: &str, confirms: bool) {
        let answer = self.world.answer(conn);
        assert!(answer.starts_with("OK "), "{answer}");
        self.model.producer_comes(conn, topic, confirms);
        self.told.insert(conn, Told::default());
    }

    fn named_producer(
        &mut self,
        conn: ConnId,
        topic: &str,
        name: &str,
        session: &str,
        who: Option<&Person>,
    ) {
        let answer = self.world.answer(conn);
        let (accepted, before) = self
            .model
            .named_producer_comes(conn, topic, name, session, who);
        assert!(
            answer.contains(&format!(" accepted={accepted} ")),
            "{answer}"
        );
        self.seen.resumed += u64::from(accepted > 0);
        if let Some(before) = before {
            assert_eq!(self.world.closed(before), Some("taken_over"));
            self.producers.retain(|_, it| *it != before);
            self.told.remove(&before);
            self.seen.taken_over += 1;
        }
        let told = Told {
            confirmed: accepted,
            ..Told::default()
        };
        self.told.insert(conn, told);
    }

    pub(crate) fn cut_producer(&mut self, place: usize) {
        if let Some(conn) = self.producers.remove(&place) {
            self.model.producer_is_cut(conn);
            self.world.cut(conn);
            self.told.remove(&conn);
        }
    }
}
