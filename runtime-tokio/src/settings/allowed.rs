//! Which values a setting may have.

use std::fmt;
use std::net::IpAddr;
use tracing_subscriber::EnvFilter;

/// The values that a setting may have. Displayed, it completes the sentence "use ...".
#[derive(Debug)]
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
    /// Zero, which stands for "not set", or a whole number from `min` to `max`, both included.
    ZeroOrNumber {
        /// The smallest but for zero.
        min: u64,
        /// The largest.
        max: u64,
        /// What is counted, in the plural.
        unit: &'static str,
    },
    /// One of these words, in any letter case.
    OneOf(&'static [&'static str]),
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// A directory; it need not be there yet.
    Directory,
    /// Directives of [`EnvFilter`].
    LogFilter,
}

impl Allowed {
    /// The value as it is kept and printed (numbers and addresses in their usual form, words in
    /// lower case), or `None` where it is not allowed.
    pub(super) fn canonical(&self, value: &str) -> Option<String> {
        match self {
            Self::Number { min, max, .. } => {
                let number = value.parse().ok()?;
                (*min..=*max).contains(&number).then(|| number.to_string())
            }
            Self::ZeroOrNumber { min, max, .. } => {
                let number = value.parse().ok()?;
                (number == 0 || (*min..=*max).contains(&number)).then(|| number.to_string())
            }
            Self::OneOf(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(value))?;
                Some((*word).to_owned())
            }
            Self::IpAddress => Some(value.parse::<IpAddr>().ok()?.to_string()),
            Self::Directory => (!value.contains('\0')).then(|| value.to_owned()),
            Self::LogFilter => EnvFilter::builder()
                .parse(value)
                .ok()
                .map(|_| value.to_owned()),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max, unit: "" } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max, unit } => {
                write!(f, "a whole number of {unit} from {min} to {max}")
            }
            Self::ZeroOrNumber { min, max, unit } => {
                write!(f, "0, or a whole number of {unit} from {min} to {max}")
            }
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::IpAddress => f.write_str("an IP address such as 0.0.0.0, 127.0.0.1 or ::"),
            Self::Directory => f.write_str("a path such as /var/lib/message-queue"),
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
        let or_zero = Allowed::ZeroOrNumber {
            min: 3,
            max: 5,
            unit: "bytes",
        };
        assert_eq!(or_zero.canonical("0").as_deref(), Some("0"));
        assert_eq!(or_zero.canonical("5").as_deref(), Some("5"));
        assert_eq!(or_zero.canonical("2"), None);
        assert_eq!(or_zero.canonical("6"), None);
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
