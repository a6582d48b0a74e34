//! What connections of version 2 are to be told: at the end of a step, all in one.

use super::Shared;
use crate::broker::Output;
use crate::id::ConnId;
use crate::session::{Session, Version2};
use crate::wire::{Piece, Write};
use alloc::vec;
use core::mem;

impl Shared {
    /// There is something to tell a connection of version 2: at the end of this step, all in one.
    pub(crate) fn signal(&mut self, conn: ConnId) -> Option<&mut Version2> {
        let version2 = self.sessions.get_mut(&conn)?.version2.as_mut()?;
        if self.to_tell.last() != Some(&conn) {
            self.to_tell.push(conn);
        }
        Some(version2)
    }

    /// The connections that there may be something to tell.
    pub(crate) fn next_to_tell(&mut self) -> Option<ConnId> {
        self.to_tell.pop()
    }

    /// Counts anew what is on its way to a connection of version 2.
    pub(super) fn count_on_its_way(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let counted = session.on_its_way();
        if let Some(version2) = &mut session.version2 {
            let before = mem::replace(&mut version2.counted, counted);
            self.stats.writing += counted.messages;
            self.stats.writing -= before.messages;
            self.stats.saying = self.stats.saying + counted.said - before.said;
        }
    }

    /// Tells a connection of version 2 what it is yet to be told, if its socket is free.
    pub(crate) fn flush_signals(&mut self, conn: ConnId) {
        let session = self.sessions.get(&conn);
        if session.is_some_and(|it| it.version2.is_some()) {
            self.tell(conn);
            self.count_on_its_way(conn);
        }
    }

    fn tell(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        if session.outbox.is_busy() || session.is_closing() {
            return;
        }
        let Some(version2) = &mut session.version2 else {
            return;
        };
        let Some(bytes) = version2.take_signals(now) else {
            return;
        };
        let write = Write::new(vec![Piece::Control(bytes)]);
        session.outbox.start(write.clone(), None, now);
        self.arm_write_timer(conn);
        self.outputs.push_back(Output::Write { conn, write });
        self.has_heard(conn);
    }

    /// A topic has saved what a consumer had settled there when it sent this FLUSH.
    pub(crate) fn note_flushed(&mut self, conn: ConnId, number: u64) {
        let consumer = self.sessions.get_mut(&conn).and_then(Session::consumer_mut);
        let Some(consumer) = consumer else { return };
        let mut flushes = consumer.flushes.iter_mut();
        if let Some((_, topics)) = flushes.find(|(it, topics)| *it == number && *topics > 0) {
            *topics -= 1;
        }
        let mut flushed = None;
        while let Some((number, _)) = consumer.flushes.pop_front_if(|(_, topics)| *topics == 0) {
            flushed = Some(number);
        }
        if let Some(number) = flushed
            && let Some(version2) = self.signal(conn)
        {
            version2.signals.flushed = Some(number);
        }
    }
}
