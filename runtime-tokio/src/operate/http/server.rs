//! The connections of operators: as many at a time as are allowed, and none that only keeps a place.
//!
//! A request has to come, an idle connection to be used again, and an answer to be taken, within a
//! time each. Where all places are taken, a new connection gets that of the one that has been
//! waiting for a request for longest: whoever asks at once is answered, however many do not.

use super::orders::Operator;
use super::stats::{Closed, HttpStats};
use crate::serve::accept::Acceptor;
use crate::serve::net::Listener;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tracing::warn;

/// The longest request head, with room for the headers that proxies add.
const HEAD_BYTES: usize = 16 << 10;

/// A connection that is not waiting: its request is being answered.
const BUSY: u64 = u64::MAX;

/// Takes connections and has `router` answer them. Never ends.
pub(super) struct HttpServer {
    router: Router,
    /// The time for a request's head, from the first moment on that it could come, and for a part
    /// of an answer to be taken.
    timeout: Duration,
    stats: Arc<HttpStats>,
    started: Instant,
    tasks: JoinSet<(u64, Closed)>,
    open: BTreeMap<u64, Connection>,
    next: u64,
}

struct Connection {
    task: AbortHandle,
    /// Since when it has been waiting for a request, in milliseconds from the start, or [`BUSY`].
    waiting_since: Arc<AtomicU64>,
}

impl HttpServer {
    pub(super) fn new(router: Router, timeout: Duration, stats: Arc<HttpStats>) -> Self {
        Self {
            router,
            timeout,
            stats,
            started: Instant::now(),
            tasks: JoinSet::new(),
            open: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) async fn serve(mut self, listener: impl Listener) {
        let failures = Arc::clone(&self.stats.accept_failures);
        // One more than there are places: whoever makes room has to be told, and then gone.
        let mut acceptor = Acceptor::new("http", listener, self.stats.limit + 1, failures);
        let mut every_second = interval(Duration::from_secs(1));
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unlogged = 0;
        loop {
            let sockets = self.tasks.len();
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => {
                    // One whose place was given away has been counted.
                    if let Ok((id, how)) = ended
                        && self.open.remove(&id).is_some()
                    {
                        self.stats.closed(how);
                    }
                }
                _ = every_second.tick() => {
                    acceptor.log_failures();
                    if unlogged > 0 {
                        warn!(
                            connections = unlogged,
                            limit = self.stats.limit,
                            "too many HTTP connections; refused, or closed while they waited"
                        );
                        unlogged = 0;
                    }
                }
                (stream, addr) = acceptor.accept(sockets) => {
                    self.stats.opened();
                    if self.open.len() < self.stats.limit {
                        self.admit(stream, Operator(addr));
                    } else {
                        unlogged += 1;
                        if self.make_room() {
                            self.admit(stream, Operator(addr));
                        } else {
                            self.stats.refused();
                        }
                    }
                }
            }
        }
    }

    /// Closes the connection that has been waiting for longest. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        let waiting = self.open.iter().filter_map(|(id, connection)| {
            let since = connection.waiting_since.load(Ordering::Relaxed);
            (since != BUSY).then_some((since, *id))
        });
        let Some((_, id)) = waiting.min() else {
            return false;
        };
        if let Some(connection) = self.open.remove(&id) {
            connection.task.abort();
            self.stats.closed(Closed::Displaced);
        }
        true
    }

    fn admit(&mut self, stream: impl AsyncRead + AsyncWrite + Send + 'static, operator: Operator) {
        let id = self.next;
        self.next += 1;
        let started = self.started;
        let waiting_since = Arc::new(AtomicU64::new(millis_since(started)));
        let state = Arc::clone(&waiting_since);
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(operator);
            let (router, state) = (router.clone(), Arc::clone(&state));
            async move {
                state.store(BUSY, Ordering::Relaxed);
                let answer = router.oneshot(request).await;
                state.store(millis_since(started), Ordering::Relaxed);
                answer
            }
        });
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.timeout));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let task = self.tasks.spawn(async move {
            let how = match connection.await {
                Ok(()) => Closed::Done,
                Err(error) if is_timeout(&error) => Closed::Timeout,
                Err(_) => Closed::Failed,
            };
            (id, how)
        });
        let connection = Connection {
            task,
            waiting_since,
        };
        self.open.insert(id, connection);
    }
}

fn millis_since(started: Instant) -> u64 {
    started.elapsed().as_millis().try_into().unwrap_or(BUSY - 1)
}

/// Whether a request did not come, or an answer was not taken, in time.
fn is_timeout(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    error.is_timeout() || source.is_some_and(|it| it.kind() == io::ErrorKind::TimedOut)
}
