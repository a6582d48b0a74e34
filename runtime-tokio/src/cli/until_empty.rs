//! `consume --until-empty`: when to ask whether anything is left.
//!
//! While messages come something is left, so the broker is asked once they have not for a moment. What is left then
//! other members hold, or it waits for a delay: the next question comes later each time, for as long as that takes.

use super::progress::{Messages, Notices};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// For how long nothing comes before the first question. A round trip to most brokers is shorter.
const FIRST: Duration = Duration::from_millis(50);

/// The longest time between two questions.
const LONGEST: Duration = Duration::from_secs(1);

/// A time in which no message comes.
#[derive(Debug)]
pub(super) struct Lull {
    wait: Duration,
    ask_at: Instant,
    notices: Notices,
}

impl Lull {
    pub(super) fn new(notices: Notices) -> Self {
        Self {
            wait: FIRST,
            ask_at: Instant::now() + FIRST,
            notices,
        }
    }

    /// A message has come.
    pub(super) fn ends(&mut self, now: Instant) {
        self.wait = FIRST;
        self.ask_at = now + FIRST;
    }

    /// Waits until it is time to ask.
    ///
    /// Cancel safe.
    pub(super) async fn lasts(&self) {
        sleep_until(self.ask_at).await;
    }

    /// So many messages are left, and none has come. Says so when it has been asked for often.
    pub(super) fn goes_on(&mut self, left: u64, now: Instant) {
        let was = self.wait;
        self.wait = (was * 2).min(LONGEST);
        self.ask_at = now + self.wait;
        if was < LONGEST && self.wait == LONGEST {
            self.notices.print(&format!(
                "waiting for {} of the group: other members hold them, or they wait for a delay or for room in the \
                 dead-letter topic",
                Messages(left)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::Progress;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_less_and_less_often_until_a_message_comes() {
        let mut lull = Lull::new(Progress::bar(false).notices());
        let mut asked = Instant::now();
        for millis in [50, 100, 200, 400, 800, 1_000, 1_000] {
            lull.lasts().await;
            assert_eq!(asked.elapsed(), Duration::from_millis(millis));
            asked = Instant::now();
            lull.goes_on(1, asked);
        }
        lull.ends(asked);
        lull.lasts().await;
        assert_eq!(asked.elapsed(), FIRST);
    }
}
