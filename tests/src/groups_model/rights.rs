//! Who may do what: what is refused, and whose connections end.

use super::{Consumer, Model, Producer, is_dead_letter_topic};
use message_queue_core::{ConnId, DeliveryMode};

/// What somebody may do. What is not allowed here is forbidden.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// The topics, by patterns, that may be sent to.
    pub produce: Vec<String>,
    /// The topics that may be read, and the groups in which; none: in any, and in a group of one's own.
    pub consume: Vec<(String, Option<Vec<String>>)>,
    /// The topics that may be administered.
    pub admin: Vec<String>,
}

/// Somebody who is known to the broker.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The rights.
    pub rights: Rights,
}

impl Rights {
    /// Whether messages may be sent to a topic.
    pub fn may_produce(&self, topic: &str) -> bool {
        self.produce.iter().any(|it| opens(it, topic)) || self.may_administer_source(topic)
    }

    /// Whether topics may be read as a member of a group; none: of one's own. For a pattern there has to be one right to
    /// all that it can match.
    pub fn may_consume(&self, topics: &str, group: Option<&str>) -> bool {
        let allows = |(right, groups): &(String, Option<Vec<String>>)| {
            let is_open = if is_pattern(topics) {
                covers(right, topics)
            } else {
                opens(right, topics)
            };
            is_open && allows_group(groups.as_deref(), group)
        };
        self.consume.iter().any(allows) || self.may_administer_source(topics)
    }

    /// Dead letters are open to whoever may administer the topic that they belong to.
    fn may_administer_source(&self, topic: &str) -> bool {
        let source = topic.strip_suffix(".dead");
        source.is_some_and(|source| self.admin.iter().any(|it| opens(it, source)))
    }
}

/// Whether a right to the topics of a pattern is one to this topic.
fn opens(pattern: &str, topic: &str) -> bool {
    pattern == topic || matches(pattern, topic)
}

/// Whether this stands for any number of topics.
pub fn is_pattern(topics: &str) -> bool {
    topics.split('.').any(|it| it == "*" || it == ">")
}

/// Whether a pattern matches all that another can match.
fn covers(pattern: &str, other: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let other: Vec<&str> = other.split('.').collect();
    // A `>` stands for one `*` and for more of them: the longest pattern here has three tokens.
    let lengths = 0..4;
    let all: Vec<Vec<&str>> = match other.split_last() {
        Some((&">", before)) => lengths
            .map(|more| [before, &vec!["*"; more + 1]].concat())
            .collect(),
        _ => vec![other],
    };
    all.iter().all(|tokens| tokens_match(&pattern, tokens))
}

/// Whether a pattern matches a topic: `*` is one token, and `>` one or more. Nothing matches dead letters.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let tokens: Vec<&str> = topic.split('.').collect();
    !is_dead_letter_topic(topic) && tokens_match(&pattern, &tokens)
}

fn tokens_match(pattern: &[&str], tokens: &[&str]) -> bool {
    match (pattern, tokens) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        ([first, pattern @ ..], [token, tokens @ ..]) => {
            (*first == "*" || first == token) && tokens_match(pattern, tokens)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// A right to some groups is none to a group of one's own.
fn allows_group(allowed: Option<&[String]>, group: Option<&str>) -> bool {
    let Some(allowed) = allowed else {
        return true;
    };
    let matches = |group: &str, allowed: &String| match allowed.strip_suffix('*') {
        Some(start) => group.starts_with(start),
        None => group == allowed,
    };
    group.is_some_and(|group| allowed.iter().any(|it| matches(group, it)))
}

impl Model {
    /// Whether somebody may send to a topic; whom nobody asks who it is, that may everything.
    pub fn may_produce(&self, who: Option<&Person>, topic: &str) -> bool {
        who.is_none_or(|it| it.rights.may_produce(topic))
    }

    /// Whether somebody may read a topic or a pattern, in a group that is named or in the topic's default.
    pub fn may_consume(&self, who: Option<&Person>, topic: &str, group: Option<&str>) -> bool {
        let mode = self.topics.get(topic).map(|it| it.rules.mode);
        // A pattern has no group by default that could be named.
        let default = (mode == Some(DeliveryMode::Queue)).then_some("queue");
        who.is_none_or(|it| it.rights.may_consume(topic, group.or(default)))
    }

    /// Whether somebody may send under a name: it belongs to whoever took it first.
    pub fn may_take_name(&self, who: Option<&Person>, topic: &str, name: &str) -> bool {
        let life = self.topics[topic].names.get(name);
        life.is_none_or(|life| life.owner.as_deref() == who.map(|it| &*it.name))
    }

    /// A connection is that of somebody with these rights, as the broker has just found out. Returns whether it stays.
    pub fn rights_are(&mut self, conn: ConnId, who: &Person) -> bool {
        let may_go_on = match (self.producers.get(&conn), self.consumers.get(&conn)) {
            (Some(Producer { topic, .. }), _) => who.rights.may_produce(topic),
            (None, Some(Consumer { asks, .. })) => {
                self.may_consume(Some(who), &asks.topics, asks.group.as_deref())
            }
            (None, None) => true,
        };
        if !may_go_on {
            self.is_turned_away(conn);
        }
        may_go_on
    }

    /// The broker ends a connection. What a consumer holds has not failed: that was not the consumer's doing.
    pub fn is_turned_away(&mut self, conn: ConnId) {
        if self.consumers.contains_key(&conn) {
            self.consumer_leaves(conn, true);
        } else {
            self.producer_is_cut(conn);
        }
    }

    /// A producer, of which nothing waits, sends so many messages to a topic that it has no right to.
    pub fn sends_where_it_may_not(&mut self, conn: ConnId, messages: usize) {
        let producer = self.producer(conn);
        for _ in 0..messages {
            producer.refused.push((producer.next, "forbidden"));
            producer.confirmed = producer.next;
            producer.next += 1;
        }
    }

    /// Whether a producer has a name.
    pub fn has_name(&self, conn: ConnId) -> bool {
        let producer = self.producers.get(&conn);
        producer.is_some_and(|it| it.name.is_some())
    }

    /// Whether something that a producer has sent is not taken in, or it has gone.
    pub fn waits_or_is_gone(&self, conn: ConnId) -> bool {
        let producer = self.producers.get(&conn);
        producer.is_none_or(|it| !it.waiting.is_empty() || it.has_ended)
    }
}
