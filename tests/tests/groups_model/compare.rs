//! What the broker has said and holds, beside what the model says.

use crate::lockstep::Lockstep;
use message_queue_core::names::TopicName;
use message_queue_core::wire::control::Control;
use message_queue_core::{DropReason, GroupId};
use message_queue_tests::groups_model::{GroupName, Holds};

impl Lockstep {
    /// Everybody reads, and the model is asked whether that is right.
    pub(crate) fn compare(&mut self) {
        let now = self.world.now().since_start();
        if self.model.now() < now {
            self.model.time_is(now);
        }
        self.hear_all();
        // What is due now is done now.
        while self.world.pass_to_what_is_due(self.world.now()) {}
        self.model.time_is(now);
        self.hear_all();
        for (conn, stream) in &self.streams {
            if self.model.has_consumer(*conn) {
                assert_eq!(stream.revoked, self.model.revoked(*conn), "{conn}");
            }
        }
        self.model.drain_goes_on();
        self.compare_the_end();
        self.compare_producers();
        self.compare_groups();
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
        for (topic, is_made) in self.model.topics() {
            let name = TopicName::new(topic).expect("a topic");
            let is_there = self.world.broker.topic_named(&name).is_some();
            assert_eq!(is_there, is_made, "{topic}");
        }
        for (topic, group, expected) in self.model.groups() {
            let name = TopicName::new(&topic).expect("a topic");
            let id = self.world.broker.topic_named(&name);
            let id = id.expect("it is there");
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
