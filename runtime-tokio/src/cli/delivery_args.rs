//! The flags with which `produce` and `consume` speak wire version 2: confirmed, acknowledged, by topic.

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use message_queue_core::wire::Role;
use message_queue_core::wire::handshake::{RoleOptions, Share, Start};

/// Where `--help` shows them.
const HEADING: &str = "Confirmed and acknowledged (wire version 2; any of these turns it on)";

/// Of `produce`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ConfirmArgs {
    /// Publish to this topic [default: the broker's DEFAULT_TOPIC]
    #[arg(long, value_name = "TOPIC", value_parser = topic_name, help_heading = HEADING)]
    pub(crate) topic: Option<String>,

    /// Have the broker confirm each message, and end with 0 only if it has confirmed all
    #[arg(long, help_heading = HEADING)]
    pub(crate) confirm: bool,

    /// Publish under this name, each message exactly once: the broker remembers how many messages of this name it
    /// has, so what is sent again after a failure begins behind them. Give each input a name of its own
    #[arg(long, value_name = "NAME", value_parser = producer_name, help_heading = HEADING)]
    pub(crate) name: Option<String>,
}

impl ConfirmArgs {
    /// Whether any of them is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.topic.is_some() || self.confirm || self.name.is_some()
    }
}

/// Of `consume`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct AckArgs {
    /// Read this topic, or the topics of a pattern: gpu.*.temp (* is one token), gpu.> (> is one or more)
    #[arg(long, value_name = "TOPIC", value_parser = topic_filter, help_heading = HEADING)]
    pub(crate) topic: Option<String>,

    /// Be a member of this group: its members share the work, and it keeps messages while nobody is there
    #[arg(long, value_name = "GROUP", value_parser = group_name, help_heading = HEADING)]
    pub(crate) group: Option<String>,

    /// Acknowledge each message once it is written; what is not goes back and to others
    #[arg(long, help_heading = HEADING)]
    pub(crate) ack: bool,

    /// Hold at most so many messages that are not acknowledged, 1 to 1000000 [default: 1000]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = HEADING
    )]
    pub(crate) prefetch: Option<u32>,

    /// Where the group begins if it is new: new, first, last, a sequence, or @ and milliseconds since 1970
    /// [default: new]
    #[arg(long, value_name = "START", value_parser = start, help_heading = HEADING)]
    pub(crate) from: Option<Start>,

    /// End once nothing is left for the group to do: nothing waits, also not for a delay or to be tried again, and no
    /// other member holds a message. With --count, at whichever comes first
    #[arg(long, help_heading = HEADING)]
    pub(crate) until_empty: bool,

    /// Share the group's messages with all its members, or let one at a time have them, in strict order
    /// [default: all]
    #[arg(
        long,
        value_name = "HOW",
        value_parser = PossibleValuesParser::new(["all", "one"]).map(|it| share(&it)),
        help_heading = HEADING
    )]
    pub(crate) share: Option<Share>,

    /// Have the broker send the sums of messages, and end with 1 at one that was damaged on its way: it is not written,
    /// and goes back to the broker
    #[arg(long, help_heading = HEADING)]
    pub(crate) verify: bool,

    /// With --format json: each line is an object of topic, sequence, time, attempt and message
    #[arg(long, help_heading = HEADING)]
    pub(crate) meta: bool,
}

impl AckArgs {
    /// Whether any of them is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.topic.is_some()
            || self.group.is_some()
            || self.ack
            || self.prefetch.is_some()
            || self.from.is_some()
            || self.until_empty
            || self.share.is_some()
            || self.verify
            || self.meta
    }
}

/// Has the core check an option, which says what is allowed.
fn option(role: Role, key: &str, value: &str) -> Result<RoleOptions, String> {
    let value = value.replace('%', "%25").replace(' ', "%20");
    RoleOptions::parse(role, format!("{key}={value}").as_bytes()).map_err(|bad| bad.text)
}

pub(super) fn topic_name(text: &str) -> Result<String, String> {
    option(Role::Producer, "topic", text).map(|_| text.to_owned())
}

fn producer_name(text: &str) -> Result<String, String> {
    option(Role::Producer, "producer", text).map(|_| text.to_owned())
}

fn topic_filter(text: &str) -> Result<String, String> {
    option(Role::Consumer, "topic", text).map(|_| text.to_owned())
}

pub(super) fn group_name(text: &str) -> Result<String, String> {
    option(Role::Consumer, "group", text).map(|_| text.to_owned())
}

pub(super) fn start(text: &str) -> Result<Start, String> {
    match option(Role::Consumer, "from", text)? {
        RoleOptions::Consumer(options) => Ok(options.from),
        RoleOptions::Producer(_) => unreachable!("a consumer's option"),
    }
}

fn share(text: &str) -> Share {
    match text {
        "one" => Share::One,
        _ => Share::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_says_what_is() {
        for (error, part) in [
            (topic_name("a..b"), "empty token"),
            (topic_name("a.*"), "allowed"),
            (producer_name("no spaces"), "allowed"),
            (topic_filter("gpu*"), "wildcard"),
            (group_name(""), "1 to 200"),
            (start("tomorrow").map(|it| it.to_string()), "new"),
        ] {
            let error = error.expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(start("@17"), Ok(Start::Time(17)));
        assert_eq!(start("5"), Ok(Start::Sequence(5)));
        assert_eq!(topic_filter("gpu.>").as_deref(), Ok("gpu.>"));
    }
}
