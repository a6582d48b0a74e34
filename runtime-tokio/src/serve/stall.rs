//! How long the rest of a frame that has begun is waited for.
//!
//! Only the task of a connection knows whether it has been reading all the time. So the time is
//! judged where a read finds nothing: a producer that was not read from for a while (it was
//! blocked, others were before it, the broker was stopped) has been silent only if nothing of it
//! is in the socket by then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Watches one connection's frames.
pub(super) struct StallWatch {
    timeout: Duration,
    /// When the frame that has begun is given up; none if bytes have come since that was known.
    due: Option<Instant>,
    /// Wakes the connection's task. It is not moved with each read: when it goes off too early it
    /// is set to when the frame is due.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl StallWatch {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            due: None,
            alarm: None,
        }
    }

    /// A read brought something.
    pub(super) const fn progressed(&mut self) {
        self.due = None;
    }

    /// A read of the rest of a frame found nothing: ready when that has been so for too long.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = match self.due {
            Some(due) if due <= Instant::now() => return Poll::Ready(()),
            Some(due) => due,
            None => *self.due.insert(Instant::now() + self.timeout),
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.as_mut().poll(cx).is_ready() {
            alarm.as_mut().reset(due);
            return alarm.as_mut().poll(cx);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{advance, timeout};

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn time_runs_from_the_last_byte() {
        let mut watch = StallWatch::new(TIMEOUT);
        let began = Instant::now();
        for _ in 0..3 {
            let stalled = poll_fn(|cx| watch.poll_stalled(cx));
            let slow = timeout(TIMEOUT - Duration::from_secs(1), stalled).await;
            assert!(slow.is_err(), "it is slow, not stalled");
            watch.progressed();
        }
        poll_fn(|cx| watch.poll_stalled(cx)).await;
        assert_eq!(
            began.elapsed(),
            3 * (TIMEOUT - Duration::from_secs(1)) + TIMEOUT
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_while_nobody_read_is_progress() {
        let mut watch = StallWatch::new(TIMEOUT);
        let wait = timeout(Duration::ZERO, poll_fn(|cx| watch.poll_stalled(cx)));
        assert!(wait.await.is_err());
        advance(10 * TIMEOUT).await;
        watch.progressed();
        let wait = timeout(Duration::ZERO, poll_fn(|cx| watch.poll_stalled(cx)));
        assert!(wait.await.is_err());
    }
}
