//! `/topics` and `/topics/T`: every topic, and one with its groups and their members.

use super::pages::{Messages, by_reason, seconds};
use super::view::{Unanswered, View};
use crate::serve::survey::{GroupStatus, MemberStatus, TopicStatus, label};
use crate::store::Size;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use message_queue_core::Flow;
use message_queue_core::names::TopicName;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// One topic.
#[derive(Debug, Serialize)]
struct Topic<Groups> {
    topic: String,
    /// The life of its sequences, as consumers are told it.
    epoch: String,
    /// How many messages it has taken in.
    received: u64,
    #[serde(flatten)]
    flow: Figures,
    /// In the backlogs of its groups.
    backlog_bytes: usize,
    /// What keeps it.
    storage: &'static str,
    /// Null where it is kept in memory.
    stored: Option<Stored>,
    /// Null unless producers wait for room.
    blocked: Option<Blocked>,
    /// How many, or each.
    groups: Groups,
}

/// What became of the messages offered: `offered` is the sum of the others.
#[derive(Debug, Serialize)]
struct Figures {
    offered: Messages,
    delivered: Messages,
    /// In backlogs, in flight, unsettled, delayed or given up.
    waiting: Messages,
    /// Moved to the dead-letter topic.
    dead: Messages,
    /// Of a stored topic: left in the store when nobody was there to take them. They are offered again.
    kept: Messages,
    /// By the name of the reason; reasons without a message are left out.
    dropped: BTreeMap<&'static str, Messages>,
}

/// What a stored topic has on the disk, as of the last second, and who is behind there.
#[derive(Debug, Serialize)]
struct Stored {
    segments: u64,
    /// In its segments; room that is set aside is not counted.
    bytes: u64,
    /// Groups that have yet to be offered something that is stored for them.
    groups_behind: u64,
    /// What they are behind by, all together.
    behind: u64,
}

/// Who waits for whom.
#[derive(Debug, Serialize)]
struct Blocked {
    /// How many wait.
    producers: usize,
    /// The number of the connection that has waited longest. It may have left.
    first: u64,
    /// The group that has no room; null if `BROKER_BYTES` are used up.
    group: Option<String>,
}

#[derive(Debug, Serialize)]
struct Group {
    group: String,
    #[serde(flatten)]
    flow: Figures,
    backlog: Messages,
    /// With members that are yet to settle it.
    unsettled: Messages,
    /// Failed, and handed out again later.
    delayed: Messages,
    /// Given up, and waiting for room in the dead-letter topic.
    given_up: Messages,
    /// Where the topic is stored: how many of the messages that it keeps the group has yet to be offered.
    behind: u64,
    /// Of the message that has waited longest of those that no member has; 0 where none waits.
    oldest_age_seconds: f64,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    /// The number of its connection, which is also in the log.
    id: u64,
    peer: SocketAddr,
    /// The label that it has given itself.
    client: Option<String>,
    /// The write that its socket has not wholly taken yet, whatever the topic.
    in_flight: Messages,
    /// What it is yet to settle, whatever the topic.
    unsettled: Messages,
}

/// `GET /topics`.
pub(super) async fn all(State(view): State<Arc<View>>) -> Result<Response, Unanswered> {
    let topics = view.topics().await?.into_iter();
    let sizes: BTreeMap<_, _> = view.sizes().collect();
    let size = |name: &TopicName| sizes.get(name).copied().unwrap_or_default();
    let topics = topics.map(|it| Topic::new(&it, it.report.groups, size(&it.report.name)));
    let topics: Vec<_> = topics.collect();
    Ok(Json(topics).into_response())
}

/// `GET /topics/T`.
pub(super) async fn one(
    State(view): State<Arc<View>>,
    Path(name): Path<String>,
) -> Result<Response, Unanswered> {
    let found = match TopicName::new(&name) {
        Ok(topic) => view.topic(topic).await?,
        Err(_) => None,
    };
    let Some(status) = found else {
        let why = format!("there is no topic {name:?}\n");
        return Ok((StatusCode::NOT_FOUND, why).into_response());
    };
    let groups: Vec<_> = status.groups.iter().map(Group::from).collect();
    let size = view.sizes().find(|(name, _)| *name == status.report.name);
    let size = size.map_or_else(Size::default, |(_, size)| size);
    Ok(Json(Topic::new(&status, groups, size)).into_response())
}

impl<Groups> Topic<Groups> {
    fn new(status: &TopicStatus, groups: Groups, size: Size) -> Self {
        let report = &status.report;
        Self {
            topic: report.name.to_string(),
            epoch: format!("{:x}", report.epoch),
            received: report.received,
            flow: (&report.flow).into(),
            backlog_bytes: report.backlog_bytes,
            storage: report.storage.name(),
            stored: report.behind.map(|behind| Stored {
                segments: size.segments,
                bytes: size.bytes,
                groups_behind: behind.groups,
                behind: behind.messages,
            }),
            blocked: report.blocked.map(|blocked| Blocked {
                producers: blocked.producers,
                first: blocked.first.0,
                group: status.blocking_group.clone(),
            }),
            groups,
        }
    }
}

impl From<&Flow> for Figures {
    fn from(flow: &Flow) -> Self {
        Self {
            offered: flow.offered.into(),
            delivered: flow.delivered.into(),
            waiting: flow.waiting.into(),
            dead: flow.dead.into(),
            kept: flow.kept.into(),
            dropped: by_reason(flow.dropped),
        }
    }
}

impl From<&GroupStatus> for Group {
    fn from(status: &GroupStatus) -> Self {
        let view = &status.view;
        Self {
            group: label(view),
            flow: (&view.flow).into(),
            backlog: view.backlog.into(),
            unsettled: view.unsettled.into(),
            delayed: view.delayed.into(),
            given_up: view.given_up.into(),
            behind: view.behind,
            oldest_age_seconds: seconds(status.oldest),
            members: status.members.iter().map(Member::from).collect(),
        }
    }
}

impl From<&MemberStatus> for Member {
    fn from(status: &MemberStatus) -> Self {
        Self {
            id: status.conn.0,
            peer: status.addr,
            client: status.client.as_ref().map(ToString::to_string),
            in_flight: status.in_flight.into(),
            unsettled: status.unsettled.into(),
        }
    }
}
