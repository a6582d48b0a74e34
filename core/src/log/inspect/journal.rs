//! The journal is read, whole or not.

use super::walk::{Walk, Walked};
use super::{Inspection, JournalState, Step, Way};
use crate::log::damage::DamageKind;
use crate::log::disk::File;
use core::ops::Range;

impl Inspection {
    pub(super) fn journal(&mut self, mut walk: Walk) -> Option<Step> {
        let file = walk.file();
        let File::Journal(number) = file else {
            return None;
        };
        loop {
            match walk.next(self.journal.records() + 1, |_| true) {
                Walked::Read(operation) => {
                    self.way = Way::Journal(walk);
                    return Some(Step::Read(operation));
                }
                Walked::Record(record, bytes) => {
                    let is_first = bytes.start == 0;
                    let Err(damage) = self.journal.replay(number, &record, bytes.start) else {
                        continue;
                    };
                    let is_newer = matches!(damage.kind, DamageKind::NewerFormat(_));
                    self.damage.push(damage);
                    self.journal_state = JournalState::Damaged;
                    if is_newer {
                        return None;
                    }
                    if is_first {
                        // It is of another topic.
                        self.journal_state = JournalState::Lost;
                        break;
                    }
                }
                Walked::Damaged(bytes) => {
                    self.report(file, bytes.start, DamageKind::NotARecord);
                    self.journal_state = JournalState::Damaged;
                    if bytes.start == 0 {
                        self.journal.pass_head(number);
                    }
                }
                Walked::End(torn) => {
                    self.journal_ends(file, &torn);
                    break;
                }
            }
        }
        self.passed += self.size(file);
        self.way = Way::Heads(0);
        None
    }

    fn journal_ends(&mut self, file: File, torn: &Range<u64>) {
        let is_whole = self.journal_state == JournalState::Whole;
        if self.journal.has_begun() && self.journal.records() > 0 {
            if !torn.is_empty() {
                self.torn(file, torn);
            }
        } else {
            if is_whole {
                self.report(file, torn.start, DamageKind::NotARecord);
            }
            self.journal_state = JournalState::Damaged;
        }
        if self.journal.groups().next().is_none() && !self.journal.has_head() {
            self.journal_state = JournalState::Lost;
        }
    }
}
