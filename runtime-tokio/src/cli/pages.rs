//! What a broker's pages about topics say, as far as it is shown.

use message_queue_core::Storage;
use serde::Deserialize;

/// How many messages.
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    pub(super) messages: u64,
}

/// Producers that wait for room.
#[derive(Debug, Deserialize)]
pub(super) struct Blocked {
    pub(super) producers: u64,
    /// The connection that has waited longest.
    pub(super) first: u64,
    /// The group that has no room; none: the bytes of the whole broker are used up.
    pub(super) group: Option<String>,
}

/// One topic, with the number of its groups or with each.
#[derive(Debug, Deserialize)]
pub(super) struct Topic<Groups> {
    pub(super) topic: String,
    pub(super) received: u64,
    pub(super) waiting: Count,
    pub(super) dead: Count,
    /// What keeps it; version 0.2 does not say.
    #[serde(default)]
    storage: String,
    /// Of a broker that stores no topics, none is said.
    pub(super) stored: Option<Stored>,
    pub(super) blocked: Option<Blocked>,
    pub(super) groups: Groups,
}

/// What is said of a topic that is stored.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    /// What its groups have yet to be offered.
    pub(super) behind: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) group: String,
    pub(super) backlog: Count,
    pub(super) unsettled: Count,
    pub(super) delayed: Count,
    pub(super) given_up: Count,
    /// Of a broker that stores no topics, none is said.
    #[serde(default)]
    pub(super) behind: u64,
    pub(super) oldest_age_seconds: f64,
    pub(super) members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) client: Option<String>,
}

impl<Groups> Topic<Groups> {
    /// What its groups are owed, wherever it is.
    pub(super) fn owed(&self) -> u64 {
        let behind = self.stored.as_ref().map_or(0, |it| it.behind);
        self.waiting.messages + behind
    }

    /// What keeps it, if other brokers may share that: then it is not known here what waits there.
    pub(super) fn shared_in(&self) -> Option<Storage> {
        Storage::named(&self.storage).filter(|it| it.is_shared())
    }
}

impl Blocked {
    /// Whom they wait for.
    pub(super) fn by(&self) -> &str {
        self.group.as_deref().unwrap_or("BROKER_BYTES")
    }
}

impl Member {
    /// The label that it gave itself, or its connection.
    pub(super) fn name(&self) -> String {
        match &self.client {
            Some(client) => client.clone(),
            None => format!("connection {}", self.id),
        }
    }
}
