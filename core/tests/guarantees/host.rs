//! The broker's side: what a driver does.

use crate::clients::Client;
use crate::link::Link;
use crate::world::World;
use message_queue_core::wire::control::Link as Way;
use message_queue_core::wire::{Decoded, FrameReader};
use message_queue_core::{ConnId, Input, Output};

impl World {
    pub(crate) fn broker_reads(&mut self, at: usize) {
        let most = self.rng.pick(&[1, 10, 100, 4096, 4096]);
        let Some(link) = &mut self.peers[at].link else {
            return;
        };
        if link.is_paused || link.closed.is_some() || link.end_was_read {
            return;
        }
        let conn = link.conn;
        let buffer = link.decoder.recv_buf();
        let most = most
            .min(buffer.capacity() - buffer.len())
            .min(link.to_broker.len());
        buffer.extend(link.to_broker.drain(..most));
        if most > 0 {
            self.input(conn, Input::Heard);
        }
        self.decode(at, conn);
        let Some(link) = self.peers[at].link.as_mut().filter(|it| it.conn == conn) else {
            return;
        };
        if link.is_ending && link.to_broker.is_empty() && !link.is_paused && link.closed.is_none() {
            link.end_was_read = true;
            let end = link.decoder.finish();
            let input = end.map_or_else(Input::Broke, |()| Input::PeerClosed);
            self.input(conn, input);
        }
    }

    fn decode(&mut self, at: usize, conn: ConnId) {
        loop {
            let Some(link) = self.peers[at].link.as_mut().filter(|it| it.conn == conn) else {
                return;
            };
            if link.is_paused || link.closed.is_some() {
                return;
            }
            match link.decoder.next().expect("clients keep to the protocol") {
                None => return,
                Some(decoded) => {
                    if let Decoded::Control(control) = &decoded {
                        self.ledger.heard(conn, control);
                    }
                    self.input(conn, decoded.into());
                }
            }
        }
    }

    pub(crate) fn socket_takes(&mut self, at: usize) {
        let most = self.rng.pick(&[1, 10, 100, 1 << 20, 1 << 20]);
        let Some(link) = &mut self.peers[at].link else {
            return;
        };
        let conn = link.conn;
        if let Some(total) = link.take(most) {
            self.input(conn, Input::Written(total));
        }
    }

    pub(crate) fn input(&mut self, conn: ConnId, input: Input) {
        self.broker.handle_input(conn, input, self.now);
        self.outputs();
    }

    pub(crate) fn outputs(&mut self) {
        let mut sealed = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Write { conn, write } => {
                    let Some(link) = self.link(conn) else {
                        continue;
                    };
                    link.start(&write);
                    let bytes = link.write.clone().unwrap().0;
                    let way = Way::ToConsumer;
                    let mut told = std::mem::replace(&mut link.told, FrameReader::new(way, 1));
                    let is_consumer = matches!(
                        self.peers[self.by_conn[&conn]].client,
                        Client::Consumer { .. }
                    );
                    if is_consumer {
                        self.ledger.written(conn, &bytes, &mut told);
                        self.check_handed_out(conn);
                    }
                    if let Some(link) = self.link(conn) {
                        link.told = told;
                    }
                }
                Output::Farewell { conn, bytes } => {
                    if let Some(link) = self.link(conn).filter(|link| link.write.is_none()) {
                        link.to_client.extend(bytes);
                    }
                }
                Output::Close { conn, reason } => {
                    let mut unwritten = 0;
                    let mut written = 0;
                    if let Some(link) = self.link(conn) {
                        link.closed = Some(reason);
                        written = link.written;
                        unwritten = link.unwritten();
                    }
                    self.ledger.left(conn, unwritten);
                    sealed.push((conn, written));
                }
                Output::Pause { conn } => {
                    if let Some(link) = self.link(conn) {
                        link.is_paused = true;
                    }
                }
                Output::Resume { conn } => {
                    if let Some(link) = self.link(conn) {
                        link.is_paused = false;
                    }
                }
                Output::Registered { .. } => {}
                Output::Store { topic, request } => self.stores.ask(topic, request),
                Output::Dropped { group, reason, .. } => {
                    panic!("{group:?} has lost something: {reason}")
                }
            }
        }
        self.broker.check_invariants();
        for (conn, written) in sealed {
            self.input(conn, Input::Sealed { written });
        }
    }

    fn link(&mut self, conn: ConnId) -> Option<&mut Link> {
        let at = *self.by_conn.get(&conn)?;
        self.peers[at]
            .link
            .as_mut()
            .filter(|link| link.conn == conn)
    }
}
