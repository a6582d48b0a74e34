//! A producer that notes what each confirm was for.

use crate::bench::consumer::latencies;
use crate::bench::error::BenchError;
use crate::bench::guarantees::Confirms;
use crate::bench::message::Frames;
use crate::bench::plan::Plan;
use crate::bench::run::{Progress, connect_plain};
use crate::bench::target::Target;
use hdrhistogram::Histogram;
use message_queue_core::wire::Role;
use std::io::{self, Write};
use std::time::Duration;
use tokio::time::Instant;

/// What it did.
#[derive(Debug)]
pub(super) struct Confirming {
    pub(super) elapsed: Duration,
    /// How many messages each confirm was for: what was made safe by one sync, unless two were told at once.
    pub(super) confirms: Vec<u64>,
    /// From when messages were sent to when the window had room again, in microseconds: with a window of 1, the time
    /// of a confirm.
    pub(super) latencies: Histogram<u64>,
    /// The CPU time that the broker took for it, if that can be read.
    pub(super) cpu: Option<Duration>,
}

impl Confirming {
    pub(super) fn messages(&self) -> u64 {
        self.confirms.iter().sum()
    }
}

/// Sends what the plan says to a broker and waits for the confirms.
pub(super) fn send(
    plan: &Plan,
    target: &Target,
    mut progress: impl FnMut(Progress),
) -> Result<Confirming, BenchError> {
    plan.check()?;
    let stream = connect_plain(target.addr(), Role::Producer, plan)?;
    let failed = |source: io::Error| BenchError::Client {
        client: "the producer".to_owned(),
        source,
    };
    let mut frames = Frames::new(plan.size, plan.batch_messages());
    let mut confirms = Confirms::new(&stream);
    let mut out = &stream;
    // The topic is made with its first message, which does not count.
    out.write_all(frames.first(1)).map_err(failed)?;
    confirms.wait(1, 0).map_err(failed)?;

    let mut confirmed = Vec::new();
    let mut latencies = latencies()?;
    let mut sent = 0;
    let cpu = || target.usage().map(|it| it.cpu);
    let before = cpu();
    let start = Instant::now();
    let mut told = start;
    loop {
        let left = plan.volume.left(sent, start.elapsed());
        let messages =
            usize::try_from(left).map_or(frames.messages(), |left| left.min(frames.messages()));
        if messages == 0 {
            break;
        }
        let begun = Instant::now();
        frames.stamp(0, start.elapsed());
        out.write_all(frames.first(messages)).map_err(failed)?;
        sent += messages as u64;
        confirms
            .wait_noting(sent + 1, plan.window_beside(messages), |count| {
                confirmed.push(count);
            })
            .map_err(failed)?;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        latencies.saturating_record(micros);
        if told.elapsed() > Duration::from_millis(50) {
            told = Instant::now();
            progress(Progress {
                elapsed: start.elapsed(),
                sent,
                delivered: confirmed.iter().sum(),
            });
        }
    }
    confirms
        .wait_noting(sent + 1, 0, |count| confirmed.push(count))
        .map_err(failed)?;
    Ok(Confirming {
        elapsed: start.elapsed(),
        confirms: confirmed,
        latencies,
        cpu: cpu()
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before)),
    })
}
