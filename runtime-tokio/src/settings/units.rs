//! Sizes and times as people write them: `512MiB`, `1.5GB`, `10s`, `1m30s`, or a plain number.
//!
//! The settings and the flags of the command line are read and shown by these.

use bytesize::ByteSize;
use std::time::Duration;

/// What a plain number of a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// As in the settings, whose names end in `_MS`.
    Milliseconds,
    /// As in the flags of the command line.
    Seconds,
}

/// A size in bytes: a plain number, or one with a unit (`KiB`, `MiB`, ... are powers of 1024; `KB`,
/// `MB`, ... powers of 1000). Fit to be clap's value parser.
///
/// # Errors
/// What is allowed instead, as the end of a sentence.
///
/// ```
/// # use message_queue_tokio::settings::parse_size;
/// assert_eq!(parse_size("512MiB"), Ok(536_870_912));
/// assert_eq!(parse_size("4096"), Ok(4096));
/// assert!(parse_size("12 parsecs").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<u64, String> {
    let size = text.trim().parse::<ByteSize>().map(|size| size.as_u64());
    match size {
        // Past what 64 bits hold the parser answers with the most they do.
        Ok(u64::MAX) | Err(_) => Err("use a size such as 4096, 64KiB or 1.5GB".to_owned()),
        Ok(size) => Ok(size),
    }
}

/// A time: a number with units (`ms`, `s`, `m`, `h`, `days`, ...; several may follow one another),
/// or a plain number, which counts what `plain` says.
///
/// # Errors
/// What is allowed instead, as the end of a sentence.
pub fn parse_time(text: &str, plain: TimeUnit) -> Result<Duration, String> {
    let text = text.trim();
    match (text.parse(), plain) {
        (Ok(number), TimeUnit::Milliseconds) => Ok(Duration::from_millis(number)),
        (Ok(number), TimeUnit::Seconds) => Ok(Duration::from_secs(number)),
        (Err(_), _) => humantime::parse_duration(text)
            .map_err(|_| "use a time such as 500ms, 10s or 1m30s".to_owned()),
    }
}

/// A time of which a plain number counts seconds. Fit to be clap's value parser.
///
/// # Errors
/// What is allowed instead, as the end of a sentence.
///
/// ```
/// # use message_queue_tokio::settings::parse_seconds;
/// # use std::time::Duration;
/// assert_eq!(parse_seconds("3"), Ok(Duration::from_secs(3)));
/// assert_eq!(parse_seconds("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(parse_seconds("soon").is_err());
/// ```
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    parse_time(text, TimeUnit::Seconds)
}

/// `bytes` exactly, in the unit that makes it the smallest whole number: `32MiB`, `64MB`, `1048580B`.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 9] = [
        (bytesize::TIB, "TiB"),
        (bytesize::TB, "TB"),
        (bytesize::GIB, "GiB"),
        (bytesize::GB, "GB"),
        (bytesize::MIB, "MiB"),
        (bytesize::MB, "MB"),
        (bytesize::KIB, "KiB"),
        (bytesize::KB, "KB"),
        (1, "B"),
    ];
    let unit = UNITS
        .iter()
        .find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!("{}{name}", bytes / size),
        None => "0".to_owned(),
    }
}

/// `time` exactly and without spaces: `10s`, `1m30s`, `0`.
pub fn format_time(time: Duration) -> String {
    if time.is_zero() {
        return "0".to_owned();
    }
    humantime::format_duration(time)
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1.5MiB", 1_572_864),
            ("512Mi", 536_870_912),
            ("1MB", 1_000_000),
            (" 7B ", 7),
            ("9007199254740993B", 9_007_199_254_740_993),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1 2",
            "10s",
            "0x10",
            "99999999999999999999",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("99999999EiB").is_err());
    }

    #[test]
    fn a_time_is_a_number_with_or_without_units() {
        let millis = |text| parse_time(text, TimeUnit::Milliseconds).map(|time| time.as_millis());
        for (text, expected) in [
            ("0", 0),
            ("250", 250),
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h 1ms", 3_600_001),
            (" 5 m ", 300_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "-1", "10MiB", "1.5", "99999999999999999999s"] {
            assert!(millis(text).is_err(), "{text}");
        }
        assert_eq!(parse_seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_seconds("2ms"), Ok(Duration::from_millis(2)));
        let most = u64::MAX.to_string();
        assert_eq!(parse_seconds(&most), Ok(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for (bytes, shown) in [
            (0, "0"),
            (1, "1B"),
            (1024, "1KiB"),
            (1_048_580, "1048580B"),
            (33_554_432, "32MiB"),
            (64_000_000, "64MB"),
            (1_024_000, "1000KiB"),
            (1 << 40, "1TiB"),
            (1 << 50, "1024TiB"),
        ] {
            assert_eq!(format_size(bytes), shown);
            assert_eq!(parse_size(shown), Ok(bytes));
        }
        for (time, shown) in [(0, "0"), (1, "1ms"), (90_000, "1m30s"), (3_600_000, "1h")] {
            let time = Duration::from_millis(time);
            assert_eq!(format_time(time), shown);
            assert_eq!(parse_time(shown, TimeUnit::Milliseconds), Ok(time));
        }
    }
}
