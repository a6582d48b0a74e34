//! An operation was carried out, or was not: what that means for whoever had asked for it.

use super::disk::{DiskError, Done, File, OpId};
use super::event::{Event, ReadId, Recovered};
use super::lane;
use super::ops::Owner;
use super::recovery::{Parts, Recovery, files_of};
use super::writer::Outcome;
use super::{Log, State, Stop, view};
use crate::time::Now;
use alloc::string::String;
use alloc::vec::Vec;

impl Log {
    /// An operation was carried out, or was not.
    pub fn completed(&mut self, id: OpId, result: Result<Done, DiskError>, now: Now) {
        self.now = self.now.max(now);
        let Some(owner) = self.ops.take(id) else {
            return;
        };
        let done = match owner {
            Owner::Recovery => self.recovery_completed(result),
            Owner::Writer => self.writer_completed(result),
            Owner::Syncer => self.sync_completed(result),
            Owner::Spare => self.spare.completed(&mut self.ops, result, self.now),
            Owner::Journal => self.journal_completed(result),
            Owner::Cleaner => self.cleaner_completed(result),
            Owner::Indexer => {
                let epoch = self.journal.epoch();
                self.indexer.completed(&mut self.ops, result, epoch);
                Ok(())
            }
            Owner::Reader(id) => {
                self.reader_completed(id, result);
                Ok(())
            }
        };
        match done {
            Ok(()) => self.drive(),
            Err(stop) => self.stop(stop),
        }
    }

    fn recovery_completed(&mut self, result: Result<Done, DiskError>) -> Result<(), Stop> {
        let State::Recovering(recovery) = &mut self.state else {
            return Ok(());
        };
        let mut parts = Parts {
            ops: &mut self.ops,
            journal: &mut self.journal,
            segments: &mut self.segments,
            writer: &mut self.writer,
            now: self.now,
        };
        recovery.completed(result, &mut parts)
    }

    fn writer_completed(&mut self, result: Result<Done, DiskError>) -> Result<(), Stop> {
        let lane = self.writer.lane_mut();
        if lane.completed(&mut self.ops, result, self.now)? == lane::Progress::Busy {
            return Ok(());
        }
        let outcome = self.writer.finished(self.settings.fsync, self.now);
        self.follow(outcome);
        Ok(())
    }

    fn sync_completed(&mut self, result: Result<Done, DiskError>) -> Result<(), Stop> {
        let lane = self.writer.syncs_mut();
        if lane.completed(&mut self.ops, result, self.now)? == lane::Progress::Finished {
            let outcome = self.writer.synced();
            self.follow(outcome);
        }
        Ok(())
    }

    fn follow(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Reported(up_to) => self.ops.tell(Event::Appended { up_to }),
            Outcome::Note(segment) => self.journal.bounds.tail = segment.first,
        }
    }

    fn journal_completed(&mut self, result: Result<Done, DiskError>) -> Result<(), Stop> {
        let lane = self.journal.lane_mut();
        if lane.completed(&mut self.ops, result, self.now)? == lane::Progress::Busy {
            return Ok(());
        }
        let (saved, old) = self.journal.finished(self.settings.fsync, self.now);
        self.litter.extend(old.map(File::Journal));
        if let Some(up_to) = saved {
            self.ops.tell(Event::Saved { up_to });
        }
        if let Some((segment, sealed, index)) = self.writer.noted(self.journal.safe_bounds.tail) {
            self.segments.seal(sealed);
            if let Some(before) = self.segments.last() {
                let epoch = self.journal.epoch();
                self.indexer
                    .sealed(&mut self.ops, epoch, before.first, &index);
            }
            self.segments.push(segment);
        }
        let begin = self.journal.safe_bounds.begin;
        let trimmed = self.segments.remove_below(begin);
        let trimmed: Vec<_> = trimmed.flat_map(|it| files_of(it.first)).collect();
        if !trimmed.is_empty() {
            self.litter.extend(trimmed);
            self.ops.tell(Event::Trimmed { first: begin });
        }
        match core::mem::replace(&mut self.state, State::Open) {
            State::Recovering(recovery) => self.recovered(*recovery),
            other @ (State::Open | State::Leaving | State::Deleting | State::Closed) => {
                self.state = other;
            }
        }
        Ok(())
    }

    fn recovered(&mut self, recovery: Recovery) {
        let (lost, torn_bytes, litter) = recovery.finish();
        self.litter.extend(litter);
        let groups = self.journal.groups();
        let next = self.writer.next();
        let recovered = Recovered {
            epoch: self.journal.epoch(),
            first: self.segments.first().map_or(next, |it| it.first),
            next,
            published: self.writer.published(),
            groups: groups
                .map(|(name, _, progress)| (String::clone(name), progress))
                .collect(),
            producers: self.writer.producers.by_name().cloned().collect(),
            lost,
            torn_bytes,
        };
        self.ops.tell(Event::Recovered(recovered));
    }

    fn cleaner_completed(&mut self, result: Result<Done, DiskError>) -> Result<(), Stop> {
        let finished = self.cleaner.completed(&mut self.ops, result, self.now)?;
        if finished == lane::Progress::Finished && matches!(self.state, State::Deleting) {
            self.close();
            self.ops.tell(Event::Deleted);
        }
        Ok(())
    }

    fn reader_completed(&mut self, id: ReadId, result: Result<Done, DiskError>) {
        let Some(mut reading) = self.readings.remove(&id) else {
            return;
        };
        let view = view(&self.journal, &self.segments, &self.writer);
        let step = reading.completed(result, view);
        if let Some(segment) = reading.unindexed() {
            self.indexer.want(segment);
        }
        self.go_on(id, reading, step);
    }
}
