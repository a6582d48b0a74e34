//! New connections: taken from the listener as long as there are descriptors for them.

use super::net::Listener;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// How long to wait after the network failed to give a connection, as it does when there are no
/// file descriptors left: long enough not to spin, short enough to be back soon.
const BACKOFF: Duration = Duration::from_millis(100);

/// Takes connections from a listener.
pub(crate) struct Acceptor<L> {
    /// Whose connections they are, for the log.
    port: &'static str,
    /// None once nothing listens any more.
    listener: Option<L>,
    /// The most sockets open at a time, those included whose connections have ended and that are
    /// being shut down.
    max_sockets: usize,
    not_before: Instant,
    /// Failures ever.
    failures: Arc<AtomicU64>,
    /// Failures since the last line in the log, and the last of them.
    unlogged: Option<(u64, io::Error)>,
}

impl<L: Listener> Acceptor<L> {
    /// Takes connections while fewer than `max_sockets` are open, and counts its failures.
    pub(crate) fn new(
        port: &'static str,
        listener: L,
        max_sockets: usize,
        failures: Arc<AtomicU64>,
    ) -> Self {
        Self {
            port,
            listener: Some(listener),
            max_sockets,
            not_before: Instant::now(),
            failures,
            unlogged: None,
        }
    }

    /// The next connection. Never, if nothing listens any more or as many sockets as may be are
    /// `open`: the kernel keeps further connections waiting. Dropping the future loses none.
    pub(crate) async fn accept(&mut self, open: usize) -> (L::Stream, SocketAddr) {
        let Some(listener) = self.listener.as_mut().filter(|_| open < self.max_sockets) else {
            return pending().await;
        };
        loop {
            sleep_until(self.not_before).await;
            match listener.accept().await {
                Ok(accepted) => return accepted,
                // Gone again before it was accepted: its own affair.
                Err(error) if is_peers_affair(&error) => {}
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    let before = self.unlogged.take().map_or(0, |(count, _)| count);
                    self.unlogged = Some((before + 1, error));
                    self.not_before = Instant::now() + BACKOFF;
                }
            }
        }
    }

    /// Stops listening.
    pub(crate) fn close(&mut self) {
        if self.listener.take().is_some() {
            info!("no longer listening");
        }
    }

    /// One line in the log for all failures since the last call. To be called once a second.
    pub(crate) fn log_failures(&mut self) {
        if let Some((failures, error)) = self.unlogged.take() {
            warn!(port = self.port, %error, failures, "cannot accept connections; trying again");
        }
    }
}

/// Whether a connection could not be accepted because its peer is gone.
fn is_peers_affair(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::timeout;

    /// Fails so many times before each connection.
    struct Failing {
        left: u32,
        kind: ErrorKind,
    }

    impl Listener for Failing {
        type Stream = DuplexStream;

        async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
            if self.left > 0 {
                self.left -= 1;
                return Err(self.kind.into());
            }
            Ok((duplex(1).0, ([127, 0, 0, 1], 1).into()))
        }
    }

    fn acceptor(left: u32, kind: ErrorKind) -> (Acceptor<Failing>, Arc<AtomicU64>) {
        let failures = Arc::default();
        let acceptor = Acceptor::new("tcp", Failing { left, kind }, 3, Arc::clone(&failures));
        (acceptor, failures)
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_and_tried_again_at_leisure() {
        let (mut acceptor, failures) = acceptor(25, ErrorKind::Other);
        let began = Instant::now();
        acceptor.accept(0).await;
        assert_eq!(began.elapsed(), 25 * BACKOFF);
        assert_eq!(failures.load(Ordering::Relaxed), 25);
        assert_eq!(acceptor.unlogged.as_ref().unwrap().0, 25);
        acceptor.log_failures();
        assert!(acceptor.unlogged.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_gone_again_is_no_failure() {
        let (mut acceptor, failures) = acceptor(1000, ErrorKind::ConnectionAborted);
        let began = Instant::now();
        acceptor.accept(0).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(failures.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_accepted_beyond_the_sockets_that_may_be_open_or_after_the_end() {
        let (mut acceptor, _) = acceptor(0, ErrorKind::Other);
        acceptor.accept(2).await;
        let long = Duration::from_secs(3600);
        assert!(timeout(long, acceptor.accept(3)).await.is_err());
        acceptor.accept(2).await;
        acceptor.close();
        assert!(timeout(long, acceptor.accept(0)).await.is_err());
    }
}
