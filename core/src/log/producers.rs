//! The producers of a topic that have a name, and how far each has got with what is stored.

use crate::wire::control::Mark;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

/// The last mark of each producer, of a bounded number of them.
#[derive(Debug)]
pub struct Producers {
    max: usize,
    /// By name; with the number of the mark among all.
    marks: BTreeMap<String, (u64, Mark)>,
    /// The same by that number: who published longest ago comes first.
    order: BTreeSet<(u64, String)>,
    last: u64,
}

impl Producers {
    /// None so far, and never more than `max`.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            marks: BTreeMap::new(),
            order: BTreeSet::new(),
            last: 0,
        }
    }

    /// A producer has got so far. Returns the name that is forgotten for it, if there is one.
    pub fn mark(&mut self, mark: &Mark) -> Option<String> {
        self.last += 1;
        if let Some((number, known)) = self.marks.get_mut(&mark.name) {
            self.order.remove(&(*number, mark.name.clone()));
            *number = self.last;
            known.clone_from(mark);
        } else {
            self.marks
                .insert(mark.name.clone(), (self.last, mark.clone()));
        }
        self.order.insert((self.last, mark.name.clone()));
        if self.marks.len() <= self.max {
            return None;
        }
        let (_, name) = self.order.pop_first()?;
        self.marks.remove(&name);
        Some(name)
    }

    /// All of them, who published longest ago first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Mark> {
        let marks = self.order.iter();
        marks.filter_map(|(_, name)| self.marks.get(name).map(|(_, mark)| mark))
    }

    /// All of them, by name.
    pub fn by_name(&self) -> impl Iterator<Item = &Mark> {
        self.marks.values().map(|(_, mark)| mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_last_mark_counts_and_the_oldest_are_forgotten() {
        let mut producers = Producers::new(2);
        for (name, position, forgotten) in [
            ("a", 1, None),
            ("b", 1, None),
            ("a", 2, None),
            ("c", 1, Some("b")),
        ] {
            let mark = Mark {
                name: name.into(),
                session: String::new(),
                position,
            };
            assert_eq!(producers.mark(&mark).as_deref(), forgotten, "{name}");
        }
        let known: Vec<_> = producers
            .oldest_first()
            .map(|it| (&*it.name, it.position))
            .collect();
        assert_eq!(known, [("a", 2), ("c", 1)]);
        assert_eq!(producers.by_name().count(), 2);
    }
}
