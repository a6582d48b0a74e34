//! Connecting to a broker, once or for as long as it takes.

use super::broker_args::BrokerArgs;
use super::progress::Notices;
use crate::client::{Backoff, ClientTls, ConnectError};
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::Instant;

/// Makes the connections of one command, one at a time.
#[derive(Debug)]
pub(crate) struct Connector<'a> {
    broker: &'a BrokerArgs,
    tls: Option<ClientTls>,
    notices: Notices,
    backoff: Backoff,
    /// When the last connection was made, if it has not been given up.
    connected: Option<Instant>,
    /// Whether it is to be said that there is a connection: to somebody who watches, or who was told
    /// that there is none.
    unannounced: bool,
}

impl<'a> Connector<'a> {
    pub(crate) fn new(broker: &'a BrokerArgs, notices: Notices) -> Self {
        Self {
            broker,
            tls: None,
            notices,
            backoff: Backoff::new(),
            connected: None,
            unannounced: io::stderr().is_terminal(),
        }
    }

    /// Over TLS, if it is told how.
    #[must_use]
    pub(crate) fn over(mut self, tls: Option<ClientTls>) -> Self {
        self.tls = tls;
        self
    }

    /// Where the broker is.
    pub(crate) fn address(&self) -> &str {
        &self.broker.address.addr
    }

    /// Whether to connect again after a connection was lost.
    pub(crate) const fn retries(&self) -> bool {
        self.broker.retry
    }

    /// Whether the connection is so young that its end may be a refusal.
    pub(crate) fn at_once(&self) -> bool {
        self.lived() < Backoff::SETTLED
    }

    /// How long the connection has lasted.
    fn lived(&self) -> Duration {
        self.connected
            .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Connects by means of `attempt`; with `--retry` until it succeeds.
    pub(crate) async fn connect<C>(
        &mut self,
        attempt: impl AsyncFn(&str, Option<&ClientTls>) -> Result<C, ConnectError>,
    ) -> Result<C, ConnectError> {
        loop {
            match attempt(&self.broker.address.addr, self.tls.as_ref()).await {
                Ok(client) => {
                    self.connected = Some(Instant::now());
                    return Ok(client);
                }
                Err(error) if self.retries() => self.lost(&error, was_reset(&error)).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that there is a connection, once it is known not to be a refusal.
    pub(crate) fn announce(&mut self) {
        if std::mem::take(&mut self.unannounced) {
            self.notices
                .print(&format!("connected to {}", self.broker.address.addr));
        }
    }

    /// The connection is lost: says why, and waits before the next attempt. Where that may be a
    /// refusal (`refused`), says so too.
    pub(crate) async fn lost(&mut self, why: &dyn Display, refused: bool) {
        if refused {
            self.wait(&format!("{why}; {REFUSAL_HINT}")).await;
        } else {
            self.wait(why).await;
        }
    }

    async fn wait(&mut self, why: &dyn Display) {
        let wait = self.backoff.next_wait(self.lived());
        self.connected = None;
        self.unannounced = true;
        let seconds = wait.as_secs_f64();
        self.notices
            .print(&format!("{why}; trying again in {seconds:.1} s"));
        tokio::time::sleep(wait).await;
    }
}

/// How long it is watched whether a new connection is a refusal.
pub(crate) const REFUSAL_TIME: Duration = Duration::from_millis(200);

/// What to do where there is no connection and `--retry` was not given; behind the error, unless that says it.
pub(crate) fn hint(error: &ConnectError) -> String {
    if was_reset(error) {
        return format!("; {REFUSAL_HINT}");
    }
    if is_absent(error) {
        "; start a broker with `message-queue serve`, or let --retry wait for one".to_owned()
    } else {
        String::new()
    }
}

/// Whether no broker may be there. Otherwise it is about TLS: a file is no good, or the two sides do not want to speak to
/// each other.
pub(crate) fn is_absent(error: &ConnectError) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    ![InvalidData, InvalidInput, UnexpectedEof].contains(&error.source.kind())
}

/// Whether there was a connection for a moment.
fn was_reset(error: &ConnectError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    [BrokenPipe, ConnectionAborted, ConnectionReset].contains(&error.source.kind())
}

/// What it may mean that a connection ends as soon as it was made. In wire version 1 a broker does
/// not say why it refuses a client.
pub(crate) const REFUSAL_HINT: &str = "the broker may have refused this client, because its places \
     are taken (MAX_CONNECTIONS, MAX_CONSUMERS), because it is shutting down, because it wants to know who you are \
     (--token-file), or because its port speaks TLS (--tls); its log names the reason";
