//! A log, its disk and its model.

use super::model::Model;
use super::sim_disk::{Rng, SimDisk};
use super::{
    Chunk, DiskError, Done, Event, Fsync, Log, Mark, OpId, Operation, Output, Progress, ReadError,
    ReadFrom, ReadId, Recovered, Settings, Stop,
};
use crate::log::{Failed, Refused, Retention};
use crate::time::Now;
use crate::wire::FrameBatch;
use crate::wire::control::Range;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// A small log of small segments.
pub(super) fn settings(fsync: Fsync) -> Settings {
    Settings {
        fsync,
        segment_bytes: 4096,
        preallocate: true,
        max_producers: 100,
    }
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) model: Model,
    pub(super) rng: Rng,
    pub(super) settings: Settings,
    pub(super) topic: &'static str,
    pub(super) epoch: u64,
    now: Now,
    published: u64,
}

/// A process that has the log open.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) log: Log,
    /// What the disk has been asked for and has not carried out.
    pub(super) asked: Vec<(OpId, Operation)>,
    /// What it has carried out and has not said.
    done: Vec<(OpId, Result<Done, DiskError>)>,
    pub(super) recovered: Option<Recovered>,
    pub(super) stopped: Option<Stop>,
    pub(super) is_deleted: bool,
    pub(super) full: Vec<bool>,
    pub(super) reads: BTreeMap<ReadId, Result<Chunk, ReadError>>,
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings) -> Self {
        Self {
            disk: SimDisk::default(),
            model: Model::new(),
            rng: Rng(seed),
            settings,
            topic: "jobs",
            epoch: 25,
            now: Now::START,
            published: 1_000_000,
        }
    }

    pub(super) fn start(&mut self) -> Process {
        let log = Log::open(self.topic, self.epoch, self.settings, self.now);
        let mut process = Process {
            log,
            asked: Vec::new(),
            done: Vec::new(),
            recovered: None,
            stopped: None,
            is_deleted: false,
            full: Vec::new(),
            reads: BTreeMap::new(),
        };
        self.poll(&mut process);
        process
    }

    /// A process that has opened the log.
    pub(super) fn open(&mut self) -> Process {
        let mut process = self.start();
        self.run(&mut process);
        assert_eq!(process.stopped, None);
        assert!(process.recovered.is_some());
        process
    }

    pub(super) fn poll(&mut self, process: &mut Process) {
        while let Some(output) = process.log.poll_output() {
            match output {
                Output::Disk(id, operation) => process.asked.push((id, operation)),
                Output::Event(event) => self.event(process, event),
            }
        }
    }

    fn event(&mut self, process: &mut Process, event: Event) {
        assert!(
            process.stopped.is_none() && !process.is_deleted,
            "{event:?}"
        );
        match event {
            Event::Recovered(recovered) => {
                self.model.recovered(self.settings.fsync, &recovered);
                process.recovered = Some(recovered);
            }
            Event::Appended { up_to } => {
                assert!(up_to > self.model.appended && up_to <= self.model.last());
                self.model.appended = up_to;
            }
            Event::Saved { up_to } => self.model.saved(up_to),
            Event::Read { id, result } => {
                process.reads.insert(id, result);
            }
            Event::Trimmed { first } => self.model.trimmed(first),
            Event::Full => process.full.push(true),
            Event::HasRoom => process.full.push(false),
            Event::Deleted => {
                self.model = Model::new();
                process.is_deleted = true;
            }
            Event::Stopped(stop) => process.stopped = Some(stop),
        }
    }

    /// The disk carries out one operation, any of those that it was asked for, or says of one that it was carried out.
    pub(super) fn step(&mut self, process: &mut Process) -> bool {
        let open = process.asked.len() + process.done.len();
        if open == 0 {
            return false;
        }
        let next = self.rng.below(open);
        if next < process.asked.len() {
            let (id, operation) = process.asked.remove(next);
            process.done.push((id, self.disk.execute(&operation)));
        } else {
            let (id, result) = process.done.remove(next - process.asked.len());
            process.log.completed(id, result, self.now);
            self.poll(process);
        }
        true
    }

    /// The same, and the model is told nothing of what comes out.
    pub(super) fn try_step_raw(&mut self, process: &mut Process) -> bool {
        if process.asked.is_empty() {
            return false;
        }
        let (id, operation) = process.asked.remove(0);
        let result = self.disk.execute(&operation);
        process.log.completed(id, result, self.now);
        while let Some(output) = process.log.poll_output() {
            match output {
                Output::Disk(id, operation) => process.asked.push((id, operation)),
                Output::Event(Event::Recovered(recovered)) => process.recovered = Some(recovered),
                Output::Event(_) => {}
            }
        }
        true
    }

    pub(super) fn run(&mut self, process: &mut Process) {
        while self.step(process) {}
    }

    /// The time that the process waits for comes.
    pub(super) fn wait(&mut self, process: &mut Process) -> bool {
        let Some(at) = process.log.poll_timeout() else {
            return false;
        };
        self.now = self.now.max(at);
        process.log.handle_timeout(self.now);
        self.poll(process);
        true
    }

    /// Appends messages of these lengths.
    pub(super) fn append(
        &mut self,
        process: &mut Process,
        lengths: &[usize],
    ) -> Result<(), Refused> {
        let bodies: Vec<Bytes> = lengths
            .iter()
            .map(|length| {
                let byte = self.rng.number() as u8;
                Bytes::from(vec![byte; *length])
            })
            .collect();
        let batch = FrameBatch::encode(&bodies).expect("small");
        let last = self.model.last() + lengths.len() as u64;
        let marks = if self.rng.one_in(3) {
            Vec::new()
        } else {
            vec![Mark {
                name: format!("p{}", self.rng.below(5)),
                session: self.rng.below(2).to_string(),
                position: last,
            }]
        };
        // The clock is set back at times.
        self.published = if self.rng.one_in(8) {
            self.published - 1000
        } else {
            self.published + 10
        };
        let appending = process.log.append(&batch, self.published, marks.clone())?;
        assert_eq!(appending.first, self.model.last() + 1);
        self.model.append(appending.published, bodies, marks);
        self.poll(process);
        Ok(())
    }

    /// Saves a group somewhere up to what was appended, or removes one.
    pub(super) fn save(&mut self, process: &mut Process) -> Result<(), Refused> {
        let group = format!("g{}", self.rng.below(3));
        if self.rng.one_in(6) {
            let id = process.log.remove_group(&group)?;
            self.model.save(&group, id, None);
        } else {
            let up_to = self.rng.below(self.model.appended as usize + 1) as u64;
            let settled = Range::new(up_to + 2, self.model.appended);
            let progress = Progress {
                settled_up_to: up_to,
                settled: settled.into_iter().collect(),
                failed: vec![Failed {
                    sequence: up_to + 1,
                    failures: 3,
                    not_before_ms: 7,
                }],
            };
            let progress = if up_to < self.model.appended {
                progress
            } else {
                Progress {
                    failed: Vec::new(),
                    ..progress
                }
            };
            let id = process.log.save_group(&group, &progress)?;
            self.model.save(&group, id, Some(progress));
        }
        self.poll(process);
        Ok(())
    }

    /// Lets go of the oldest segments.
    pub(super) fn trim(&mut self, process: &mut Process) -> Result<(), Refused> {
        let settled_up_to = self.rng.below(self.model.appended as usize + 1) as u64;
        self.model.trimming = self.model.trimming.max(settled_up_to + 1);
        process.log.trim(&Retention {
            settled_up_to,
            ..Retention::default()
        })?;
        self.poll(process);
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        process: &mut Process,
        from: ReadFrom,
        bytes: usize,
    ) -> Result<Chunk, ReadError> {
        let id = process.log.read(from, bytes);
        self.poll(process);
        while !process.reads.contains_key(&id) {
            assert!(self.step(process), "a read ends");
        }
        process.reads.remove(&id).expect("it is there")
    }

    /// Reads everything and compares it.
    pub(super) fn check(&mut self, process: &mut Process) {
        let mut from = ReadFrom::First;
        let mut next = None;
        loop {
            let chunk = self.read(process, from, 300).expect("it can be read");
            let first = chunk.stored.first().map(super::first_of);
            let begin = next.or(first).unwrap_or(self.model.appended + 1);
            let end = self.model.check_read(begin, &chunk.stored);
            assert_eq!(chunk.next.sequence(), end);
            next = Some(end);
            if chunk.is_end {
                break;
            }
            from = ReadFrom::At(chunk.next);
        }
        assert_eq!(
            next,
            Some(self.model.appended + 1),
            "up to what was reported"
        );
    }

    /// The power goes while the disk is at what it was asked for.
    pub(super) fn cut_power(&mut self, process: Process) {
        for (_, operation) in process.asked {
            if self.rng.one_in(2) {
                let _ = self.disk.execute(&operation);
            }
        }
        self.disk.cut_power(&mut self.rng);
    }

    /// Only the process ends: what was written is there, and may not be safe.
    pub(super) fn kill(&mut self, process: Process) {
        for (_, operation) in process.asked {
            if self.rng.one_in(2) {
                let _ = self.disk.execute(&operation);
            }
        }
        self.disk.faults = super::sim_disk::Faults::default();
    }
}
