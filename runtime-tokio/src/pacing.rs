//! Producers keep to the pace of their consumers, where they would be blocked by them in the end.
//!
//! With `OVERFLOW=block` the slowest consumer sets the pace whatever is done. A broker that reads
//! until the backlogs are full only makes every message leave the processor's caches before it is
//! written, and its buffers be new memory each time. So a producer is read from again once there is
//! next to nothing in the backlogs, or after [`PATIENCE`]: a backlog still fills where consumers do
//! not keep up, only not at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Timeout, timeout};

/// The longest that a producer waits for its consumers between two reads.
const PATIENCE: Duration = Duration::from_millis(1);

/// Says when producers are to be read from.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// The most bytes that wait in all backlogs before producers do; none where they never do.
    limit: Option<usize>,
    /// Whether more waits than that.
    behind: AtomicBool,
    /// Tells one waiting producer that no more than that waits.
    caught_up: Arc<Notify>,
}

/// A producer's wait until it is read from again: ready when consumers have caught up, or it has
/// waited for long enough.
pub(crate) type Turn = Pin<Box<Timeout<OwnedNotified>>>;

impl Pacing {
    /// Producers wait for consumers that are more than `limit` bytes behind; never, if it is none.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            behind: AtomicBool::new(false),
            caught_up: Arc::default(),
        }
    }

    /// Takes note of how many bytes wait in all backlogs.
    pub(crate) fn note(&self, waiting: usize) {
        if let Some(limit) = self.limit {
            self.behind.store(waiting > limit, Ordering::Release);
            self.pass_turn();
        }
    }

    /// What a producer that was just read from waits for; none if it may be read from at once.
    pub(crate) fn turn(&self) -> Option<Turn> {
        self.is_behind().then(|| {
            let caught_up = Arc::clone(&self.caught_up).notified_owned();
            Box::pin(timeout(PATIENCE, caught_up))
        })
    }

    /// Lets the producer that has waited longest be read from, unless consumers are still behind.
    /// For one that had its turn and found nothing to read.
    pub(crate) fn pass_turn(&self) {
        if !self.is_behind() {
            self.caught_up.notify_one();
        }
    }

    fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_producer_waits_for_consumers_that_are_behind_but_not_for_ever() {
        let pacing = Pacing::new(Some(10));
        pacing.note(10);
        assert!(pacing.turn().is_none());

        pacing.note(11);
        let turn = pacing.turn().expect("they are behind");
        // A turn that nobody was waiting for is taken by whoever waits next.
        turn.await.expect("left over from when nobody waited");
        let turn = pacing.turn().expect("they are behind");
        let began = Instant::now();
        turn.await.expect_err("nothing told it to go on");
        assert!(began.elapsed() >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_taken_one_at_a_time_and_in_order() {
        let pacing = Pacing::new(Some(10));
        pacing.note(11);
        let mut turns = [(); 2].map(|()| pacing.turn().expect("they are behind"));
        for turn in &mut turns {
            assert!(ready_now(turn).await.is_none());
        }
        pacing.note(0);
        assert!(ready_now(&mut turns[1]).await.is_none());
        assert!(ready_now(&mut turns[0]).await.is_some());
        pacing.pass_turn();
        assert!(ready_now(&mut turns[1]).await.is_some());
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pacing = Pacing::new(None);
        pacing.note(usize::MAX);
        assert!(pacing.turn().is_none());
    }

    /// What `turn` gives at once, if anything.
    async fn ready_now(turn: &mut Turn) -> Option<()> {
        tokio::select! {
            biased;
            done = turn => done.ok(),
            () = std::future::ready(()) => None,
        }
    }
}
