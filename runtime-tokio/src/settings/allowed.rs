//! Which values a setting may have.

use super::units::{TimeUnit, format_size, format_time, parse_size, parse_time};
use ipnet::IpNet;
use message_queue_core::names::{Pattern, TopicName};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The word for a port that is not there.
pub(super) const OFF: &str = "off";

/// The values that a setting may have. Displayed, it completes the sentence "use ...".
#[derive(Clone, Copy, Debug)]
pub enum Allowed {
    /// A whole number from `min` to `max`, both included.
    Number {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// What is counted, in the plural; empty for a number that counts nothing.
        unit: &'static str,
    },
    /// Bytes, from `min` to `max`, both included. A plain number counts bytes.
    Size {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// Whether 0 is allowed too, whatever `min` says.
        or_zero: bool,
    },
    /// A time, from `min` to `max` milliseconds, both included. A plain number counts milliseconds.
    Time {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
        /// Whether 0 is allowed too, whatever `min` says.
        or_zero: bool,
    },
    /// One of these words, in any letter case, or a time as in [`Time`](Self::Time), but never 0.
    WordOrTime {
        /// The words.
        words: &'static [&'static str],
        /// The shortest, in milliseconds.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// The number of a port; 0 stands for any free one.
    Port {
        /// Whether it may be `off` as well: no port at all.
        or_off: bool,
    },
    /// One of these words, in any letter case.
    OneOf(&'static [&'static str]),
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// A directory; it need not be there yet.
    Directory,
    /// A file, which must be there.
    File,
    /// The name of a topic that is no dead-letter topic.
    Topic,
    /// A pattern of topics with a wildcard in it, or nothing.
    Wildcards,
    /// Networks and addresses, with commas between.
    Networks,
    /// Any text of printable ASCII without spaces.
    Text,
    /// Directives of [`EnvFilter`].
    LogFilter,
}

impl Allowed {
    /// The value as it is kept (numbers without units, addresses in their usual form, words in lower
    /// case), or `None` where it is not allowed.
    pub(super) fn canonical(&self, value: &str) -> Option<String> {
        match self {
            Self::Number { min, max, .. } => {
                let number = value.parse().ok()?;
                (*min..=*max).contains(&number).then(|| number.to_string())
            }
            Self::Size { min, max, or_zero } => {
                within(parse_size(value).ok()?, *min, *max, *or_zero)
            }
            Self::Time { min, max, or_zero } => within(millis(value)?, *min, *max, *or_zero),
            Self::WordOrTime { words, min, max } => {
                word(words, value).or_else(|| within(millis(value)?, *min, *max, false))
            }
            Self::Port { or_off: true } if value.eq_ignore_ascii_case(OFF) => Some(OFF.to_owned()),
            Self::Port { .. } => Some(value.parse::<u16>().ok()?.to_string()),
            Self::OneOf(words) => word(words, value),
            Self::IpAddress => Some(value.parse::<IpAddr>().ok()?.to_string()),
            Self::Directory | Self::File => (!value.contains('\0')).then(|| value.to_owned()),
            Self::Topic => {
                let name = TopicName::new(value).ok()?;
                (!name.is_dead_letter()).then(|| value.to_owned())
            }
            Self::Wildcards if value.is_empty() => Some(String::new()),
            Self::Wildcards => {
                let pattern = Pattern::new(value).ok()?;
                let has_one = pattern.as_str().contains(['*', '>']);
                has_one.then(|| value.to_owned())
            }
            Self::Networks => {
                let networks = networks(value)?.into_iter();
                let networks: Vec<_> = networks.map(|it| it.to_string()).collect();
                Some(networks.join(","))
            }
            Self::Text => {
                let printable = value.bytes().all(|it| it.is_ascii_graphic());
                printable.then(|| value.to_owned())
            }
            Self::LogFilter => EnvFilter::builder()
                .parse(value)
                .ok()
                .map(|_| value.to_owned()),
        }
    }

    /// A value that [`canonical`](Self::canonical) gave, as it is shown: sizes and times with units.
    pub(super) fn shown(&self, canonical: &str) -> String {
        match (self, canonical.parse()) {
            (Self::Size { .. }, Ok(bytes)) => format_size(bytes),
            (Self::Time { .. } | Self::WordOrTime { .. }, Ok(millis)) => {
                format_time(Duration::from_millis(millis))
            }
            (
                Self::Size { .. }
                | Self::Time { .. }
                | Self::WordOrTime { .. }
                | Self::Number { .. }
                | Self::Port { .. }
                | Self::OneOf(_)
                | Self::IpAddress
                | Self::Directory
                | Self::File
                | Self::Topic
                | Self::Wildcards
                | Self::Networks
                | Self::Text
                | Self::LogFilter,
                _,
            ) => canonical.to_owned(),
        }
    }
}

/// A list of networks; an address is a network of one. An empty one has none.
pub(super) fn networks(value: &str) -> Option<Vec<IpNet>> {
    let network = |text: &str| {
        let text = text.trim();
        let network = text
            .parse()
            .or_else(|_| text.parse().map(|it: IpAddr| it.into()));
        network.ok().map(|it: IpNet| it.trunc())
    };
    match value {
        "" => Some(Vec::new()),
        value => value.split(',').map(network).collect(),
    }
}

/// The word that `value` is, in whatever letter case.
fn word(words: &[&str], value: &str) -> Option<String> {
    let word = words.iter().find(|word| word.eq_ignore_ascii_case(value))?;
    Some((*word).to_owned())
}

/// A whole number of milliseconds.
fn millis(value: &str) -> Option<u64> {
    let time = parse_time(value, TimeUnit::Milliseconds).ok()?;
    let whole = time.subsec_nanos().is_multiple_of(1_000_000);
    whole.then(|| time.as_millis().try_into().ok())?
}

fn within(number: u64, min: u64, max: u64, or_zero: bool) -> Option<String> {
    let allowed = (min..=max).contains(&number) || (or_zero && number == 0);
    allowed.then(|| number.to_string())
}

/// The shortest and the longest of some times, in milliseconds.
struct Times(u64, u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |millis| format_time(Duration::from_millis(millis));
        write!(f, "a time from {} to {}", shown(self.0), shown(self.1))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max, unit: "" } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max, unit } => {
                write!(f, "a whole number of {unit} from {min} to {max}")
            }
            Self::Size { min, max, or_zero } => {
                let zero = if *or_zero { "0, or " } else { "" };
                let (min, max) = (format_size(*min), format_size(*max));
                write!(f, "{zero}a size from {min} to {max}")
            }
            Self::Time { min, max, or_zero } => {
                let zero = if *or_zero { "0, or " } else { "" };
                write!(f, "{zero}{}", Times(*min, *max))
            }
            Self::WordOrTime { words, min, max } => {
                write!(f, "{}, or {}", words.join(", "), Times(*min, *max))
            }
            Self::Port { or_off } => {
                let off = if *or_off { ", or off" } else { "" };
                write!(f, "a whole number from 0 to {}{off}", u16::MAX)
            }
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::IpAddress => f.write_str("an IP address such as ::, 0.0.0.0 or 127.0.0.1"),
            Self::Directory => f.write_str("a path such as /var/lib/message-queue"),
            Self::File => f.write_str("the path of a file such as /etc/message-queue/topics.toml"),
            Self::Topic => f.write_str(
                "a name of A-Z a-z 0-9 _ - . such as orders.eu, and not with .dead at the end",
            ),
            Self::Wildcards => {
                f.write_str("a pattern of topics with a wildcard such as gpu.* or gpu.>")
            }
            Self::Networks => {
                f.write_str("networks and addresses such as 10.0.0.0/8,192.0.2.1,2001:db8::/32")
            }
            Self::Text => f.write_str("printable ASCII without spaces"),
            Self::LogFilter => {
                f.write_str("log directives such as debug or message_queue_tokio=debug,warn")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bounds() {
        let number = Allowed::Number {
            min: 3,
            max: 5,
            unit: "",
        };
        assert_eq!(number.canonical("3").as_deref(), Some("3"));
        assert_eq!(number.canonical("005").as_deref(), Some("5"));
        for wrong in [
            "2",
            "6",
            "-3",
            "3.0",
            "3 4",
            "four",
            "0x4",
            "18446744073709551619",
        ] {
            assert_eq!(number.canonical(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_and_times_take_units_and_are_kept_as_plain_numbers() {
        let size = |or_zero| Allowed::Size {
            min: 4096,
            max: 1 << 20,
            or_zero,
        };
        for (given, kept) in [("4096", "4096"), ("4KiB", "4096"), ("1MiB", "1048576")] {
            assert_eq!(size(false).canonical(given).as_deref(), Some(kept));
        }
        for wrong in ["0", "4095", "2MiB", "1 s", "-4096", "4096.0"] {
            assert_eq!(size(false).canonical(wrong), None, "{wrong}");
        }
        assert_eq!(size(true).canonical("0").as_deref(), Some("0"));
        assert_eq!(size(true).canonical("1"), None);
        assert_eq!(size(true).shown("65536"), "64KiB");
        let time = |or_zero| Allowed::Time {
            min: 10,
            max: 60_000,
            or_zero,
        };
        for (given, kept) in [("10", "10"), ("1.5s", "1500"), ("1m", "60000")] {
            assert_eq!(time(false).canonical(given).as_deref(), Some(kept));
        }
        for wrong in ["0", "9", "61s", "10.0005s", "1KiB", "18446744073709551615"] {
            assert_eq!(time(false).canonical(wrong), None, "{wrong}");
        }
        assert_eq!(time(true).canonical("0s").as_deref(), Some("0"));
        assert_eq!(time(true).shown("1500"), "1s500ms");
    }

    #[test]
    fn a_port_may_be_off_where_it_may() {
        let port = |or_off| Allowed::Port { or_off };
        for (given, kept) in [("0", "0"), ("65535", "65535"), ("Off", "off")] {
            assert_eq!(port(true).canonical(given).as_deref(), Some(kept));
        }
        for wrong in ["", "65536", "-1", "none", "9080x"] {
            assert_eq!(port(true).canonical(wrong), None, "{wrong}");
        }
        assert_eq!(port(false).canonical("off"), None);
    }

    #[test]
    fn words_come_in_any_letter_case() {
        let words = Allowed::OneOf(&["broadcast", "queue"]);
        assert_eq!(words.canonical("Queue").as_deref(), Some("queue"));
        assert_eq!(words.canonical("BROADCAST").as_deref(), Some("broadcast"));
        assert_eq!(words.canonical("fanout"), None);
        assert_eq!(words.canonical("queue,broadcast"), None);
    }

    #[test]
    fn a_word_may_stand_for_a_time() {
        let allowed = Allowed::WordOrTime {
            words: &["always", "never"],
            min: 1,
            max: 60_000,
        };
        for (given, kept) in [
            ("Always", "always"),
            ("NEVER", "never"),
            ("1", "1"),
            ("60000", "60000"),
            ("1m", "60000"),
            ("0.5s", "500"),
        ] {
            assert_eq!(allowed.canonical(given).as_deref(), Some(kept), "{given}");
        }
        for wrong in ["", "0", "60001", "61s", "-1", "sometimes", "alway", "1KiB"] {
            assert_eq!(allowed.canonical(wrong), None, "{wrong}");
        }
        assert_eq!(allowed.shown("500"), "500ms");
        assert_eq!(allowed.shown("never"), "never");
        assert_eq!(
            allowed.to_string(),
            "always, never, or a time from 1ms to 1m"
        );
    }

    #[test]
    fn a_topic_is_a_name_that_is_no_dead_letter_topics() {
        for name in ["default", "a.b", "dead", "A-1_b", &"x".repeat(200)] {
            assert_eq!(Allowed::Topic.canonical(name).as_deref(), Some(name));
        }
        for wrong in [
            "a b",
            "a..b",
            ".a",
            "a.",
            "a.dead",
            "a.*",
            ">",
            "ü",
            &"x".repeat(201),
        ] {
            assert_eq!(Allowed::Topic.canonical(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pattern_with_wildcards_has_one_or_is_none() {
        for pattern in ["", "gpu.*", "gpu.>", "*.temp"] {
            assert_eq!(
                Allowed::Wildcards.canonical(pattern).as_deref(),
                Some(pattern)
            );
        }
        for wrong in ["gpu", "gpu.>.temp", "gpu.a*", "gpu .*", ".*"] {
            assert_eq!(Allowed::Wildcards.canonical(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_and_log_directives_are_read_as_such() {
        assert_eq!(
            Allowed::IpAddress.canonical("0:0::1").as_deref(),
            Some("::1")
        );
        assert_eq!(Allowed::IpAddress.canonical("localhost"), None);
        assert_eq!(Allowed::IpAddress.canonical("127.0.0.1:80"), None);
        assert_eq!(
            Allowed::LogFilter.canonical("warn,a::b=trace").as_deref(),
            Some("warn,a::b=trace")
        );
        assert_eq!(Allowed::LogFilter.canonical("a=b=c"), None);
    }
}
