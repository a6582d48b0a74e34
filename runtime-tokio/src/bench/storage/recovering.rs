//! A start with much on the disk, and what many groups that are behind take of the memory.

use super::catching_up::fill;
use super::scratch::Scratch;
use super::{Tell, common, of_file};
use crate::bench::error::BenchError;
use crate::bench::plan::{Plan, Storage};
use crate::bench::run::open;
use crate::bench::table::bytes;
use crate::bench::target::{Kind, Target};
use crate::settings::FolderEngine;
use message_queue_core::DeliveryMode;
use message_queue_core::names::Name;
use message_queue_core::wire::handshake::{ConsumerOptions, ProducerOptions, RoleOptions, Start};
use serde_json::json;
use std::fmt;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How many groups are behind.
const GROUPS: usize = 1000;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Recovering {
    /// Bytes of frames that were stored.
    pub stored: u64,
    /// From when a broker was started that finds them to when it lets a producer in. Nothing of the files is in the
    /// system's memory.
    pub starts: Vec<Duration>,
    /// The same with nothing stored.
    pub empty: Duration,
    /// The most memory of that broker with 1,000 groups that have had a message and are behind, in bytes; none if it
    /// cannot be read.
    pub memory: Option<u64>,
    /// The same of a broker with as many groups on a topic in memory.
    pub in_memory: Option<u64>,
}

/// Stores `stored` bytes of messages of the plan's size in a folder of `parent`, and starts a broker `times` times.
///
/// # Errors
/// If some part of it comes to nothing.
pub fn recover(
    plan: &Plan,
    parent: &Path,
    stored: u64,
    times: u32,
    tell: Tell<'_>,
) -> Result<Recovering, BenchError> {
    let scratch = Scratch::new(parent)?;
    let plan = Plan {
        delivery: DeliveryMode::Broadcast,
        producers: 2,
        consumers: GROUPS,
        storage: scratch.storage(FolderEngine::Disk, "always"),
        ..plan.clone()
    };
    let (empty, target) = start(&plan)?;
    let stored = fill(&plan, &target, stored, tell)?;
    drop(target);
    let mut starts = Vec::new();
    let mut last = None;
    for _ in 0..times {
        drop(last.take());
        scratch.forget().map_err(of_file)?;
        let (took, target) = start(&plan)?;
        starts.push(took);
        last = Some(target);
    }
    let memory = match &last {
        Some(target) => behind(target, true)?,
        None => None,
    };
    drop(last);
    let plan = Plan {
        storage: Storage::Memory,
        ..plan
    };
    let in_memory = behind(&Target::start(Kind::Broker, &plan)?, false)?;
    Ok(Recovering {
        stored,
        starts,
        empty,
        memory,
        in_memory,
    })
}

/// Starts a broker and waits until it lets a producer in.
fn start(plan: &Plan) -> Result<(Duration, Target), BenchError> {
    let begun = Instant::now();
    let target = Target::start(Kind::Broker, plan)?;
    let options = ProducerOptions {
        common: common(),
        confirm: true,
        ..ProducerOptions::default()
    };
    open(target.addr(), &RoleOptions::Producer(options).line())?;
    Ok((begun.elapsed(), target))
}

/// Has many groups take their first message, where there are some, and settle nothing. Returns the memory that the broker
/// had at the most.
fn behind(target: &Target, has_messages: bool) -> Result<Option<u64>, BenchError> {
    let mut groups = Vec::with_capacity(GROUPS);
    for number in 0..GROUPS {
        groups.push(group(target, number)?);
    }
    if has_messages {
        for (number, group) in groups.iter().enumerate() {
            let failed = |source| BenchError::Client {
                client: format!("group {number}"),
                source,
            };
            (&mut &*group).read_exact(&mut [0; 64]).map_err(failed)?;
        }
    }
    Ok(target.usage().map(|it| it.peak_bytes))
}

fn group(target: &Target, number: usize) -> Result<TcpStream, BenchError> {
    let name = Name::new(&format!("g{number}")).ok();
    let options = ConsumerOptions {
        common: common(),
        group: name,
        ack: true,
        prefetch: 1,
        from: Start::First,
        ..ConsumerOptions::default()
    };
    open(target.addr(), &RoleOptions::Consumer(options).line())
}

impl Recovering {
    /// These figures for other programs to read.
    pub fn to_json(&self) -> serde_json::Value {
        let starts: Vec<_> = self.starts.iter().map(Duration::as_secs_f64).collect();
        json!({
            "stored_bytes": self.stored,
            "start_seconds": starts,
            "start_empty_seconds": self.empty.as_secs_f64(),
            "groups_behind": GROUPS,
            "peak_bytes": self.memory,
            "peak_bytes_in_memory_mode": self.in_memory,
        })
    }
}

impl fmt::Display for Recovering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} stored; a start with nothing stored takes {:.3} s",
            bytes(self.stored as f64),
            self.empty.as_secs_f64()
        )?;
        for start in &self.starts {
            writeln!(
                f,
                "start, until a producer is let in: {:.3} s",
                start.as_secs_f64()
            )?;
        }
        for (name, peak) in [("stored", self.memory), ("in memory", self.in_memory)] {
            let peak = peak.map_or("?".to_owned(), |peak| bytes(peak as f64));
            writeln!(
                f,
                "peak memory with {GROUPS} groups that are behind, {name}: {peak}"
            )?;
        }
        Ok(())
    }
}
