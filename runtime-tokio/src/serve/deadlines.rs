//! Sockets before clocks: a deadline is judged after the socket that it concerns was looked at.
//!
//! A broker that did not run for a while (SIGSTOP, a throttled container) finds when it wakes that
//! deadlines have passed, and in its sockets what its peers did meanwhile. And one that did run learns
//! late of a slow peer: see [`Listener::write_now`](super::net::Listener::write_now).

use super::driver::Driver;
use std::time::Duration;
use tokio::time::Instant;

/// How long the connections' tasks have to look at their sockets.
const LOOK: Duration = Duration::from_millis(10);

/// An alarm that is noticed so much later than it was due tells of a broker that did not run.
const LATE: Duration = Duration::from_millis(100);

/// How long they have then: its peers may have been held up with it.
const LOOK_AFTER_A_STALL: Duration = Duration::from_millis(250);

/// The core's deadlines.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// The look at the sockets that comes before the next judgement, once it has begun.
    look: Option<Look>,
}

#[derive(Debug)]
struct Look {
    /// When it is over.
    until: Instant,
    /// Whether the broker had not run before it.
    after_a_stall: bool,
}

impl Deadlines {
    /// When [`come`](Self::come) is next to be called, while the core's alarm is this.
    pub(crate) fn next(&self, alarm: Option<Instant>) -> Option<Instant> {
        self.look.as_ref().map(|look| look.until).or(alarm)
    }

    /// The moment `due` has come: now the sockets are looked at, and after that the clock.
    ///
    /// A broker that did not run during a look takes another. One alone: where it never runs in time,
    /// deadlines are still kept.
    pub(crate) fn come(&mut self, due: Option<Instant>, driver: &Driver) {
        let now = Instant::now();
        let stalled = due.is_some_and(|due| now.saturating_duration_since(due) > LATE);
        if let Some(look) = self.look.take()
            && (look.after_a_stall || !stalled)
        {
            return driver.handle_timeout();
        }
        let time = if stalled { LOOK_AFTER_A_STALL } else { LOOK };
        driver.wake_overdue(time);
        self.look = Some(Look {
            until: now + time,
            after_a_stall: stalled,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message_queue_core::Config;
    use std::sync::Arc;

    const ROLE_TIMEOUT: Duration = Duration::from_secs(1);

    /// Opens a connection that never says its role, and keeps its deadline, where the broker's loop
    /// comes so much late, one time after the other. Returns after what time the connection is ended.
    async fn ends_after(late: &[Duration]) -> Duration {
        let driver = Arc::new(Driver::new(Config {
            role_timeout: ROLE_TIMEOUT,
            ..Config::default()
        }));
        let began = Instant::now();
        driver.open(([127, 0, 0, 1], 1).into(), tokio::io::sink());
        let mut deadlines = Deadlines::default();
        let mut late = late.iter();
        while driver.core().broker.stats().connections > 0 {
            let due = deadlines.next(driver.alarm());
            let late = late.next().copied().unwrap_or_default();
            tokio::time::sleep_until(due.expect("it has a deadline") + late).await;
            deadlines.come(due, &driver);
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_judged_after_a_look_and_a_longer_one_if_the_broker_did_not_run() {
        const STALL: Duration = Duration::from_secs(9);
        let cases: [(&[Duration], Duration); 4] = [
            (&[], LOOK),
            (&[LATE], LATE + LOOK),
            (&[STALL], STALL + LOOK_AFTER_A_STALL),
            // It stood still during the look.
            (&[LATE, STALL], LATE + LOOK + STALL + LOOK_AFTER_A_STALL),
        ];
        for (late, more) in cases {
            assert_eq!(ends_after(late).await, ROLE_TIMEOUT + more, "{late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_never_runs_in_time_still_keeps_deadlines() {
        const STALL: Duration = Duration::from_secs(9);
        let more = 2 * STALL + LOOK_AFTER_A_STALL;
        assert_eq!(ends_after(&[STALL; 3]).await, ROLE_TIMEOUT + more);
    }
}
