//! One producer: a thread that writes frames, as fast as it can or at a given rate.

use super::clock::Clock;
use super::error::BenchError;
use super::gate::Gate;
use super::guarantees::Confirms;
use super::message::Frames;
use super::plan::{Plan, Reading, Volume};
use super::wire::Wire;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// One producer, connected.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) number: usize,
    pub(super) clock: Clock,
    pub(super) sent: Arc<Sent>,
}

/// How many messages a producer has sent. Alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Sent(AtomicU64);

impl Sent {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Producer {
    /// Waits for the start, then sends all that this producer is to send.
    pub(super) fn run(&self, wire: &mut Wire, plan: &Plan, gate: &Gate) -> Result<(), BenchError> {
        let mut frames = Frames::new(plan.size, plan.batch_messages());
        let socket = Arc::clone(wire.socket());
        let mut confirms = plan.guarantees.confirm.then(|| Confirms::new(&socket));
        let start = gate.wait();
        match plan.rate {
            Some(rate) => self.pace(wire, plan, &mut frames, &mut confirms, start, rate),
            None => self.flood(wire, plan, &mut frames, &mut confirms, start),
        }?;
        self.keep_within(0, &mut confirms)
    }

    /// Waits, where there are confirms, until at most so many messages are unconfirmed.
    fn keep_within(
        &self,
        most: u64,
        confirms: &mut Option<Confirms<'_>>,
    ) -> Result<(), BenchError> {
        let Some(confirms) = confirms else {
            return Ok(());
        };
        confirms
            .wait(self.sent.get(), most)
            .map_err(|error| self.failed(error))
    }

    fn flood(
        &self,
        wire: &mut Wire,
        plan: &Plan,
        frames: &mut Frames,
        confirms: &mut Option<Confirms<'_>>,
        start: Instant,
    ) -> Result<(), BenchError> {
        let mut sent = 0;
        loop {
            let left = match (plan.share(self.number), plan.volume) {
                (Some(share), _) => share - sent,
                (None, Volume::Time(time)) if start.elapsed() < time => u64::MAX,
                (None, Volume::Time(_) | Volume::Messages(_)) => 0,
            };
            let messages = at_most(frames, left);
            if messages == 0 {
                return Ok(());
            }
            self.keep_within(plan.window_beside(messages), confirms)?;
            if plan.reading != Reading::Count {
                // One in each batch tells the latency.
                frames.stamp(0, self.clock.now());
            }
            self.send(wire, plan, frames, sent, messages)?;
            sent += messages as u64;
        }
    }

    fn pace(
        &self,
        wire: &mut Wire,
        plan: &Plan,
        frames: &mut Frames,
        confirms: &mut Option<Confirms<'_>>,
        start: Instant,
        rate: f64,
    ) -> Result<(), BenchError> {
        let schedule = Schedule::new(plan, self.number, rate);
        let total = match (plan.share(self.number), plan.volume) {
            (Some(share), _) => share,
            (None, Volume::Time(time)) => schedule.due(time),
            (None, Volume::Messages(messages)) => messages,
        };
        let offset = self.clock.since_origin(start);
        let mut sent = 0;
        while sent < total {
            let elapsed = start.elapsed();
            let messages = at_most(
                frames,
                schedule.due(elapsed).min(total).saturating_sub(sent),
            );
            if messages == 0 {
                thread::park_timeout(schedule.at(sent).saturating_sub(elapsed));
                continue;
            }
            self.keep_within(plan.window_beside(messages), confirms)?;
            for index in 0..messages {
                // Not when it is sent but when it ought to be: whoever makes us late is told so.
                frames.stamp(index, offset + schedule.at(sent + index as u64));
            }
            self.send(wire, plan, frames, sent, messages)?;
            sent += messages as u64;
        }
        Ok(())
    }

    /// Sends the first of these frames; `sent` went before them.
    fn send(
        &self,
        wire: &mut Wire,
        plan: &Plan,
        frames: &mut Frames,
        sent: u64,
        messages: usize,
    ) -> Result<(), BenchError> {
        if plan.reading == Reading::Verify {
            for index in 0..messages {
                #[expect(clippy::cast_possible_truncation, reason = "at most MAX_CLIENTS")]
                frames.number(index, self.number as u32, sent + index as u64);
            }
        }
        wire.write_all(frames.first(messages))
            .map_err(|error| self.failed(error))?;
        self.sent.0.store(sent + messages as u64, Ordering::Release);
        Ok(())
    }

    fn failed(&self, source: io::Error) -> BenchError {
        BenchError::Client {
            client: format!("producer {}", self.number),
            source,
        }
    }
}

/// As many as there are frames, and no more than `left`.
fn at_most(frames: &Frames, left: u64) -> usize {
    usize::try_from(left).map_or(frames.messages(), |left| left.min(frames.messages()))
}

/// When each message of one producer is to be sent. Producers take turns.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// From the start to the first one, in seconds.
    first: f64,
    /// From one to the next, in seconds.
    interval: f64,
}

impl Schedule {
    fn new(plan: &Plan, producer: usize, rate: f64) -> Self {
        Self {
            first: producer as f64 / rate,
            interval: plan.producers as f64 / rate,
        }
    }

    /// When message `index` is due, since the start.
    fn at(&self, index: u64) -> Duration {
        let seconds = self.first + index as f64 * self.interval;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// How many are due when `elapsed` has passed since the start.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest whole number there is"
    )]
    fn due(&self, elapsed: Duration) -> u64 {
        let intervals = (elapsed.as_secs_f64() - self.first) / self.interval;
        (intervals.floor() + 1.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_spreads_messages_evenly_over_producers() {
        let second = Schedule {
            first: 0.1,
            interval: 0.5,
        };
        assert_eq!(second.due(Duration::ZERO), 0);
        assert_eq!(second.due(Duration::from_millis(99)), 0);
        assert_eq!(second.due(Duration::from_millis(101)), 1);
        assert_eq!(second.due(Duration::from_millis(601)), 2);
        assert_eq!(second.at(0), Duration::from_millis(100));
        assert_eq!(second.at(3), Duration::from_millis(1600));
    }
}
