//! Producers that have a name, and come back under it.

use super::{Life, Model, Person, Producer};
use message_queue_core::ConnId;

impl Model {
    /// A producer connects under a name, in a life that it calls `session`. Returns up to which position the broker has
    /// its messages, and who has lost the name to it.
    pub fn named_producer_comes(
        &mut self,
        conn: ConnId,
        topic: &str,
        name: &str,
        session: &str,
        who: Option<&Person>,
    ) -> (u64, Option<ConnId>) {
        self.make(topic);
        let same = |it: &Producer| it.topic == topic && it.name.as_deref() == Some(name);
        let before = self.producers.iter().find(|(_, it)| same(it));
        let before = before.map(|(conn, _)| *conn);
        // What it had sent that waits is not taken in any more.
        if let Some(before) = before {
            self.producers.remove(&before);
            self.topic(topic).leave_line(before);
        }
        let known = self.topic(topic).names.entry(name.to_owned());
        let known = known.or_insert_with(|| Life {
            session: session.to_owned(),
            accepted: 0,
            owner: who.map(|it| it.name.clone()),
        });
        if known.session != session {
            (known.session, known.accepted) = (session.to_owned(), 0);
        }
        let accepted = known.accepted;
        let producer = Producer::new(topic, true, Some(name.to_owned()), accepted);
        self.producers.insert(conn, producer);
        self.let_in_who_waits();
        (accepted, before)
    }

    /// A producer's connection is cut. What the broker has read of it waits for room still, but for a producer with a
    /// name, which will send it again; the rest is gone.
    pub fn producer_is_cut(&mut self, conn: ConnId) {
        let Some(producer) = self.producers.get_mut(&conn) else {
            return;
        };
        producer.waiting.truncate(1);
        producer.has_ended = true;
        if producer.name.is_some() {
            let topic = producer.topic.clone();
            self.producers.remove(&conn);
            self.topic(&topic).leave_line(conn);
        }
        self.let_in_who_waits();
    }
}
