//! Lines for the log of which strangers could cause any number: one a second at most, with how many there were.

use std::time::Duration;
use tokio::time::Instant;

/// How often at most.
const EVERY: Duration = Duration::from_secs(1);

/// Decides which of them are written.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// When the last was written.
    told: Option<Instant>,
    /// How many were not since.
    untold: u64,
}

impl Seldom {
    /// One more. If it is to be written: how many before it were not.
    pub(super) fn one_more(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn one_a_second_is_written_and_knows_of_the_others() {
        let mut seldom = Seldom::default();
        let told: Vec<_> = (0..4).map(|_| seldom.one_more()).collect();
        assert_eq!(told, [Some(0), None, None, None]);
        advance(EVERY).await;
        assert_eq!(seldom.one_more(), Some(3));
        assert_eq!(seldom.one_more(), None);
    }
}
