//! What was refused of a producer that has a name, so that it can be told again (PROTOCOL.md, section "Confirms").

use crate::error::NotTaken;
use crate::wire::control::{Range, Reason};
use alloc::string::ToString;
use alloc::vec::Vec;

/// How many runs of refused positions are remembered of one life of a producer: 1.5 KiB.
pub(crate) const MAX_REMEMBERED: usize = 64;

/// The refused positions of one life, lowest first. At most [`MAX_REMEMBERED`] runs: where one more would be needed,
/// the two lowest become one, with what lies between them. Then a message that was taken may be told as refused, and
/// never one that was refused as taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Refusals(Vec<Refusal>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Refusal {
    range: Range,
    /// None: it is not known of each any more whether it was refused.
    reason: Option<NotTaken>,
}

impl Refusals {
    /// These positions were refused. All that were refused before are lower.
    pub(crate) fn note(&mut self, range: Range, reason: NotTaken) {
        let reason = Some(reason);
        if let Some(last) = self.0.last_mut()
            && last.range.to + 1 == range.from
            && last.reason == reason
        {
            last.range.to = range.to;
            return;
        }
        if self.0.len() >= MAX_REMEMBERED {
            let second = self.0.remove(1);
            if let Some(first) = self.0.first_mut() {
                first.range.to = second.range.to;
                first.reason = None;
            }
        }
        self.0.push(Refusal { range, reason });
    }

    /// What was refused from a position on.
    pub(crate) fn from(&self, at: u64) -> impl Iterator<Item = (Range, Reason)> {
        let refusals = self.0.iter().filter(move |it| it.range.to >= at);
        refusals.map(move |Refusal { range, reason }| {
            let range = Range {
                from: range.from.max(at),
                to: range.to,
            };
            let reason = reason.map_or_else(uncertain, Reason::from);
            (range, reason)
        })
    }

    /// Checks what always holds.
    ///
    /// # Panics
    /// If something does not hold.
    pub(super) fn check(&self) {
        assert!(self.0.len() <= MAX_REMEMBERED);
        for it in &self.0 {
            assert!(it.range.from <= it.range.to, "{it:?}");
        }
        for (one, next) in self.0.iter().zip(self.0.iter().skip(1)) {
            assert!(one.range.to < next.range.from, "{one:?}, {next:?}");
        }
    }
}

fn uncertain() -> Reason {
    Reason {
        code: "uncertain".to_string(),
        text: "some of these were refused, and it is not known any more which".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> Range {
        Range { from, to }
    }

    fn told(refusals: &Refusals, at: u64) -> Vec<(Range, alloc::string::String)> {
        refusals
            .from(at)
            .map(|(range, reason)| (range, reason.code))
            .collect()
    }

    #[test]
    fn runs_grow_and_only_what_is_not_below_a_position_is_told() {
        let mut refusals = Refusals::default();
        refusals.note(range(2, 3), NotTaken::Full);
        refusals.note(range(4, 4), NotTaken::Full);
        refusals.note(range(5, 6), NotTaken::UnknownTopic);
        let unknown = (range(5, 6), "unknown_topic".into());
        assert_eq!(
            told(&refusals, 1),
            [(range(2, 4), "full".into()), unknown.clone()]
        );
        assert_eq!(
            told(&refusals, 4),
            [(range(4, 4), "full".into()), unknown.clone()]
        );
        assert_eq!(told(&refusals, 5), [unknown]);
        assert_eq!(told(&refusals, 7), []);
    }

    #[test]
    fn beyond_the_bound_nothing_that_was_refused_is_forgotten_and_the_newest_are_exact() {
        let mut refusals = Refusals::default();
        let refused = |number: u64| number * 2;
        for number in 1..=1000 {
            refusals.note(range(refused(number), refused(number)), NotTaken::Full);
            refusals.check();
        }
        let told = told(&refusals, 1);
        assert_eq!(told.len(), MAX_REMEMBERED);
        let newest = (1001 - MAX_REMEMBERED as u64 + 1)..=1000;
        assert_eq!(
            told.first(),
            Some(&(
                range(refused(1), refused(newest.start() - 1)),
                "uncertain".into()
            ))
        );
        for (number, told) in newest.zip(told.iter().skip(1)) {
            assert_eq!(
                told,
                &(range(refused(number), refused(number)), "full".into())
            );
        }
    }
}
