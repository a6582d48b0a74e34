//! Producers keep to the pace of their consumers, where they would be blocked by them in the end.
//!
//! With `OVERFLOW=block` the slowest consumer sets the pace whatever is done. A broker that reads
//! until the backlogs are full only makes every message leave the processor's caches before it is
//! written, and its buffers be new memory each time. So while consumers are behind, producers stand
//! in line: the first is read from when next to nothing waits in the backlogs, or after
//! [`PATIENCE`]. A backlog still fills where consumers do not keep up, only not at once, and no
//! sooner for many producers than for one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout_at};

/// The longest that the first in line waits for consumers that are behind.
const PATIENCE: Duration = Duration::from_millis(1);

/// Says when producers are to be read from.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// The most bytes that wait in all backlogs before producers do; none where they never do.
    limit: Option<usize>,
    /// A [`Pace`].
    pace: AtomicU8,
    /// Held by the first in line.
    line: Mutex<()>,
    /// Tells the first in line that the pace is another.
    changed: Notify,
}

/// How producers are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Pace {
    /// As they like.
    Free,
    /// One after the other, with [`PATIENCE`]: consumers are behind.
    Slow,
    /// Not at all: somebody waits for room already, and whoever is read from would only wait too.
    Held,
}

/// A producer's wait until it is read from.
pub(crate) type Turn = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pacing {
    /// Producers wait for consumers that are more than `limit` bytes behind; never, if it is none.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            pace: AtomicU8::new(Pace::Free as u8),
            line: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes note of how many bytes wait in all backlogs, and whether a producer waits for room.
    pub(crate) fn note(&self, waiting: usize, blocked: bool) {
        let Some(limit) = self.limit else { return };
        let pace = if blocked {
            Pace::Held
        } else if waiting > limit {
            Pace::Slow
        } else {
            Pace::Free
        };
        let before = self.pace.swap(pace as u8, Ordering::AcqRel);
        if before != pace as u8 {
            self.changed.notify_one();
        }
    }

    /// What a producer waits for before it is read from; none if it may be read from at once.
    pub(crate) fn turn(self: &Arc<Self>) -> Option<Turn> {
        (self.pace() != Pace::Free).then(|| -> Turn { Box::pin(Arc::clone(self).stand_in_line()) })
    }

    async fn stand_in_line(self: Arc<Self>) {
        let _first = self.line.lock().await;
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.pace() {
                Pace::Free => return,
                Pace::Held => self.changed.notified().await,
                Pace::Slow => {
                    if timeout_at(patience, self.changed.notified()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn pace(&self) -> Pace {
        match self.pace.load(Ordering::Acquire) {
            pace if pace == Pace::Free as u8 => Pace::Free,
            pace if pace == Pace::Slow as u8 => Pace::Slow,
            _ => Pace::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacing() -> Arc<Pacing> {
        Arc::new(Pacing::new(Some(10)))
    }

    fn turn(pacing: &Arc<Pacing>) -> Turn {
        pacing.turn().expect("consumers are behind")
    }

    #[tokio::test(start_paused = true)]
    async fn a_producer_waits_for_consumers_that_are_behind_but_not_for_ever() {
        let pacing = pacing();
        pacing.note(10, false);
        assert!(pacing.turn().is_none());

        pacing.note(11, false);
        let began = Instant::now();
        turn(&pacing).await;
        assert_eq!(began.elapsed(), PATIENCE);

        let mut turn = turn(&pacing);
        assert!(!is_ready(&mut turn).await);
        pacing.note(0, false);
        assert!(is_ready(&mut turn).await);
    }

    #[tokio::test(start_paused = true)]
    async fn many_producers_fill_the_backlogs_no_sooner_than_one() {
        let pacing = pacing();
        pacing.note(11, false);
        let began = Instant::now();
        let mut turns = [(); 3].map(|()| tokio::spawn(turn(&pacing)));
        for (turn, place) in turns.iter_mut().zip(1..) {
            turn.await.expect("it does not panic");
            assert_eq!(began.elapsed(), place * PATIENCE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_consumers_have_caught_up_all_go_on_unless_the_first_leaves_them_behind_again() {
        let pacing = pacing();
        pacing.note(11, false);
        let mut turns = [(); 3].map(|()| turn(&pacing));
        for turn in &mut turns {
            assert!(!is_ready(turn).await);
        }
        pacing.note(0, false);
        assert!(!is_ready(&mut turns[1]).await, "it is not the first");
        assert!(is_ready(&mut turns[0]).await);
        assert!(is_ready(&mut turns[1]).await);
        pacing.note(11, false);
        assert!(!is_ready(&mut turns[2]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_waits_for_room_nobody_else_is_read_from() {
        let pacing = pacing();
        pacing.note(11, true);
        let mut turn = turn(&pacing);
        tokio::time::timeout(100 * PATIENCE, &mut turn)
            .await
            .expect_err("there is no room");
        pacing.note(11, false);
        turn.await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_makes_room_for_the_next() {
        let pacing = pacing();
        pacing.note(11, false);
        let mut turns = [(); 2].map(|()| turn(&pacing));
        for turn in &mut turns {
            assert!(!is_ready(turn).await);
        }
        let [first, mut second] = turns;
        drop(first);
        pacing.note(0, false);
        assert!(is_ready(&mut second).await);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pacing = Arc::new(Pacing::new(None));
        pacing.note(usize::MAX, true);
        assert!(pacing.turn().is_none());
    }

    /// Whether its turn has come.
    async fn is_ready(turn: &mut Turn) -> bool {
        tokio::select! {
            biased;
            () = turn => true,
            () = std::future::ready(()) => false,
        }
    }
}
