//! Which of the numbers below some bound are still in a set from which numbers are only removed.
//!
//! It takes a little more than one bit for each number. However many have been removed, the next one
//! that is left is found in O(log n).

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Numbers in one word.
const WORD: usize = u64::BITS as usize;

/// A set of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Alive {
    /// One bit for each number.
    words: Vec<u64>,
    /// How many bits are set, as a Fenwick tree: `sums[i - 1]` counts those of the words from
    /// `i - lowest set bit of i` up to `i`.
    sums: Vec<u32>,
    /// How many bits are set in all.
    count: usize,
}

impl Alive {
    /// All numbers below `end`.
    pub(super) fn all(end: usize) -> Self {
        let mut words = vec![u64::MAX; end.div_ceil(WORD)];
        if let Some(last) = words.last_mut()
            && !end.is_multiple_of(WORD)
        {
            *last = below(end % WORD);
        }
        let before = |words: usize| end.min(words * WORD);
        let sums = (1..=words.len())
            .map(|i| (before(i) - before(i & (i - 1))) as u32)
            .collect();
        Self {
            words,
            sums,
            count: end,
        }
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, number: usize) -> bool {
        self.words
            .get(number / WORD)
            .is_some_and(|word| (word >> (number % WORD)) & 1 == 1)
    }

    /// The first that is not below a number.
    pub(super) fn first_from(&self, number: usize) -> Option<usize> {
        let word = number / WORD;
        let rest = self.words.get(word)? >> (number % WORD);
        if rest != 0 {
            return Some(number + rest.trailing_zeros() as usize);
        }
        let before = self.count_in_words(word + 1);
        if before == self.count {
            return None;
        }
        let word = self.word_of(before);
        Some(word * WORD + self.words[word].trailing_zeros() as usize)
    }

    /// Removes these numbers.
    pub(super) fn remove(&mut self, numbers: Range<usize>) {
        let mut from = numbers.start;
        while from < numbers.end {
            let (word, end) = (from / WORD, numbers.end.min((from / WORD + 1) * WORD));
            let mask = below(end - word * WORD) & !below(from % WORD);
            let removed = (self.words[word] & mask).count_ones();
            self.words[word] &= !mask;
            self.count -= removed as usize;
            let mut i = word + 1;
            while i <= self.sums.len() {
                self.sums[i - 1] -= removed;
                i += lowest_bit(i);
            }
            from = end;
        }
    }

    /// Bytes of memory that it takes beside itself.
    #[cfg(test)]
    pub(super) const fn overhead(&self) -> usize {
        self.words.capacity() * size_of::<u64>() + self.sums.capacity() * size_of::<u32>()
    }

    /// How many there are in the first words; in all, if there are fewer words.
    fn count_in_words(&self, words: usize) -> usize {
        let mut i = words.min(self.sums.len());
        let mut count = 0;
        while i > 0 {
            count += self.sums[i - 1] as usize;
            i &= i - 1;
        }
        count
    }

    /// The word with the number before which there are `before` others; there is one.
    fn word_of(&self, mut before: usize) -> usize {
        let mut word = 0;
        let mut step = 1 << self.sums.len().ilog2();
        while step > 0 {
            if let Some(sum) = self.sums.get(word + step - 1)
                && *sum as usize <= before
            {
                before -= *sum as usize;
                word += step;
            }
            step /= 2;
        }
        word
    }

    /// Checks what always holds.
    pub(super) fn check(&self) {
        assert_eq!(self.words.len(), self.sums.len());
        let mut count = 0;
        for (i, word) in self.words.iter().enumerate() {
            assert_eq!(self.count_in_words(i), count);
            count += word.count_ones() as usize;
        }
        assert_eq!(self.count, count);
        assert_eq!(self.count_in_words(self.words.len()), count);
    }
}

/// A word in which the bits below this one are set; there may be all of them.
const fn below(bit: usize) -> u64 {
    if bit == WORD {
        u64::MAX
    } else {
        (1 << bit) - 1
    }
}

const fn lowest_bit(i: usize) -> usize {
    i & i.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn the_last_word_may_be_full_or_not() {
        for end in [0, 1, 63, 64, 65, 128, 1000, 4096] {
            let alive = Alive::all(end);
            alive.check();
            assert_eq!(alive.count(), end);
            assert_eq!(alive.first_from(0), (end > 0).then_some(0));
            assert_eq!(alive.first_from(end), None);
            assert!(!alive.contains(end));
        }
    }

    #[test]
    fn a_number_is_found_beyond_any_number_of_empty_words() {
        let mut alive = Alive::all(262_144);
        alive.remove(3..262_143);
        alive.check();
        assert_eq!(alive.first_from(2), Some(2));
        assert_eq!(alive.first_from(3), Some(262_143));
        assert_eq!(alive.first_from(100_000), Some(262_143));
        assert_eq!(alive.count(), 4);
    }

    proptest! {
        #[test]
        fn it_is_a_set(end in 0_usize..700, removed in proptest::collection::vec((0_usize..700, 0_usize..200), 0..30)) {
            let mut alive = Alive::all(end);
            let mut set: BTreeSet<usize> = (0..end).collect();
            for (from, more) in removed {
                let numbers = from.min(end)..(from + more).min(end);
                alive.remove(numbers.clone());
                set.retain(|number| !numbers.contains(number));
                alive.check();
            }
            prop_assert_eq!(alive.count(), set.len());
            for number in 0..800 {
                prop_assert_eq!(alive.contains(number), set.contains(&number));
                prop_assert_eq!(alive.first_from(number), set.range(number..).next().copied());
            }
        }
    }
}
