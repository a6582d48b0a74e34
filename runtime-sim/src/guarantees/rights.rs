//! Who may do what, as a plan says it.

use super::plan::{Client, TOPICS, WhichGroup};
use crate::rng::Rng;
use message_queue_core::access::{ConsumeRight, GroupPattern, Rights as CoreRights};
use message_queue_core::names::Pattern;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A topic that is there, that no producer has a right to and no consumer that asks for it.
pub(super) const VAULT: &str = "vault";

/// The same of a topic that is not there.
pub(super) const NOWHERE: &str = "nowhere";

/// The rights of a principal. Patterns are the texts that an operator would write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// The topics that it may send to.
    pub produce: Vec<String>,
    /// The topics that it may receive from.
    pub consume: Vec<String>,
    /// The groups that it may join there; none: any, and one of its own.
    pub groups: Option<Vec<String>>,
    /// The topics that it may administer.
    pub admin: Vec<String>,
}

impl Rights {
    /// To do all that any client of a plan asks for, but for what is for nobody.
    pub fn all() -> Self {
        Self {
            produce: vec!["jobs.*".to_owned()],
            consume: vec!["jobs.*".to_owned()],
            groups: None,
            admin: vec!["jobs.*".to_owned()],
        }
    }

    /// Rights for a client: mostly what it needs, in one of the ways to say so.
    pub(super) fn draw(rng: &mut Rng, client: &Client) -> Self {
        let is_enough = rng.chance(70);
        let (topic, group) = match client {
            Client::Producer(plan) => (&plan.topic, None),
            Client::Consumer(plan) => (&plan.topic, Some(plan.group)),
        };
        if [VAULT, NOWHERE].contains(&topic.as_str()) {
            return Self::all();
        }
        let everything = "jobs.*".to_owned();
        if let Client::Producer(_) = client {
            let produce = match (is_enough, rng.chance(50)) {
                (true, true) => vec![topic.clone()],
                (true, false) => vec![NOBODYS.to_owned(), everything],
                (false, true) => vec![other(topic)],
                (false, false) => Vec::new(),
            };
            return Self {
                produce,
                ..Self::default()
            };
        }
        let is_dead = group == Some(WhichGroup::Queue);
        let consume = match (is_enough, rng.within(0..=2)) {
            (true, 0) => vec![topic.clone()],
            (true, 1) if !is_dead => vec![NOBODYS.to_owned(), everything.clone()],
            (true, _) if !is_dead => vec![">".to_owned()],
            // Who administers the topic may have its dead letters.
            (true, _) => Vec::new(),
            // Wide, and yet not for dead letters; narrow, where a pattern is asked for.
            (false, 0) if is_dead => vec![">".to_owned()],
            (false, 0 | 1) => vec![other(topic)],
            (false, _) => Vec::new(),
        };
        let admin = if is_dead && is_enough && consume.is_empty() {
            vec![everything]
        } else {
            Vec::new()
        };
        let groups = match (is_enough, group) {
            (true, Some(WhichGroup::Own)) => None,
            (true, Some(WhichGroup::Declared)) => rng.pick(&[None, Some("workers"), Some("w*")]),
            (true, Some(WhichGroup::Extra)) => rng.pick(&[None, Some("extra"), Some("*")]),
            (true, _) => rng.pick(&[None, Some("queue")]),
            (false, _) => rng.pick(&[None, Some("work"), Some("extra*")]),
        };
        // What is too little is too little of topics, or of groups.
        let consume = if !is_enough && groups.is_some() && rng.chance(50) {
            vec![topic.clone()]
        } else {
            consume
        };
        Self {
            produce: Vec::new(),
            consume,
            groups: groups.map(|it| vec![it.to_owned()]),
            admin,
        }
    }

    /// As the broker knows them.
    pub(super) fn of_the_core(&self) -> CoreRights {
        let patterns = |texts: &[String]| -> Vec<Pattern> {
            let pattern = |text: &String| Pattern::new(text).expect("a good pattern");
            texts.iter().map(pattern).collect()
        };
        let group = |text: &String| GroupPattern::new(text).expect("a good pattern");
        let groups = |texts: &Vec<String>| texts.iter().map(group).collect();
        let consume = patterns(&self.consume).into_iter();
        let consume = consume.map(|topics| ConsumeRight {
            topics,
            groups: self.groups.as_ref().map(groups),
        });
        CoreRights {
            produce: patterns(&self.produce),
            consume: consume.collect(),
            admin: patterns(&self.admin),
        }
    }
}

/// A right to topics that there are none of.
const NOBODYS: &str = "others.*.>";

/// Another topic than this; for the pattern, one that it matches.
fn other(topic: &str) -> String {
    let other = if topic == TOPICS[0] {
        TOPICS[1]
    } else {
        TOPICS[0]
    };
    other.to_owned()
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [produce, consume] = [&self.produce, &self.consume].map(|it| it.join(","));
        let groups = self
            .groups
            .as_ref()
            .map_or("any".to_owned(), |it| it.join(","));
        let admin = self.admin.join(",");
        write!(
            f,
            "produce[{produce}] consume[{consume}] groups[{groups}] admin[{admin}]"
        )
    }
}
