//! Producers keep to the pace of their consumers, where they would be blocked by them in the end.
//!
//! With `OVERFLOW=block` the slowest consumer sets the pace whatever is done. A broker that reads
//! until the backlogs are full only makes every message leave the processor's caches before it is
//! written, and its buffers be new memory each time. So while consumers are behind, producers stand
//! in line: the first is read from when next to nothing waits in the backlogs, or after
//! [`PATIENCE`]. A backlog still fills where consumers do not keep up, only not at once, and no
//! sooner for many producers than for one.
//!
//! What consumers hold and have not settled counts too, as it tells of those that do not keep up, but more of it is
//! allowed: it has been written. Where it counted like what waits, the broker would do nothing between a read and
//! the settlements of what that brought.
//!
//! Each topic has a line of its own: what its consumers leave waiting is nothing to the producers of
//! another.

use message_queue_core::{TopicId, TopicView};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout_at};

/// The longest that the first in line waits for consumers that are behind.
const PATIENCE: Duration = Duration::from_millis(1);

/// Says when the producers of each topic are to be read from.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// What may be in a topic's backlogs before its producers wait; none where they never do.
    limit: Option<Limit>,
    /// The lines of the topics that have had a producer.
    lines: BTreeMap<TopicId, Arc<Line>>,
}

/// What may be in a topic's backlogs before its producers wait, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// That nobody has been handed.
    pub(crate) waiting: usize,
    /// In all, so what is unsettled included.
    pub(crate) held: usize,
}

impl Limit {
    const fn is_exceeded(self, view: TopicView) -> bool {
        view.backlog_bytes > self.held || view.backlog_bytes - view.unsettled_bytes > self.waiting
    }
}

/// Where the producers of one topic stand.
#[derive(Debug)]
pub(crate) struct Line {
    /// A [`Pace`].
    pace: AtomicU8,
    /// Held by the first.
    first: Mutex<()>,
    /// Tells the first that the pace is another.
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
    /// Producers wait for consumers that are behind by more than this limit; never, if it is none.
    pub(crate) const fn new(limit: Option<Limit>) -> Self {
        Self {
            limit,
            lines: BTreeMap::new(),
        }
    }

    /// Whether producers ever wait for consumers.
    pub(crate) const fn is_needed(&self) -> bool {
        self.limit.is_some()
    }

    /// The line for the producers of a topic; none where they never wait.
    pub(crate) fn line(&mut self, topic: TopicId) -> Option<Arc<Line>> {
        self.limit?;
        let line = self.lines.entry(topic).or_insert_with(Line::new);
        Some(Arc::clone(line))
    }

    /// Takes note of how much waits in a topic.
    pub(crate) fn note(&self, topic: TopicId, view: TopicView) {
        let (Some(limit), Some(line)) = (self.limit, self.lines.get(&topic)) else {
            return;
        };
        line.set_pace(if view.is_blocked {
            Pace::Held
        } else if limit.is_exceeded(view) {
            Pace::Slow
        } else {
            Pace::Free
        });
    }
}

impl Line {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            pace: AtomicU8::new(Pace::Free as u8),
            first: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// What a producer waits for before it is read from; none if it may be read from at once.
    pub(crate) fn turn(self: &Arc<Self>) -> Option<Turn> {
        (self.pace() != Pace::Free).then(|| -> Turn { Box::pin(Arc::clone(self).stand()) })
    }

    async fn stand(self: Arc<Self>) {
        let _first = self.first.lock().await;
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

    fn set_pace(&self, pace: Pace) {
        let before = self.pace.swap(pace as u8, Ordering::AcqRel);
        if before != pace as u8 {
            self.changed.notify_one();
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
    use message_queue_core::DEFAULT_TOPIC;

    const OTHER_TOPIC: TopicId = TopicId(1);

    /// Two topics, each with a line.
    fn pacing() -> (Pacing, Arc<Line>, Arc<Line>) {
        let limit = Limit {
            waiting: 10,
            held: 40,
        };
        let mut pacing = Pacing::new(Some(limit));
        let [line, other] = [DEFAULT_TOPIC, OTHER_TOPIC].map(|topic| pacing.line(topic));
        let there = "producers wait";
        (pacing, line.expect(there), other.expect(there))
    }

    fn note(pacing: &Pacing, backlog_bytes: usize, is_blocked: bool) {
        note_held(pacing, backlog_bytes, 0, is_blocked);
    }

    fn note_held(pacing: &Pacing, backlog_bytes: usize, unsettled_bytes: usize, is_blocked: bool) {
        let view = TopicView {
            backlog_bytes,
            unsettled_bytes,
            is_blocked,
        };
        pacing.note(DEFAULT_TOPIC, view);
    }

    fn turn(line: &Arc<Line>) -> Turn {
        line.turn().expect("consumers are behind")
    }

    #[tokio::test(start_paused = true)]
    async fn a_producer_waits_for_consumers_that_are_behind_but_not_for_ever() {
        let (pacing, line, _) = pacing();
        note(&pacing, 10, false);
        assert!(line.turn().is_none());

        note(&pacing, 11, false);
        let began = Instant::now();
        turn(&line).await;
        assert_eq!(began.elapsed(), PATIENCE);

        let mut turn = turn(&line);
        assert!(!is_ready(&mut turn).await);
        note(&pacing, 0, false);
        assert!(is_ready(&mut turn).await);
    }

    #[tokio::test(start_paused = true)]
    async fn more_may_be_unsettled_than_waiting_but_not_without_end() {
        let (pacing, line, _) = pacing();
        note_held(&pacing, 40, 30, false);
        assert!(line.turn().is_none());
        note_held(&pacing, 40, 29, false);
        assert!(line.turn().is_some(), "too much waits");
        note_held(&pacing, 41, 41, false);
        assert!(line.turn().is_some(), "too much is held");
    }

    #[tokio::test(start_paused = true)]
    async fn many_producers_fill_the_backlogs_no_sooner_than_one() {
        let (pacing, line, _) = pacing();
        note(&pacing, 11, false);
        let began = Instant::now();
        let mut turns = [(); 3].map(|()| tokio::spawn(turn(&line)));
        for (turn, place) in turns.iter_mut().zip(1..) {
            turn.await.expect("it does not panic");
            assert_eq!(began.elapsed(), place * PATIENCE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_consumers_have_caught_up_all_go_on_unless_the_first_leaves_them_behind_again() {
        let (pacing, line, _) = pacing();
        note(&pacing, 11, false);
        let mut turns = [(); 3].map(|()| turn(&line));
        for turn in &mut turns {
            assert!(!is_ready(turn).await);
        }
        note(&pacing, 0, false);
        assert!(!is_ready(&mut turns[1]).await, "it is not the first");
        assert!(is_ready(&mut turns[0]).await);
        assert!(is_ready(&mut turns[1]).await);
        note(&pacing, 11, false);
        assert!(!is_ready(&mut turns[2]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_waits_for_room_nobody_else_is_read_from() {
        let (pacing, line, _) = pacing();
        note(&pacing, 11, true);
        let mut turn = turn(&line);
        tokio::time::timeout(100 * PATIENCE, &mut turn)
            .await
            .expect_err("there is no room");
        note(&pacing, 11, false);
        turn.await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_makes_room_for_the_next() {
        let (pacing, line, _) = pacing();
        note(&pacing, 11, false);
        let mut turns = [(); 2].map(|()| turn(&line));
        for turn in &mut turns {
            assert!(!is_ready(turn).await);
        }
        let [first, mut second] = turns;
        drop(first);
        note(&pacing, 0, false);
        assert!(is_ready(&mut second).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_full_does_not_stop_the_producers_of_another() {
        let (pacing, line, other) = pacing();
        note(&pacing, 11, true);
        let mut turn = turn(&line);
        assert!(!is_ready(&mut turn).await);
        assert!(other.turn().is_none());
        note(&pacing, 11, false);
        assert!(other.turn().is_none());
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        assert!(Pacing::new(None).line(DEFAULT_TOPIC).is_none());
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
