//! Connecting to a broker, once or for as long as it takes.

use super::broker_args::BrokerArgs;
use super::progress::Notices;
use crate::client::{Backoff, ConnectError};
use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;

/// Makes the connections of one command, one at a time.
#[derive(Debug)]
pub(crate) struct Connector<'a> {
    broker: &'a BrokerArgs,
    notices: Notices,
    backoff: Backoff,
    /// When the last connection was made, if it has not been given up.
    connected: Option<Instant>,
}

impl<'a> Connector<'a> {
    pub(crate) fn new(broker: &'a BrokerArgs, notices: Notices) -> Self {
        Self {
            broker,
            notices,
            backoff: Backoff::new(),
            connected: None,
        }
    }

    /// Whether to connect again after a connection was lost.
    pub(crate) const fn retries(&self) -> bool {
        self.broker.retry
    }

    /// How long the connection has lasted.
    pub(crate) fn lived(&self) -> Duration {
        self.connected
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Connects by means of `attempt`; with `--retry` until it succeeds.
    pub(crate) async fn connect<C>(
        &mut self,
        attempt: impl AsyncFn(&str) -> Result<C, ConnectError>,
    ) -> Result<C, ConnectError> {
        loop {
            match attempt(&self.broker.addr).await {
                Ok(client) => {
                    self.connected = Some(Instant::now());
                    return Ok(client);
                }
                Err(error) if self.retries() => self.wait(&error).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits before the next attempt, and says why.
    pub(crate) async fn wait(&mut self, why: &dyn Display) {
        let wait = self.backoff.next_wait(self.lived());
        self.connected = None;
        self.notices
            .print(&format!("{why}; trying again in {wait:?}"));
        tokio::time::sleep(wait).await;
    }
}

/// What to do where there is no broker and `--retry` was not given.
pub(crate) const NO_BROKER_HINT: &str =
    "start a broker with `message-queue serve`, or let --retry wait for one";
