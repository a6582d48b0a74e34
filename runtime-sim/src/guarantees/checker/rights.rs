//! Who may do what: nothing is handed to, and nothing taken from, whoever has no right to that; nobody is refused who
//! has one; and whoever may not go on is gone.

use super::Checker;
use super::state::Conn;
use crate::checker::Invariant;
use crate::guarantees::history::Asked;
use crate::guarantees::rights::Rights;
use crate::plan::{Micros, SECOND};
use message_queue_core::wire::control::{Range, Reason};
use message_queue_core::{CloseReason, ConnId};

/// How long a connection goes on whose time is over.
const GRACE: Micros = 5 * SECOND;

/// Whom the broker takes a peer for.
#[derive(Clone)]
pub(super) struct Who {
    pub(super) principal: String,
    pub(super) rights: Rights,
    /// When its time is over.
    pub(super) until: Option<Micros>,
}

/// What a connection does that rights are about.
pub(super) struct Standing {
    /// Who it is; none: it may do everything.
    pub(super) who: Option<Who>,
    /// Whether it was found to be nobody that is known.
    pub(super) is_disowned: bool,
    /// Whether what a producer sends is for a topic that it had a right to when it said so.
    pub(super) is_allowed_there: bool,
    /// Messages that were sent without a right, and are to be refused.
    pub(super) unrefused: std::collections::BTreeSet<u64>,
}

impl Standing {
    pub(super) const fn new() -> Self {
        Self {
            who: None,
            is_disowned: false,
            is_allowed_there: true,
            unrefused: std::collections::BTreeSet::new(),
        }
    }

    /// Whether its time is over at `at`.
    fn is_over(&self, at: Micros) -> bool {
        let until = self.who.as_ref().and_then(|it| it.until);
        until.is_some_and(|until| until <= at)
    }
}

impl Checker {
    pub(super) fn identified(&mut self, conn: ConnId, who: Who) {
        let at = self.at;
        self.state.asks_who = true;
        let state = self.state.conn(conn);
        let before = state.standing.who.as_ref().and_then(|it| it.until);
        let over = before.filter(|until| state.is_accepted && *until <= at);
        // More time after the end is for the next connection.
        state.standing.who = Some(Who {
            until: over.or(who.until),
            ..who
        });
    }

    pub(super) fn accepted_with_a_right(&mut self, conn: ConnId) {
        let at = self.at;
        let state = self.state.conn(conn);
        let may = state.may_do_what_it_asked() && !state.standing.is_over(at);
        self.must(may, Invariant::Rights, || {
            format!("{conn} is accepted and has no right to what it asks for")
        });
    }

    /// The name of a producer belongs to who took it first. Returns whose it is.
    pub(super) fn owner_of_name(&mut self, conn: ConnId, key: &(String, String)) -> Option<String> {
        let principal = self.state.conn(conn).principal();
        let life = self.state.lives.get(key);
        let owner = life.map_or_else(|| principal.clone(), |life| life.owner.clone());
        self.must(owner == principal, Invariant::Rights, || {
            format!("{conn} is {principal:?} and takes {key:?}, which belongs to {owner:?}")
        });
        owner
    }

    pub(super) fn handed_with_a_right(&mut self, conn: ConnId, body: &str) {
        let at = self.at;
        let state = self.state.conn(conn);
        let until = state.standing.who.as_ref().and_then(|it| it.until);
        // At the very end of its time others may have had their turn first.
        let in_time = until.is_none_or(|until| at <= until);
        let may = state.may_do_what_it_asked() && in_time;
        self.must(may, Invariant::Rights, || {
            format!("{conn} is handed {body} and has no right to it")
        });
    }

    /// A producer says where what follows belongs.
    pub(super) fn heard_topic(&mut self, conn: ConnId, topic: &str) {
        let at = self.at;
        let state = self.state.conn(conn);
        let may = state.may(|rights| rights.allow_to_send(topic));
        state.standing.is_allowed_there = may && !state.standing.is_over(at);
    }

    /// A producer has sent messages, up to its last position.
    pub(super) fn sent_with_a_right(&mut self, conn: ConnId, messages: u64) {
        let state = self.state.conn(conn);
        if !state.standing.is_allowed_there {
            let positions = state.received - messages + 1..=state.received;
            state.standing.unrefused.extend(positions);
        }
    }

    /// A refusal for want of a right is for what was sent without one, and for nothing else.
    pub(super) fn told_refused(&mut self, conn: ConnId, range: Range, reason: &Reason) {
        let unrefused = &mut self.state.conn(conn).standing.unrefused;
        let for_this = reason.code == "forbidden";
        let fits = (range.from..=range.to).all(|it| unrefused.remove(&it) == for_this);
        self.must(fits, Invariant::Rights, || {
            format!("{conn} is told {} of {range:?}", reason.code)
        });
    }

    /// What was sent without a right is refused before anything after it is confirmed.
    pub(super) fn confirmed_with_a_right(&mut self, conn: ConnId, position: u64) {
        let first = self.state.conn(conn).standing.unrefused.first().copied();
        let may = first.is_none_or(|first| first > position);
        self.must(may, Invariant::Rights, || {
            format!("{conn}: {position} is confirmed, and {first:?} was sent without a right")
        });
    }

    /// Whether it is for want of a right, or of a known name, that a connection is closed.
    pub(super) fn is_turned_away(&self, conn: ConnId, reason: CloseReason) -> bool {
        let at = self.at;
        let state = &self.state.conns[&conn];
        let standing = &state.standing;
        if reason == CloseReason::Forbidden {
            let lacks = standing.is_allowed_there && !state.may_do_what_it_asked();
            return lacks || (!state.is_accepted && self.asks_for_anothers_name(state));
        }
        let grace = if state.is_accepted { GRACE } else { 0 };
        let until = standing.who.as_ref().and_then(|it| it.until);
        standing.is_disowned || until.is_some_and(|until| until + grace <= at)
    }

    fn asks_for_anothers_name(&self, state: &Conn) -> bool {
        let Asked::ToSend {
            topic,
            life: Some((name, _)),
            ..
        } = &state.asked
        else {
            return false;
        };
        let life = self.state.lives.get(&(topic.clone(), name.clone()));
        life.is_some_and(|life| life.owner != state.principal())
    }

    /// Whoever may not go on is gone; whose time is over was told to go, and has its grace.
    pub(super) fn nobody_goes_on_without_a_right(&mut self) {
        if !self.state.asks_who {
            return;
        }
        let at = self.at;
        let conns = self.state.conns.iter();
        let found = conns.filter(|(_, state)| state.closed.is_none());
        let found = found.map(|(conn, state)| (*conn, state.goes_on_without_a_right(at)));
        let found = found.filter_map(|(conn, why)| Some((conn, why?))).next();
        if let Some((conn, why)) = found {
            self.broken(Invariant::Rights, || format!("{conn} {why}"));
        }
    }
}

impl Conn {
    fn principal(&self) -> Option<String> {
        let who = self.standing.who.as_ref();
        who.map(|who| who.principal.clone())
    }

    fn may(&self, allow: impl FnOnce(&Rights) -> bool) -> bool {
        let who = self.standing.who.as_ref();
        who.is_none_or(|who| allow(&who.rights))
    }

    fn may_do_what_it_asked(&self) -> bool {
        self.may(|rights| match &self.asked {
            Asked::ToSend { topic, .. } => rights.allow_to_send(topic),
            Asked::ToReceive { consumer, group } => rights.allow_to_receive(&consumer.topic, group),
        })
    }

    /// Why it should not be there any more, if it should not.
    fn goes_on_without_a_right(&self, at: Micros) -> Option<&'static str> {
        let standing = &self.standing;
        let until = standing.who.as_ref().and_then(|it| it.until);
        let ended_before = |time: Micros| until.is_some_and(|until| until + time < at);
        if standing.is_disowned {
            return Some("is nobody that is known, and is there");
        }
        if self.is_accepted && standing.is_allowed_there && !self.may_do_what_it_asked() {
            return Some("has lost its right, and is there");
        }
        if ended_before(if self.is_accepted { GRACE } else { 0 }) {
            return Some("is there after its time");
        }
        let is_told = self.is_going_away || self.is_busy;
        (ended_before(0) && !is_told).then_some("was not told that its time is over")
    }
}

impl Rights {
    fn allow_to_send(&self, topic: &str) -> bool {
        one_matches(&self.produce, topic) || self.allow_dead_letters(topic)
    }

    fn allow_to_receive(&self, wanted: &str, group: &str) -> bool {
        let may_join = self.groups.as_ref().is_none_or(|groups| {
            let mut groups = groups.iter();
            !group.starts_with("own-") && groups.any(|it| is_one_of(it, group))
        });
        let may_receive = if wanted == "jobs.*" {
            // What covers all of that, of what a plan has.
            let mut patterns = self.consume.iter();
            patterns.any(|it| it == wanted || it == ">")
        } else {
            one_matches(&self.consume, wanted)
        };
        (may_join && may_receive) || self.allow_dead_letters(wanted)
    }

    fn allow_dead_letters(&self, topic: &str) -> bool {
        let source = topic.strip_suffix(".dead");
        source.is_some_and(|source| one_matches(&self.admin, source))
    }
}

fn one_matches(patterns: &[String], topic: &str) -> bool {
    let is_dead = topic.ends_with(".dead");
    let matches = |pattern: &String| match pattern.as_str() {
        ">" => !is_dead,
        "jobs.*" => !is_dead && topic.starts_with("jobs."),
        name => name == topic,
    };
    patterns.iter().any(matches)
}

/// Whether a pattern of groups matches a name.
fn is_one_of(pattern: &str, group: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => group.starts_with(start),
        None => pattern == group,
    }
}
