//! What consumers read.

use crate::lockstep::Lockstep;
use message_queue_core::ConnId;
use message_queue_core::wire::control::{Control, Range};
use message_queue_tests::groups_model::{HandedOut, Origin};
use message_queue_tests::world::Said;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What each consumer has read and the model has not been told.
type Unheard = BTreeMap<ConnId, VecDeque<Said>>;

/// What was said to a consumer of the messages that follow.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The topic, to who has asked for a pattern.
    pub(crate) topic: Option<String>,
    /// The next message, since the last TOPIC or RUN.
    pub(crate) run: Option<Run>,
    pub(crate) origin: Option<Origin>,
    /// The sequence after the last that is not missing without a word, for each topic in which it has a group of its own;
    /// 1 where there is none yet.
    pub(crate) next: BTreeMap<String, u64>,
    /// The positions that were taken from it.
    pub(crate) revoked: Vec<u64>,
    /// Whether it was asked to finish.
    pub(crate) is_going: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    sequence: u64,
    published: Duration,
    attempt: u32,
}

impl Lockstep {
    /// Everybody reads, and the model is told.
    pub(crate) fn hear_all(&mut self) {
        let mut unheard = Unheard::new();
        for conn in self.consumers.values() {
            let said = self.world.consumer_reads(*conn);
            unheard.insert(*conn, said.into());
        }
        self.hear_what_is_known(&mut unheard);
        // What nobody was ready for has made room for others.
        self.model.what_nobody_was_ready_for_goes();
        self.hear_what_is_known(&mut unheard);
        for (conn, said) in unheard {
            assert!(said.is_empty(), "{conn}: {said:?} came out of nothing");
        }
        self.model.check_that_all_is_handed_out();
    }

    /// Tells the model what consumers have read, each up to the first message that it does not know yet.
    fn hear_what_is_known(&mut self, unheard: &mut Unheard) {
        for (conn, said) in unheard {
            while let Some(next) = said.pop_front() {
                if matches!(next, Said::Message(_)) && !self.is_known(*conn) {
                    said.push_front(next);
                    break;
                }
                self.hear(*conn, next);
            }
        }
    }

    fn is_known(&self, conn: ConnId) -> bool {
        let stream = &self.streams[&conn];
        let topic = self.model.topic_of_message(conn, stream.topic.as_deref());
        let run = stream.run.as_ref();
        let run = run.unwrap_or_else(|| panic!("{conn}: a message without a RUN"));
        self.model.has_taken_in(&topic, run.sequence)
    }

    fn hear(&mut self, conn: ConnId, said: Said) {
        let stream = self.streams.get_mut(&conn).expect("it is connected");
        match said {
            Said::Control(Control::Topic(topic)) => {
                assert_ne!(stream.topic.as_deref(), Some(&*topic), "{conn}: once more");
                stream.topic = Some(topic);
                stream.run = None;
                self.seen.topics += 1;
            }
            Said::Control(Control::Run {
                first,
                attempt,
                published,
            }) => {
                stream.run = Some(Run {
                    sequence: first,
                    published: Duration::from_millis(published),
                    attempt,
                });
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
            Said::Control(Control::Gap(range, code)) => self.hear_of_gap(conn, range, &code.code),
            Said::Message(body) => self.hear_message(conn, &body),
            other @ (Said::Control(_) | Said::Line(_)) => panic!("{conn}: {other:?}"),
        }
    }

    fn hear_of_gap(&mut self, conn: ConnId, missing: Range, code: &str) {
        let stream = self.streams.get_mut(&conn).expect("it is connected");
        let topic = self.model.topic_of_message(conn, stream.topic.as_deref());
        let is_own = self.model.is_own_group(conn, &topic);
        assert!(is_own, "{conn} is told of a gap: {missing:?}");
        let next = stream.next.entry(topic).or_insert(1);
        assert_eq!(missing.from, *next, "{conn}");
        *next = missing.to + 1;
        match code {
            "dropped" => self.seen.lost += missing.to - missing.from + 1,
            "expired" => {}
            other => panic!("{conn}: {other}"),
        }
        self.seen.gaps_by_pattern += u64::from(stream.topic.is_some());
    }

    fn hear_message(&mut self, conn: ConnId, body: &str) {
        let stream = self.streams.get_mut(&conn).expect("it is connected");
        let topic = self.model.topic_of_message(conn, stream.topic.as_deref());
        let is_own = self.model.is_own_group(conn, &topic);
        let run = stream.run.as_mut();
        let run = run.unwrap_or_else(|| panic!("{conn}: {body} without a RUN"));
        let Run {
            sequence,
            published,
            attempt,
        } = *run;
        run.sequence += 1;
        if is_own && attempt == 1 {
            let next = stream.next.entry(topic.clone()).or_insert(1);
            assert_eq!(sequence, *next, "{conn}");
            *next += 1;
        }
        let origin = stream.origin.take();
        let handed_out = HandedOut {
            topic: stream.topic.as_deref(),
            sequence,
            published,
            attempt,
            origin: origin.as_ref(),
            body,
        };
        let goes_alone = self.model.handed_out(conn, &handed_out);
        self.seen.again += u64::from(attempt > 1);
        self.seen.dead += u64::from(origin.is_some());
        self.seen.alone += u64::from(goes_alone);
        let is_by_pattern = stream.topic.is_some();
        self.seen.by_pattern += u64::from(is_by_pattern);
        self.seen.alone_by_pattern += u64::from(is_by_pattern && goes_alone);
        let several = self.model.holds_of_several_topics(conn);
        self.seen.of_several_topics += u64::from(several);
    }
}
