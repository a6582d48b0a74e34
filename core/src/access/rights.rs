//! Rights: to produce, to consume and to administer, each for the topics that patterns match.

use crate::names::{MAX_NAME, Name, NameError, Pattern, TopicFilter, TopicName};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// What a principal may do. What no right allows is forbidden.
///
/// A dead-letter topic (`jobs.dead`) is matched by no pattern, so that `>` does not open it. It is allowed to whoever has
/// a right that names it as it is, and to whoever may administer the topic that it belongs to (`jobs`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rights {
    /// The topics that it may send to.
    pub produce: Vec<Pattern>,
    /// The topics that it may receive from, and in which groups.
    pub consume: Vec<ConsumeRight>,
    /// The topics that it may administer: end and empty groups, move dead letters.
    pub admin: Vec<Pattern>,
}

/// A right to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConsumeRight {
    /// From which topics.
    pub topics: Pattern,
    /// As a member of which groups; none: of any, and in a group of its own.
    pub groups: Option<Vec<GroupPattern>>,
}

/// Groups: one by its name, or all whose names begin with what stands before a last `*`. A clone is a reference count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct GroupPattern(Arc<str>);

/// What stands for the rest of a group's name.
const REST: char = '*';

impl Rights {
    /// To do everything.
    pub fn all() -> Self {
        let Ok(everything) = Pattern::new(">") else {
            unreachable!("it is a pattern")
        };
        Self {
            produce: [everything.clone()].into(),
            consume: [ConsumeRight {
                topics: everything.clone(),
                groups: None,
            }]
            .into(),
            admin: [everything].into(),
        }
    }

    /// Whether it may send to a topic.
    pub fn may_produce(&self, topic: &TopicName) -> bool {
        allows(&self.produce, topic) || self.may_move_dead_letters(topic)
    }

    /// Whether it may receive what a role line asks for, as a member of a group; none: in one of its own. A pattern
    /// is allowed where one right covers all of it.
    pub fn may_consume(&self, topics: &TopicFilter, group: Option<&Name>) -> bool {
        let allowed = |right: &ConsumeRight| match topics {
            TopicFilter::Topic(topic) => allow(&right.topics, topic),
            TopicFilter::Pattern(pattern) => right.topics.covers(pattern),
        };
        let mut rights = self.consume.iter();
        rights.any(|right| right.allows_group(group) && allowed(right))
            || matches!(topics, TopicFilter::Topic(topic) if self.may_move_dead_letters(topic))
    }

    /// Whether it may administer a topic: one that it names, or the dead letters of one.
    pub fn may_administer(&self, topic: &TopicName) -> bool {
        allows(&self.admin, topic) || self.may_move_dead_letters(topic)
    }

    /// Whether it may administer all topics, and so what belongs to none: connections, above all.
    pub fn may_administer_all(&self) -> bool {
        self.admin.iter().any(|it| it.as_str() == ">")
    }

    /// Whether it may administer anything at all, and so see how the broker does.
    pub fn is_admin(&self) -> bool {
        !self.admin.is_empty()
    }

    /// Whether a topic holds dead letters of one that it may administer.
    fn may_move_dead_letters(&self, topic: &TopicName) -> bool {
        topic.source().is_some_and(|it| allows(&self.admin, &it))
    }
}

impl ConsumeRight {
    fn allows_group(&self, group: Option<&Name>) -> bool {
        match (&self.groups, group) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(allowed), Some(group)) => allowed.iter().any(|it| it.matches(group)),
        }
    }
}

fn allows(patterns: &[Pattern], topic: &TopicName) -> bool {
    patterns.iter().any(|it| allow(it, topic))
}

fn allow(pattern: &Pattern, topic: &TopicName) -> bool {
    pattern.matches(topic) || pattern.as_str() == topic.as_str()
}

impl GroupPattern {
    /// Checks a pattern of groups.
    ///
    /// # Errors
    /// See [`NameError`]: a `*` stands at the end or nowhere.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let start = text.strip_suffix(REST).unwrap_or(text);
        if start.contains(REST) {
            return Err(NameError::Wildcard);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::Length(text.len()));
        }
        // `*` alone is all of them.
        if !start.is_empty() || text.is_empty() {
            Name::new(start)?;
        }
        Ok(Self(text.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a group.
    pub fn matches(&self, group: &Name) -> bool {
        match self.0.strip_suffix(REST) {
            Some(start) => group.as_str().starts_with(start),
            None => group.as_str() == &*self.0,
        }
    }
}

impl fmt::Display for GroupPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for GroupPattern {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<GroupPattern> for String {
    fn from(pattern: GroupPattern) -> Self {
        pattern.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicName {
        TopicName::new(text).expect("a topic's name")
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("a pattern")
    }

    fn group(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn consume(topics: &str, groups: Option<&[&str]>) -> Rights {
        let of = |text: &&str| GroupPattern::new(text).expect("a pattern of groups");
        let right = ConsumeRight {
            topics: pattern(topics),
            groups: groups.map(|it| it.iter().map(of).collect()),
        };
        Rights {
            consume: [right].into(),
            ..Rights::default()
        }
    }

    #[test]
    fn without_rights_nothing_is_allowed_and_with_all_everything() {
        let (none, all) = (Rights::default(), Rights::all());
        for name in ["a", "gpu.0", "dead"] {
            let filter = TopicFilter::Topic(topic(name));
            for group in [None, Some(&group("g"))] {
                assert!(!none.may_consume(&filter, group) && all.may_consume(&filter, group));
            }
            assert!(!none.may_produce(&topic(name)) && all.may_produce(&topic(name)));
            assert!(!none.may_administer(&topic(name)) && all.may_administer(&topic(name)));
        }
        assert!(all.may_administer_all() && !none.may_administer_all());
        assert!(all.is_admin() && !none.is_admin());
        assert!(all.may_consume(&TopicFilter::Pattern(pattern(">")), None));
    }

    #[test]
    fn dead_letters_are_for_who_names_them_and_for_admins_of_their_topic() {
        let producer = |topics: &str| Rights {
            produce: [pattern(topics)].into(),
            ..Rights::default()
        };
        let admin = |topics: &str| Rights {
            admin: [pattern(topics)].into(),
            ..Rights::default()
        };
        let dead = topic("jobs.a.dead");
        assert!(!producer(">").may_produce(&dead));
        assert!(producer("jobs.a.dead").may_produce(&dead));
        assert!(admin("jobs.*").may_produce(&dead));
        assert!(!admin("job.*").may_produce(&dead));
        assert!(!admin("jobs.*").may_produce(&topic("jobs.a")));
        let filter = TopicFilter::Topic(dead.clone());
        assert!(!consume(">", None).may_consume(&filter, None));
        assert!(consume("jobs.a.dead", None).may_consume(&filter, None));
        assert!(admin(">").may_consume(&filter, None));
        assert!(admin("jobs.a").may_administer(&dead));
        assert!(!admin("jobs.a").may_administer_all());
    }

    #[test]
    fn a_right_to_some_groups_is_none_to_a_group_of_ones_own() {
        let rights = consume("jobs.>", Some(&["workers", "w-*"]));
        let jobs = TopicFilter::Topic(topic("jobs.a"));
        for good in ["workers", "w-", "w-1"] {
            assert!(rights.may_consume(&jobs, Some(&group(good))), "{good}");
        }
        for bad in ["worker", "workers2", "w", "queue"] {
            assert!(!rights.may_consume(&jobs, Some(&group(bad))), "{bad}");
        }
        assert!(!rights.may_consume(&jobs, None));
        let other = TopicFilter::Topic(topic("other"));
        assert!(!rights.may_consume(&other, Some(&group("workers"))));
    }

    #[test]
    fn a_pattern_is_allowed_where_one_right_covers_all_of_it() {
        let may = |right: &str, wanted: &str| {
            let wanted = TopicFilter::new(wanted).expect("a filter");
            consume(right, None).may_consume(&wanted, None)
        };
        for (right, wanted) in [
            (">", ">"),
            (">", "*"),
            (">", "gpu.*.temp"),
            ("gpu.>", "gpu.>"),
            ("gpu.>", "gpu.*"),
            ("gpu.>", "gpu.*.>"),
            ("gpu.*.temp", "gpu.*.temp"),
            ("*.*", "gpu.*"),
            ("*.>", "gpu.>"),
        ] {
            assert!(may(right, wanted), "{right} covers {wanted}");
        }
        for (right, wanted) in [
            ("*", ">"),
            ("*.>", ">"),
            ("gpu.*", "gpu.>"),
            ("gpu.>", "*.>"),
            ("gpu.0", "gpu.*"),
            ("gpu.*.temp", "gpu.*.*"),
            ("gpu.*", "gpu.*.*"),
            ("gpu.*.*", "gpu.*"),
        ] {
            assert!(!may(right, wanted), "{right} does not cover {wanted}");
        }
    }

    #[test]
    fn a_star_stands_at_the_end_of_a_pattern_of_groups_or_nowhere() {
        for good in ["*", "a", "a*", "a.b-*"] {
            assert_eq!(
                GroupPattern::new(good).map(|it| it.as_str() == good),
                Ok(true)
            );
        }
        assert_eq!(GroupPattern::new(""), Err(NameError::Length(0)));
        for bad in ["**", "*a", "a*b"] {
            assert_eq!(GroupPattern::new(bad), Err(NameError::Wildcard), "{bad}");
        }
        assert_eq!(GroupPattern::new("a b"), Err(NameError::Byte(b' ')));
        let long = "x".repeat(201);
        assert_eq!(GroupPattern::new(&long), Err(NameError::Length(201)));
        assert!(GroupPattern::new("*").is_ok_and(|it| it.matches(&group("any"))));
    }
}
