//! Checkpoints as bytes, and back.

use super::codec::{In, Malformed, Out};
use super::payload::Kept;
use message_queue_core::broker::checkpoint::{
    Checkpoint, ConnectionState, ConsumerState, DrainState, GroupState, InFlight, RoleState,
    Sequences, TopicState, Waiting,
};
use message_queue_core::{Config, DeliveryMode, Overflow, Stats, TopicId, Write};

/// No checkpoint of a broker with these counters takes more bytes than this.
///
/// It tells, before one is made, whether there is room for it.
pub(super) fn most_bytes(stats: &Stats, payloads_are_kept: bool) -> u64 {
    /// The settings, the counters, and what the end of the broker takes.
    const BROKER: u64 = 1 << 10;
    /// A connection, its place among the idle and, in `broadcast`, a group of its own.
    const CONNECTION: u64 = 512;
    /// The frame around one batch. At worst each message is one.
    const BATCH: u64 = 40;
    /// The length and the hash of one message.
    const STAND_IN: u64 = 12;
    let (waiting, parked) = (stats.flow.waiting, stats.parked);
    let messages = waiting.messages + parked.messages;
    let payload = if payloads_are_kept {
        waiting.bytes + parked.bytes
    } else {
        messages * STAND_IN
    };
    BROKER + stats.connections as u64 * CONNECTION + messages * BATCH + payload
}

impl Kept {
    pub(super) fn put_checkpoint(&self, out: &mut Out, checkpoint: &Checkpoint) {
        let Checkpoint {
            config,
            now,
            drain,
            stats,
            connections,
            topics,
            waiting_for_bytes,
        } = checkpoint;
        put_config(out, config);
        out.now(*now);
        out.option(*drain, |out, DrainState { due, pending }| {
            out.now(due);
            out.flag(pending);
        });
        out.stats(stats);
        out.size(connections.len());
        for (conn, connection) in connections {
            out.conn(*conn);
            self.put_connection(out, connection);
        }
        out.size(topics.len());
        for (id, topic) in topics {
            put_topic_id(out, *id);
            self.put_topic(out, topic);
        }
        out.size(waiting_for_bytes.len());
        for id in waiting_for_bytes {
            put_topic_id(out, *id);
        }
    }

    pub(super) fn checkpoint(&self, input: &mut In<'_>) -> Result<Checkpoint, Malformed> {
        Ok(Checkpoint {
            config: config(input)?,
            now: input.now()?,
            drain: input.option(|input| {
                let (due, pending) = (input.now()?, input.flag()?);
                Ok(DrainState { due, pending })
            })?,
            stats: input.stats()?,
            connections: input
                .list(|input| Ok((input.conn()?, self.connection(input)?)))?
                .into_iter()
                .collect(),
            topics: input
                .list(|input| Ok((topic_id(input)?, self.topic(input)?)))?
                .into_iter()
                .collect(),
            waiting_for_bytes: input.list(topic_id)?,
        })
    }

    fn put_topic(&self, out: &mut Out, topic: &TopicState) {
        let TopicState {
            groups,
            next_sequence,
            flow,
            parked,
        } = topic;
        out.size(groups.len());
        for (id, group) in groups {
            out.group(*id);
            self.put_group(out, group);
        }
        out.number(*next_sequence);
        out.flow(flow);
        out.size(parked.len());
        for (conn, batch) in parked {
            out.conn(*conn);
            self.put_batch(out, batch);
        }
    }

    fn topic(&self, input: &mut In<'_>) -> Result<TopicState, Malformed> {
        Ok(TopicState {
            groups: input
                .list(|input| Ok((input.group()?, self.group(input)?)))?
                .into_iter()
                .collect(),
            next_sequence: input.number()?,
            flow: input.flow()?,
            parked: input.list(|input| Ok((input.conn()?, self.batch(input)?)))?,
        })
    }

    fn put_connection(&self, out: &mut Out, connection: &ConnectionState) {
        let ConnectionState { opened, role } = connection;
        out.now(*opened);
        match role {
            RoleState::Awaited => out.byte(0),
            RoleState::Producer(topic) => {
                out.byte(1);
                put_topic_id(out, *topic);
            }
            RoleState::Consumer(consumer) => {
                out.byte(2);
                let ConsumerState {
                    topic,
                    group,
                    delivered,
                    timer,
                    in_flight,
                } = consumer;
                put_topic_id(out, *topic);
                out.group(*group);
                out.count(*delivered);
                out.option(*timer, Out::now);
                out.option(in_flight.as_ref(), |out, flight| {
                    self.put_in_flight(out, flight);
                });
            }
        }
    }

    fn connection(&self, input: &mut In<'_>) -> Result<ConnectionState, Malformed> {
        let opened = input.now()?;
        let role = match input.byte()? {
            0 => RoleState::Awaited,
            1 => RoleState::Producer(topic_id(input)?),
            2 => RoleState::Consumer(ConsumerState {
                topic: topic_id(input)?,
                group: input.group()?,
                delivered: input.count()?,
                timer: input.option(In::now)?,
                in_flight: input.option(|input| self.in_flight(input))?,
            }),
            _ => return Err(Malformed("state of a connection")),
        };
        Ok(ConnectionState { opened, role })
    }

    fn put_in_flight(&self, out: &mut Out, flight: &InFlight) {
        let InFlight {
            write,
            sequences,
            taken,
            started,
            waiting_since,
        } = flight;
        out.size(write.batches().len());
        for batch in write.batches() {
            self.put_batch(out, batch);
        }
        out.number(sequences.first);
        out.size(sequences.gaps.len());
        for (batch, sequence) in &sequences.gaps {
            out.size(*batch);
            out.number(*sequence);
        }
        out.size(*taken);
        out.now(*started);
        out.now(*waiting_since);
    }

    fn in_flight(&self, input: &mut In<'_>) -> Result<InFlight, Malformed> {
        Ok(InFlight {
            write: Write::new(input.list(|input| self.batch(input))?),
            sequences: Sequences {
                first: input.number()?,
                gaps: input.list(|input| Ok((input.size()?, input.number()?)))?,
            },
            taken: input.size()?,
            started: input.now()?,
            waiting_since: input.now()?,
        })
    }

    fn put_group(&self, out: &mut Out, group: &GroupState) {
        let GroupState {
            idle,
            flow,
            backlog,
            handed_back,
        } = group;
        out.size(idle.len());
        for conn in idle {
            out.conn(*conn);
        }
        out.flow(flow);
        out.size(backlog.len());
        for Waiting {
            batch,
            sequence,
            since,
        } in backlog
        {
            self.put_batch(out, batch);
            out.number(*sequence);
            out.now(*since);
        }
        out.size(*handed_back);
    }

    fn group(&self, input: &mut In<'_>) -> Result<GroupState, Malformed> {
        Ok(GroupState {
            idle: input.list(In::conn)?,
            flow: input.flow()?,
            backlog: input.list(|input| {
                Ok(Waiting {
                    batch: self.batch(input)?,
                    sequence: input.number()?,
                    since: input.now()?,
                })
            })?,
            handed_back: input.size()?,
        })
    }
}

fn put_topic_id(out: &mut Out, topic: TopicId) {
    out.number(u64::from(topic.0));
}

fn topic_id(input: &mut In<'_>) -> Result<TopicId, Malformed> {
    let number = u32::try_from(input.number()?);
    number.map(TopicId).map_err(|_| Malformed("topic"))
}

fn put_config(out: &mut Out, config: &Config) {
    let Config {
        delivery,
        overflow,
        max_connections,
        max_consumers,
        consumer_backlog,
        queue_capacity,
        backlog_bytes,
        broker_bytes,
        role_timeout,
        write_timeout,
        write_bytes,
    } = config;
    out.flag(match delivery {
        DeliveryMode::Broadcast => false,
        DeliveryMode::Queue => true,
    });
    out.flag(match overflow {
        Overflow::Drop => false,
        Overflow::Block => true,
    });
    for size in [
        max_connections,
        max_consumers,
        consumer_backlog,
        queue_capacity,
        backlog_bytes,
        broker_bytes,
        write_bytes,
    ] {
        out.size(*size);
    }
    out.duration(*role_timeout);
    out.duration(*write_timeout);
}

fn config(input: &mut In<'_>) -> Result<Config, Malformed> {
    let delivery = match input.flag()? {
        false => DeliveryMode::Broadcast,
        true => DeliveryMode::Queue,
    };
    let overflow = match input.flag()? {
        false => Overflow::Drop,
        true => Overflow::Block,
    };
    Ok(Config {
        delivery,
        overflow,
        max_connections: input.size()?,
        max_consumers: input.size()?,
        consumer_backlog: input.size()?,
        queue_capacity: input.size()?,
        backlog_bytes: input.size()?,
        broker_bytes: input.size()?,
        write_bytes: input.size()?,
        role_timeout: input.duration()?,
        write_timeout: input.duration()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::payload::Payloads;
    use super::*;
    use message_queue_core::wire::{FrameBatch, Role};
    use message_queue_core::{Broker, ConnId, DEFAULT_TOPIC, Input, Now};
    use std::time::Duration;

    /// A broker of which every part is in use.
    fn busy(delivery: DeliveryMode) -> Broker {
        let mut broker = Broker::new(Config {
            delivery,
            overflow: Overflow::Block,
            queue_capacity: 2,
            consumer_backlog: 2,
            ..Config::default()
        });
        let now = Now::at(Duration::new(7, 999_999_999));
        for (conn, role) in [
            (1, Role::Consumer),
            (2, Role::Producer),
            (3, Role::Consumer),
        ] {
            broker.handle_input(ConnId(conn), Input::Opened, now);
            broker.handle_input(ConnId(conn), Input::Role(role), now);
        }
        broker.handle_input(ConnId(4), Input::Opened, now);
        for messages in [
            &["one", "two"][..],
            &["three, which is longer"],
            &["", "4", "5"],
        ] {
            let batch = FrameBatch::encode(messages).unwrap();
            broker.handle_input(ConnId(2), Input::Batch(batch), now);
        }
        broker.handle_input(ConnId(1), Input::Written(3), now);
        broker.drain(Duration::from_secs(9), now);
        while broker.poll_output().is_some() {}
        broker
    }

    #[test]
    fn a_checkpoint_comes_back_and_a_broker_goes_on_from_it() {
        for delivery in [DeliveryMode::Broadcast, DeliveryMode::Queue] {
            let broker = busy(delivery);
            let checkpoint = broker.checkpoint();
            assert!(!checkpoint.topics[&DEFAULT_TOPIC].parked.is_empty());
            let mut out = Out::default();
            Kept::Whole.put_checkpoint(&mut out, &checkpoint);
            assert!(out.0.len() as u64 <= most_bytes(broker.stats(), true));
            let mut input = In(&out.0);
            assert_eq!(Kept::Whole.checkpoint(&mut input), Ok(checkpoint));
            assert!(input.0.is_empty());
        }
    }

    #[test]
    fn with_hashes_everything_but_the_bodies_comes_back() {
        let broker = busy(DeliveryMode::Queue);
        let mut out = Out::default();
        Kept::recording(Payloads::Hash).put_checkpoint(&mut out, &broker.checkpoint());
        assert!(out.0.len() as u64 <= most_bytes(broker.stats(), false));
        let replayed = Kept::Fronts.checkpoint(&mut In(&out.0)).unwrap();
        assert_eq!(replayed.stats, *broker.stats());
        let restored = Broker::restore(replayed).unwrap();
        restored.check_invariants();
        assert!(restored.consumers().eq(broker.consumers()));
    }

    #[test]
    fn one_that_is_cut_short_is_malformed_wherever_it_is_cut() {
        let mut out = Out::default();
        Kept::Whole.put_checkpoint(&mut out, &busy(DeliveryMode::Broadcast).checkpoint());
        for length in 0..out.0.len() {
            let cut = Kept::Whole.checkpoint(&mut In(&out.0[..length]));
            assert!(cut.is_err(), "{length} bytes");
        }
    }
}
