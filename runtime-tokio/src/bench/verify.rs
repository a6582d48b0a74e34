//! Which messages a consumer has received: order, gaps and repetitions.

use std::collections::BTreeMap;

/// What one consumer has received of each producer, as runs of consecutive numbers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    runs: BTreeMap<u32, Vec<Run>>,
}

/// Consecutive numbers, from the first to the one before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: u64,
    end: u64,
}

impl Ledger {
    /// Notes a message. Says what is wrong if it comes after a later one of its producer.
    pub(super) fn add(&mut self, producer: u32, number: u64) -> Result<(), String> {
        let runs = self.runs.entry(producer).or_default();
        match runs.last_mut() {
            Some(last) if number == last.end => last.end += 1,
            Some(last) if number < last.end => {
                return Err(format!(
                    "message {number} of producer {producer} came after number {}",
                    last.end - 1
                ));
            }
            Some(_) | None => runs.push(Run {
                first: number,
                end: number + 1,
            }),
        }
        Ok(())
    }
}

/// Looks for a message that more than one of these consumers has received.
pub(super) fn shared_message<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>) -> Option<String> {
    let mut runs: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
    for ledger in ledgers {
        for (producer, of_producer) in &ledger.runs {
            runs.entry(*producer).or_default().extend(of_producer);
        }
    }
    runs.into_iter().find_map(|(producer, mut runs)| {
        runs.sort_unstable();
        let (_, twice) = runs
            .array_windows()
            .map(|[earlier, later]| (earlier, later))
            .find(|(earlier, later)| later.first < earlier.end)?;
        let number = twice.first;
        Some(format!(
            "message {number} of producer {producer} was received twice"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(numbers: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for number in numbers {
            assert_eq!(ledger.add(7, *number), Ok(()));
        }
        ledger
    }

    #[test]
    fn gaps_are_allowed_and_going_back_is_not() {
        let mut ledger = ledger(&[0, 1, 5, 6]);
        assert_eq!(
            ledger.add(7, 6),
            Err("message 6 of producer 7 came after number 6".to_owned())
        );
        assert!(ledger.add(7, 2).is_err());
        assert_eq!(ledger.add(8, 0), Ok(()));
    }

    #[test]
    fn a_message_that_two_have_received_is_found() {
        let (one, two) = (ledger(&[0, 1, 4, 5]), ledger(&[2, 3, 6]));
        assert_eq!(shared_message([&one, &two]), None);
        assert_eq!(
            shared_message([&one, &two, &ledger(&[5])]),
            Some("message 5 of producer 7 was received twice".to_owned())
        );
    }
}
