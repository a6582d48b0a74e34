//! What an operator may see of a running broker: the seam between the driver, which owns the
//! broker, and HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use message_queue_core::{
    Broker, ConnId, ConsumerView, Count, DropReason, GroupId, GroupView, Now, Stats,
};
use serde::Serialize;

/// A running broker, seen from outside. Its methods are called for each request, on the runtime's
/// threads: they must be quick and must not block.
pub trait Status: Send + Sync + 'static {
    /// The counters, all of one moment.
    fn snapshot(&self) -> Snapshot;

    /// Every consumer, in the order of their connections.
    fn consumers(&self) -> Vec<Consumer>;

    /// Whether the broker takes new connections: not before it listens, and not from the moment
    /// it was told to stop.
    fn ready(&self) -> bool;
}

/// The counters of a broker at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What the core has counted.
    pub stats: Stats,
    /// What is in all backlogs, what is in flight not included.
    pub backlog: Count,
    /// How long the message that has waited longest has been waiting, if any waits.
    pub oldest_waiting: Option<Duration>,
}

impl Snapshot {
    /// The counters of `broker` at `now`. Looks at every group and consumer.
    pub fn of(broker: &Broker, now: Now) -> Self {
        Self {
            stats: broker.stats().clone(),
            backlog: broker.backlog(),
            oldest_waiting: broker.waiting_since().map(|since| now - since),
        }
    }
}

/// One consumer, as `/consumers` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Consumer {
    /// The number of its connection, which is also in the log.
    pub id: u64,
    /// Its address, where that is known.
    pub peer: Option<SocketAddr>,
    /// How long it has been connected, in seconds.
    pub connected_seconds: f64,
    /// What its socket has taken.
    pub delivered: Messages,
    /// What it has missed, by the name of the reason. Reasons without a message are left out.
    /// Always empty in queue mode, where no message is one consumer's own until it is delivered.
    pub dropped: BTreeMap<&'static str, Messages>,
    /// What waits for it alone and is not in flight. Always nothing in queue mode: there the
    /// messages wait for whoever is free.
    pub backlog: Messages,
    /// The write that its socket has not wholly taken yet.
    pub in_flight: Messages,
}

/// A number of messages and the bytes of their frames, length prefixes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<Count> for Messages {
    fn from(Count { messages, bytes }: Count) -> Self {
        Self { messages, bytes }
    }
}

/// Every consumer of `broker` at `now`, in the order of their connections; `peer` knows the
/// address of a connection.
pub fn consumers(
    broker: &Broker,
    now: Now,
    peer: impl Fn(ConnId) -> Option<SocketAddr>,
) -> Vec<Consumer> {
    let groups: BTreeMap<GroupId, GroupView> =
        broker.groups().map(|group| (group.id, group)).collect();
    broker
        .consumers()
        .map(|view| Consumer::new(view, groups.get(&view.group), now, peer(view.conn)))
        .collect()
}

impl Consumer {
    fn new(
        view: ConsumerView,
        group: Option<&GroupView>,
        now: Now,
        peer: Option<SocketAddr>,
    ) -> Self {
        let own = group.filter(|group| group.id == GroupId::Own(view.conn));
        let dropped = own.map(|group| group.flow.dropped).unwrap_or_default();
        Self {
            id: view.conn.0,
            peer,
            connected_seconds: (now - view.opened).as_secs_f64(),
            delivered: view.delivered.into(),
            dropped: DropReason::ALL
                .into_iter()
                .map(|reason| (reason.as_str(), dropped[reason.index()]))
                .filter(|(_, count)| !count.is_zero())
                .map(|(reason, count)| (reason, count.into()))
                .collect(),
            backlog: own.map(|group| group.backlog).unwrap_or_default().into(),
            in_flight: view.in_flight.into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use std::net::Ipv4Addr;

    use message_queue_core::wire::{FrameBatch, Role};
    use message_queue_core::{Config, DeliveryMode, Input, Output};

    use super::*;

    /// A broker that stands still, with a consumer, c1, and a producer, c2.
    pub(crate) struct Still {
        pub(crate) broker: Broker,
        pub(crate) now: Now,
        pub(crate) ready: bool,
    }

    impl Still {
        /// c1 has taken one message, has one in flight and two waiting, and has missed two; one
        /// more connection was refused.
        pub(crate) fn broadcast() -> Self {
            Self::new(DeliveryMode::Broadcast)
        }

        /// c1 has taken one message and has one in flight; two wait for whoever is free and two
        /// were dropped; one more connection was refused.
        pub(crate) fn queue() -> Self {
            Self::new(DeliveryMode::Queue)
        }

        fn new(delivery: DeliveryMode) -> Self {
            let mut broker = Broker::new(Config {
                delivery,
                max_connections: 2,
                consumer_backlog: 2,
                queue_capacity: 2,
                ..Config::default()
            });
            let at = |millis| Now::at(Duration::from_millis(millis));
            let (consumer, producer) = (ConnId(1), ConnId(2));
            for (conn, role) in [(consumer, Role::Consumer), (producer, Role::Producer)] {
                broker.handle_input(conn, Input::Opened, at(0));
                broker.handle_input(conn, Input::Role(role), at(0));
            }
            broker.handle_input(ConnId(3), Input::Opened, at(0));
            let batch = |messages: &[&str]| Input::Batch(FrameBatch::encode(messages).unwrap());
            broker.handle_input(producer, batch(&["a"]), at(500));
            let writes = std::iter::from_fn(|| broker.poll_output())
                .filter(|output| matches!(output, Output::Write { .. }))
                .count();
            assert_eq!(writes, 1);
            broker.handle_input(consumer, Input::Written(5), at(500));
            broker.handle_input(producer, batch(&["b"]), at(1_000));
            broker.handle_input(producer, batch(&["c", "d", "ee", "ff"]), at(2_000));
            Self {
                broker,
                now: at(3_500),
                ready: true,
            }
        }
    }

    impl Status for Still {
        fn snapshot(&self) -> Snapshot {
            Snapshot::of(&self.broker, self.now)
        }

        fn consumers(&self) -> Vec<Consumer> {
            consumers(&self.broker, self.now, |conn| {
                let port = 1_000 + u16::try_from(conn.0).ok()?;
                Some((Ipv4Addr::LOCALHOST, port).into())
            })
        }

        fn ready(&self) -> bool {
            self.ready
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::Still;
    use super::*;

    const fn messages(messages: u64, bytes: u64) -> Messages {
        Messages { messages, bytes }
    }

    #[test]
    fn a_snapshot_adds_up_and_knows_the_oldest() {
        for status in [Still::broadcast(), Still::queue()] {
            let snapshot = status.snapshot();
            assert!(snapshot.stats.flow.adds_up(), "{snapshot:?}");
            assert_eq!(
                snapshot.backlog,
                Count {
                    messages: 2,
                    bytes: 10
                }
            );
            assert_eq!(snapshot.oldest_waiting, Some(Duration::from_millis(2_500)));
        }
    }

    #[test]
    fn in_broadcast_a_slow_consumer_shows() {
        let consumers = Still::broadcast().consumers();
        assert_eq!(consumers.len(), 1);
        assert_eq!(consumers[0].delivered, messages(1, 5));
        assert_eq!(consumers[0].in_flight, messages(1, 5));
        assert_eq!(consumers[0].backlog, messages(2, 10));
        assert_eq!(
            consumers[0].dropped,
            [("backlog_messages", messages(2, 12))].into()
        );
    }

    #[test]
    fn in_queue_mode_what_waits_is_nobodys_own() {
        let consumers = Still::queue().consumers();
        assert_eq!(consumers.len(), 1);
        assert_eq!(consumers[0].delivered, messages(1, 5));
        assert_eq!(consumers[0].in_flight, messages(1, 5));
        assert_eq!(consumers[0].backlog, messages(0, 0));
        assert!(consumers[0].dropped.is_empty());
    }
}
