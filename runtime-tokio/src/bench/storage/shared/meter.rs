//! How long something took, and how much CPU a process spent on it.

use crate::bench::run::Progress;
use crate::bench::storage::per_second;
use crate::bench::usage;
use std::process;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// What one side did.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Did {
    /// Messages that were confirmed, or taken.
    pub messages: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// CPU-seconds, user and system, of the broker, or of the bare client; none if they cannot be read.
    pub cpu_seconds: Option<f64>,
}

impl Did {
    pub(super) fn new(messages: u64, time: Duration, cpu: Option<Duration>) -> Self {
        Self {
            messages,
            seconds: time.as_secs_f64(),
            cpu_seconds: cpu.map(|it| it.as_secs_f64()),
        }
    }

    /// Messages in a second.
    pub fn rate(&self) -> f64 {
        per_second(self.messages, Duration::from_secs_f64(self.seconds))
    }

    /// CPU-seconds for a million messages.
    pub fn cpu(&self) -> Option<f64> {
        Some(self.cpu_seconds? * 1e6 / self.messages.max(1) as f64)
    }
}

/// Measures what this process does: the bare client is a part of it, and the rest of it waits meanwhile.
pub(super) struct Meter {
    cpu: Option<Duration>,
    start: Instant,
    told: Instant,
}

impl Meter {
    pub(super) fn start() -> Self {
        let start = Instant::now();
        Self {
            cpu: own_cpu(),
            start,
            told: start,
        }
    }

    /// The clock begins again; CPU time is counted from before.
    pub(super) fn restart_clock(&mut self) {
        self.start = Instant::now();
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tells how far it is, where that was not told just now.
    pub(super) fn tell(&mut self, sent: u64, done: u64, progress: &mut dyn FnMut(Progress)) {
        if self.told.elapsed() > TELL_EVERY {
            self.told = Instant::now();
            progress(Progress {
                elapsed: self.elapsed(),
                sent,
                delivered: done,
            });
        }
    }

    pub(super) fn stop(&self, messages: u64) -> Did {
        let time = self.elapsed();
        let cpu = own_cpu().zip(self.cpu);
        let cpu = cpu.map(|(after, before)| after.saturating_sub(before));
        Did::new(messages, time, cpu)
    }
}

fn own_cpu() -> Option<Duration> {
    usage::of_process(process::id()).map(|it| it.cpu)
}
