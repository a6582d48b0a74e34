//! Randomness that is a function of a seed, and of nothing else.

use std::ops::RangeInclusive;

/// What a stream of random numbers is for. Each concern draws from a stream of its own, so that
/// one number more for the faults does not change every client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The broker's settings.
    Settings,
    /// Who takes part, and how.
    Clients,
    /// What goes wrong, and when.
    Faults,
    /// How the network behaves when nothing is wrong.
    Network,
    /// Who may do what, and when that changes.
    Rights,
    /// How the broker's disk is, and what goes wrong with it.
    Disk,
    /// What may be lost by agreement, and rules that change.
    Rules,
    /// What an engine does that other brokers share, and what they do.
    Engine,
}

/// A stream of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream that starts at `state`.
    pub const fn new(state: u64) -> Self {
        Self(state)
    }

    /// The stream of one concern of a seed.
    pub fn stream(seed: u64, concern: Concern) -> Self {
        let mut mixed = Self(seed);
        let start = mixed.next_u64();
        Self(start ^ (concern as u64 + 1).wrapping_mul(0xA24B_AED4_963E_E407))
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number in a range. All are equally likely, but for a bias that does not matter here.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        assert!(!range.is_empty(), "a number from an empty range");
        let span = (range.end() - range.start()).saturating_add(1);
        range.start() + self.next_u64() % span
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next_u64() % 100 < percent
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..=choices.len() as u64 - 1) as usize]
    }
}

/// Spreads a number over all 64 bits; different numbers stay different.
pub const fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_seed_and_concern() {
        let first = |seed, concern| Rng::stream(seed, concern).next_u64();
        assert_eq!(first(7, Concern::Clients), first(7, Concern::Clients));
        assert_ne!(first(7, Concern::Clients), first(7, Concern::Faults));
        assert_ne!(first(7, Concern::Clients), first(8, Concern::Clients));
    }

    #[test]
    fn a_range_is_used_to_both_its_ends() {
        let mut rng = Rng::new(1);
        let drawn: Vec<u64> = (0..200).map(|_| rng.within(3..=6)).collect();
        for number in 3..=6 {
            assert!(drawn.contains(&number), "{number}");
        }
        assert!(drawn.iter().all(|number| (3..=6).contains(number)));
    }
}
