//! Who the clients are, as the runtime tells the broker.

use super::World;
use super::peers::Machine;
use crate::guarantees::history::Event;
use crate::guarantees::plan::Client;
use crate::guarantees::rights::{NOWHERE, Rights, VAULT};
use bytes::BytesMut;
use message_queue_core::access::Principal;
use message_queue_core::client::Ended;
use message_queue_core::names::Name;
use message_queue_core::wire::control::Control;
use message_queue_core::{ConnId, Input, Now};
use std::time::Duration;

/// A principal that may do everything, and takes the names of others.
const THIEF: &str = "thief";

impl World<'_> {
    /// The runtime has found out who has connected.
    pub(super) fn is_found_out(&mut self, at: usize, conn: ConnId) {
        let Some(rights) = self.peers[at].rights.clone() else {
            return;
        };
        // Whoever comes first has the name, so nobody takes it before its owner was there.
        let has_a_name =
            matches!(&self.peers[at].machine, Machine::Producer { plan, .. } if plan.named);
        let is_robbed = has_a_name && self.peers[at].has_been_there && !self.is_over;
        if is_robbed && self.rng.chance(20) {
            return self.identify(conn, THIEF.to_owned(), &Rights::all(), None);
        }
        let until = self.draw_until();
        self.identify(conn, principal_of(at), &rights, until);
    }

    /// When somebody's time is over: mostly never.
    fn draw_until(&mut self) -> Option<Now> {
        if self.is_over || !self.rng.chance(15) {
            return None;
        }
        let millis = self.rng.pick(&[50, 400, 2000]);
        Some(self.now + Duration::from_millis(millis))
    }

    fn identify(&mut self, conn: ConnId, principal: String, rights: &Rights, until: Option<Now>) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.known_as = Some(principal.clone());
        }
        self.record(Event::Identified {
            conn,
            principal: principal.clone(),
            rights: rights.clone(),
            until: until.map(|it| it.since_start().as_micros() as u64),
        });
        let principal = Principal {
            name: Name::new(&principal).expect("a good name"),
            rights: rights.of_the_core(),
            expires: until,
        };
        self.input(conn, Input::Identified(principal));
    }

    /// Connections of a client that stand, under its own principal.
    fn links_as_itself(&self, at: usize) -> Vec<ConnId> {
        let principal = principal_of(at);
        let of_it = self
            .its_links(at)
            .filter(|link| link.closed.is_none() && link.known_as.as_deref() == Some(&*principal));
        of_it.map(|link| link.conn).collect()
    }

    /// A client's rights change, and when they end.
    pub(super) fn change_rights(&mut self, at: usize) {
        if self.peers[at].rights.is_none() {
            return;
        }
        let Some(client) = self.plan.clients.get(at) else {
            return;
        };
        let rights = Rights::draw(&mut self.rng, client);
        let until = self.draw_until();
        self.peers[at].rights = Some(rights.clone());
        for conn in self.links_as_itself(at) {
            self.identify(conn, principal_of(at), &rights, until);
        }
    }

    /// A client is known no more.
    pub(super) fn disown(&mut self, at: usize) {
        for conn in self.links_as_itself(at) {
            self.record(Event::Disowned { conn });
            self.input(conn, Input::Unauthorized);
        }
    }

    /// A producer without a name says that what follows is for a topic that it has no right to, or for its own again.
    pub(super) fn switch_topic(&mut self, at: usize) {
        let peer = &self.peers[at];
        let home = match &peer.machine {
            Machine::Producer { plan, .. } if !plan.named && peer.rights.is_some() => {
                plan.topic.clone()
            }
            Machine::Producer { .. } | Machine::Consumer { .. } => return,
        };
        let topic = self.rng.pick(&[VAULT, NOWHERE, &home, &home]).to_owned();
        // What it has said before stands before it.
        self.client_writes(at);
        let link = self.peers[at].link.and_then(|it| self.links.get_mut(&it));
        if let Some(link) = link.filter(|link| !link.is_ending) {
            let mut bytes = BytesMut::new();
            Control::Topic(topic).encode(&mut bytes);
            link.to_broker.extend(bytes);
        }
    }

    /// Whether it asks for what nobody has a right to.
    pub(super) fn is_stranger(&self, at: usize) -> bool {
        let client = self.plan.clients.get(at);
        matches!(client, Some(Client::Consumer(it)) if [VAULT, NOWHERE].contains(&it.topic.as_str()))
    }

    /// Whether a client was told what one hears that has no right; the checker knows whether that is right.
    pub(super) fn may_be_turned_away(&self, at: usize, ended: &Ended) -> bool {
        let is_about_rights = matches!(ended, Ended::Refused(reason)
            if ["forbidden", "unauthorized"].contains(&reason.code.as_str()));
        is_about_rights && self.peers[at].rights.is_some()
    }

    /// From now on everybody may do everything, for ever, and begins anew: some were told to go, and some are where they
    /// have no right to be.
    pub(super) fn restore_rights(&mut self) {
        for at in 0..self.peers.len() {
            if self.peers[at].rights.is_some() {
                self.peers[at].rights = Some(Rights::all());
                self.reset(at);
            }
        }
    }
}

fn principal_of(at: usize) -> String {
    format!("client{at}")
}
