//! Names that clients give: of topics, groups, producers and themselves; and patterns of topics.
//!
//! PROTOCOL.md, section "Names". A name is checked once, where it comes in; from then on its type says that
//! it is one.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 200;

/// The last token of a dead-letter topic's name.
const DEAD: &str = "dead";

/// What stands for one token in a pattern.
const ANY_TOKEN: &str = "*";

/// What stands for one token or more at the end of a pattern.
const ANY_TOKENS: &str = ">";

/// The name of a group, a producer or a client: 1 to 200 bytes of `A-Z a-z 0-9 _ - .`. A clone is a reference
/// count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Name(Arc<str>);

/// The name of a topic: a [`Name`] whose dots separate tokens, none of them empty. A clone is a reference count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct TopicName(Arc<str>);

/// What a consumer asks for: one topic, or a pattern of topics. A clone is a reference count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TopicFilter {
    /// One topic.
    Topic(TopicName),
    /// All topics that a pattern matches, those made later included.
    Pattern(Pattern),
}

/// A pattern of topics: tokens between dots, of which `*` stands for any one and a last `>` for any one or more.
/// Dead-letter topics match no pattern. A clone is a reference count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Pattern(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty, or longer than [`MAX_NAME`] bytes.
    Length(usize),
    /// A byte in it is not allowed.
    Byte(u8),
    /// Two dots stand together, or a dot stands first or last.
    EmptyToken,
    /// A wildcard is only part of a token, or `>` is not the last.
    Wildcard,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, is_name_byte)?;
        Ok(Self(text.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicName {
    /// Checks a topic's name.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, is_name_byte)?;
        if text.split('.').any(str::is_empty) {
            return Err(NameError::EmptyToken);
        }
        Ok(Self(text.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the name of a dead-letter topic: its last token is `dead`, and not its only one.
    pub fn is_dead_letter(&self) -> bool {
        self.source_name().is_some()
    }

    /// The topic whose dead letters it holds, if it is the name of a dead-letter topic.
    pub fn source(&self) -> Option<Self> {
        self.source_name().map(|it| Self(it.into()))
    }

    fn source_name(&self) -> Option<&str> {
        let (source, last) = self.0.rsplit_once('.')?;
        (last == DEAD).then_some(source)
    }
}

impl TopicFilter {
    /// Checks what a consumer asks for. With a wildcard in it, it is a pattern.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.contains([ANY_TOKEN, ANY_TOKENS].map(|it| it.as_bytes()[0] as char)) {
            Pattern::new(text).map(Self::Pattern)
        } else {
            TopicName::new(text).map(Self::Topic)
        }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl Pattern {
    /// Checks a pattern. One without a wildcard matches the topic of that name.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text, |byte| {
            is_name_byte(byte) || matches!(byte, b'*' | b'>')
        })?;
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            let is_last = tokens.peek().is_none();
            match token {
                "" => return Err(NameError::EmptyToken),
                ANY_TOKEN => {}
                ANY_TOKENS if is_last => {}
                _ if token.contains(['*', '>']) => return Err(NameError::Wildcard),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a topic. The cost is that of comparing two names.
    pub fn matches(&self, topic: &TopicName) -> bool {
        if topic.is_dead_letter() {
            return false;
        }
        let mut tokens = topic.as_str().split('.');
        for wanted in self.0.split('.') {
            match (wanted, tokens.next()) {
                (_, None) => return false,
                (ANY_TOKENS, Some(_)) => return true,
                (ANY_TOKEN, Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                (_, Some(_)) => return false,
            }
        }
        tokens.next().is_none()
    }

    /// The tokens of a topic that its wildcards stand for, with dots between; none if it does not match it or has no
    /// wildcards.
    pub fn remaining(&self, topic: &TopicName) -> Option<String> {
        if !self.matches(topic) {
            return None;
        }
        let (mut tokens, mut remaining) = (topic.as_str().split('.'), Vec::new());
        for wanted in self.0.split('.') {
            match wanted {
                ANY_TOKEN => remaining.extend(tokens.next()),
                ANY_TOKENS => remaining.extend(tokens.by_ref()),
                _ => drop(tokens.next()),
            }
        }
        (!remaining.is_empty()).then(|| remaining.join("."))
    }

    /// Whether it matches every topic that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.0.split('.');
        for ours in self.0.split('.') {
            match (ours, theirs.next()) {
                (_, None) => return false,
                (ANY_TOKENS, Some(_)) => return true,
                (ANY_TOKEN, Some(token)) if token != ANY_TOKENS => {}
                (ours, Some(token)) if ours == token => {}
                (_, Some(_)) => return false,
            }
        }
        theirs.next().is_none()
    }
}

fn check(text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), NameError> {
    if text.is_empty() || text.len() > MAX_NAME {
        return Err(NameError::Length(text.len()));
    }
    match text.bytes().find(|byte| !allowed(*byte)) {
        Some(byte) => Err(NameError::Byte(byte)),
        None => Ok(()),
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "{length} bytes; allowed: 1 to {MAX_NAME}"),
            Self::Byte(byte) => write!(
                f,
                "the byte '{}'; allowed: A-Z a-z 0-9 _ - .",
                byte.escape_ascii()
            ),
            Self::EmptyToken => f.write_str("an empty token: a dot stands first, last or twice"),
            Self::Wildcard => f.write_str(
                "a wildcard in the wrong place: * stands for a whole token, > for all the last",
            ),
        }
    }
}

impl core::error::Error for NameError {}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl TryFrom<String> for TopicName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().into()
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.as_str().into()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicName {
        TopicName::new(text).expect("a topic's name")
    }

    #[test]
    fn a_name_has_1_to_200_bytes_of_an_alphabet() {
        for good in ["a", "A-Z_0.9", ".", "..", &"x".repeat(200)] {
            assert_eq!(Name::new(good).map(|it| it.as_str().len()), Ok(good.len()));
        }
        assert_eq!(Name::new(""), Err(NameError::Length(0)));
        assert_eq!(Name::new(&"x".repeat(201)), Err(NameError::Length(201)));
        for byte in (0..=0x7f_u8).filter(|byte| !is_name_byte(*byte)) {
            let text = alloc::format!("a{}", char::from(byte));
            assert_eq!(Name::new(&text), Err(NameError::Byte(byte)));
        }
        assert_eq!(Name::new("é"), Err(NameError::Byte(0xc3)));
    }

    #[test]
    fn a_topic_has_no_empty_token_and_no_wildcard() {
        for good in ["a", "gpu.0.temp", "a-b_c.D", "dead"] {
            assert_eq!(topic(good).as_str(), good);
        }
        for bad in [".", ".a", "a.", "a..b"] {
            assert_eq!(TopicName::new(bad), Err(NameError::EmptyToken), "{bad}");
        }
        assert_eq!(TopicName::new("a.*"), Err(NameError::Byte(b'*')));
    }

    #[test]
    fn a_wildcard_is_a_whole_token_and_the_open_one_is_last() {
        for good in ["*", ">", "a.*.b", "a.>", "*.*.>", "a"] {
            assert!(Pattern::new(good).is_ok(), "{good}");
        }
        for bad in ["a*", "*a.b", "**", "a.>b", ">.a", ">.>", "a.>.*"] {
            assert_eq!(Pattern::new(bad), Err(NameError::Wildcard), "{bad}");
        }
        assert_eq!(Pattern::new("*..a"), Err(NameError::EmptyToken));
        assert_eq!(Pattern::new("a b"), Err(NameError::Byte(b' ')));
    }

    #[test]
    fn a_pattern_matches_token_by_token() {
        let matches = |pattern: &str, name: &str| {
            Pattern::new(pattern)
                .expect("a pattern")
                .matches(&topic(name))
        };
        for (pattern, name) in [
            ("gpu.*.temp", "gpu.0.temp"),
            ("gpu.>", "gpu.0"),
            ("gpu.>", "gpu.0.temp"),
            ("*", "gpu"),
            (">", "gpu.0.temp"),
            ("*.>", "gpu.0"),
            ("gpu", "gpu"),
            ("*", "dead"),
        ] {
            assert!(matches(pattern, name), "{pattern} matches {name}");
        }
        for (pattern, name) in [
            ("gpu.*.temp", "gpu.0.power"),
            ("gpu.*.temp", "gpu.temp"),
            ("gpu.*.temp", "gpu.0.1.temp"),
            ("gpu.>", "gpu"),
            ("*.>", "gpu"),
            ("*", "gpu.0"),
            ("gpu", "gpus"),
            (">", "gpu.dead"),
            ("gpu.dead", "gpu.dead"),
        ] {
            assert!(!matches(pattern, name), "{pattern} does not match {name}");
        }
    }

    #[test]
    fn what_remains_of_a_topic_is_what_wildcards_stand_for() {
        for (pattern, name, remaining) in [
            ("gpu.*.temp", "gpu.7.temp", Some("7")),
            ("gpu.>", "gpu.7.temp", Some("7.temp")),
            ("*.temp.>", "7.temp.a.b", Some("7.a.b")),
            (">", "gpu", Some("gpu")),
            ("gpu", "gpu", None),
            ("gpu.*", "cpu.7", None),
            ("gpu.>", "gpu.7.dead", None),
        ] {
            let pattern = Pattern::new(pattern).expect("a pattern");
            assert_eq!(pattern.remaining(&topic(name)).as_deref(), remaining);
        }
    }

    #[test]
    fn a_filter_is_a_pattern_if_it_has_a_wildcard() {
        assert_eq!(
            TopicFilter::new("gpu.dead"),
            Ok(TopicFilter::Topic(topic("gpu.dead")))
        );
        assert!(matches!(
            TopicFilter::new("gpu.*"),
            Ok(TopicFilter::Pattern(_))
        ));
        assert_eq!(TopicFilter::new("gpu*"), Err(NameError::Wildcard));
    }
}
