//! Seeds, and where a plan comes from, as they are written on the command line.

use super::CliError;
use message_queue_sim::scenario::{Plan, Scenario};
use std::convert::Infallible;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

/// Some seeds in a row: `N` for the first N, or `FROM..TO`, without TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds(pub(super) Range<u64>);

/// Not a range of seeds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed: a number of seeds, or FROM..TO with FROM below TO")]
pub(super) struct BadSeeds;

impl FromStr for Seeds {
    type Err = BadSeeds;

    fn from_str(text: &str) -> Result<Self, BadSeeds> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| BadSeeds);
        let range = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => 0..number(text)?,
        };
        if range.is_empty() {
            return Err(BadSeeds);
        }
        Ok(Self(range))
    }
}

/// A seed, or the file that holds a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Seed(u64),
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text
            .parse()
            .map_or_else(|_| Self::File(PathBuf::from(text)), Self::Seed))
    }
}

impl Source {
    /// The plan of the seed, or the plan in the file.
    pub(super) fn plan(&self, scenario: Scenario) -> Result<Plan, CliError> {
        match self {
            Self::Seed(seed) => Ok(scenario.plan(*seed)),
            Self::File(path) => Ok(scenario.read(path)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_range() {
        assert_eq!("5".parse(), Ok(Seeds(0..5)));
        assert_eq!("7..9".parse(), Ok(Seeds(7..9)));
        for text in ["", "0", "x", "9..7", "3..3", "..", "1..", "-1", "1..2..3"] {
            assert_eq!(text.parse::<Seeds>(), Err(BadSeeds), "{text:?}");
        }
    }

    #[test]
    fn a_source_is_a_seed_if_it_is_a_number() {
        assert_eq!("12".parse(), Ok(Source::Seed(12)));
        assert_eq!(
            "12.json".parse(),
            Ok(Source::File(PathBuf::from("12.json")))
        );
    }
}
