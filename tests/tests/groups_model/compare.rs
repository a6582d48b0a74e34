//! What the broker has said and holds, beside what the model says.

use crate::lockstep::Lockstep;
use message_queue_core::names::TopicName;
use message_queue_core::wire::control::Control;
use message_queue_core::{ConnId, DropReason, GroupId};
use message_queue_tests::groups_model::{GroupName, Holds, Origin};
use message_queue_tests::world::Said;

impl Lockstep {
    /// Everybody reads, and the model is asked whether that is right.
    pub(crate) fn compare(&mut self) {
        // What is due now is done now.
        while self.world.pass_to_what_is_due(self.world.now()) {}
        self.model.time_is(self.world.now().since_start());
        let consumers: Vec<ConnId> = self.consumers.values().copied().collect();
        for conn in consumers {
            for said in self.world.consumer_reads(conn) {
                self.hear(conn, said);
            }
            if self.model.has_consumer(conn) {
                assert_eq!(
                    self.streams[&conn].revoked,
                    self.model.revoked(conn),
                    "{conn}"
                );
            }
        }
        self.model.check_that_all_is_handed_out();
        self.model.drain_goes_on();
        self.compare_the_end();
        self.compare_producers();
        self.compare_groups();
    }

    fn hear(&mut self, conn: ConnId, said: Said) {
        let is_own = self.model.is_alone(conn);
        let stream = self.streams.get_mut(&conn).expect("it is connected");
        match said {
            Said::Control(Control::Run { first, attempt, .. }) => {
                (stream.sequence, stream.attempt) = (first, attempt);
            }
            Said::Control(Control::Origin(origin)) => {
                stream.origin = Some(Origin {
                    topic: origin.topic,
                    sequence: origin.sequence,
                    group: origin.group,
                    failures: origin.failures,
                });
            }
            Said::Control(Control::GoAway { .. }) => {
                assert!(!stream.is_going, "{conn} is asked to finish twice");
                stream.is_going = true;
            }
            Said::Control(Control::Error(reason)) => assert_eq!(reason.code, "drain_timeout"),
            Said::Control(Control::Revoked { code, ranges }) => {
                assert_eq!(code, "ack_timeout");
                let positions = ranges.iter().flat_map(|it| it.from..=it.to);
                stream.revoked.extend(positions);
                self.seen.revoked += 1;
            }
            Said::Control(Control::Gap(range, code)) => {
                assert!(is_own, "{conn} is told of a gap: {range:?}");
                let messages = range.to - range.from + 1;
                match &*code.code {
                    "dropped" => self.seen.lost += messages,
                    "expired" => {}
                    other => panic!("{conn}: {other}"),
                }
                stream.heard_up_to = Some(range.to);
            }
            Said::Message(body) => {
                let (sequence, attempt) = (stream.sequence, stream.attempt);
                let origin = stream.origin.take();
                stream.sequence += 1;
                if is_own && attempt == 1 {
                    let expected = stream.heard_up_to.map_or(sequence, |it| it + 1);
                    assert_eq!(sequence, expected, "{conn}");
                    stream.heard_up_to = Some(sequence);
                }
                self.seen.again += u64::from(attempt > 1);
                self.seen.dead += u64::from(origin.is_some());
                let goes_alone =
                    self.model
                        .handed_out(conn, sequence, attempt, &body, origin.as_ref());
                self.seen.alone += u64::from(goes_alone);
            }
            other @ (Said::Control(_) | Said::Line(_)) => panic!("{conn}: {other:?}"),
        }
    }

    fn compare_producers(&mut self) {
        for (conn, told) in &mut self.told {
            for control in self.world.producer_reads(*conn) {
                if let Control::Confirmed { position, unrouted } = control {
                    (told.confirmed, told.unrouted) = (position, unrouted);
                } else if let Control::Refused(range, reason) = control {
                    let refused = (range.from..=range.to).map(|it| (it, reason.code.clone()));
                    told.refused.extend(refused);
                    self.seen.refused += 1;
                } else if let Control::Error(reason) = control {
                    assert_eq!(reason.code, "drain_timeout");
                } else if matches!(control, Control::GoAway { .. }) {
                    assert!(!told.is_going, "{conn} is asked to finish twice");
                    told.is_going = true;
                } else {
                    let waits = matches!(control, Control::Blocked { .. });
                    assert!(waits, "{conn}: {control:?}");
                    self.seen.waited += 1;
                }
            }
            if let Some(expected) = self.model.told(*conn) {
                assert_eq!(*told, expected, "{conn}");
            }
        }
        let (model, world) = (&self.model, &mut self.world);
        self.told.retain(|conn, _| {
            let is_there = model.has_producer(*conn);
            let closed = world.closed(*conn);
            assert_eq!(closed.is_none(), is_there, "{conn}: {closed:?}");
            is_there
        });
        self.producers.retain(|_, conn| model.has_producer(*conn));
    }

    fn compare_groups(&self) {
        for (topic, group, expected) in self.model.groups() {
            let name = TopicName::new(&topic).expect("a topic");
            let Some(id) = self.world.broker.topic_named(&name) else {
                // Nobody has died yet.
                assert_eq!(expected, Holds::default(), "{topic}");
                continue;
            };
            let views = self.world.broker.groups_of(id, None);
            let view = views.into_iter().find(|view| match &group {
                GroupName::Queue => view.id == GroupId::Shared,
                GroupName::Named(name) => view.name.as_ref().is_some_and(|it| it.as_str() == name),
                GroupName::Own(conn) => view.id == GroupId::Own(*conn),
            });
            let view = view.unwrap_or_else(|| panic!("{topic} has no {group:?}"));
            let expired = view.flow.dropped[DropReason::Expired.index()].messages;
            let holds = Holds {
                ready: view.backlog.messages,
                unsettled: view.unsettled.messages,
                delayed: view.delayed.messages,
                lost: view.flow.dropped_in_all().messages - expired,
                expired,
            };
            assert_eq!(holds, expected, "{topic}, {group:?}");
            assert_eq!(view.given_up.messages, 0);
        }
    }
}
