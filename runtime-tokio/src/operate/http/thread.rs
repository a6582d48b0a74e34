//! The thread that answers operators.

use super::guard::Guard;
use super::server::HttpServer;
use super::view::View;
use super::{HttpStats, router};
use crate::access::tls::{Ports, TlsOptions, TlsPort};
use crate::operate::metrics::Metrics;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::error;

/// HTTP, being served. Ends when it is dropped.
pub(crate) struct HttpThread {
    /// Dropped to end it.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpThread {
    /// Serves what there is to see in `view` on `listener`, which does not block, and speaks TLS if it is told how.
    ///
    /// # Errors
    /// If the system gives no thread, or no runtime.
    pub(crate) fn start(
        listener: TcpListener,
        tls: Option<TlsOptions>,
        timeout: Duration,
        view: Arc<View>,
        guard: Guard,
        stats: Arc<HttpStats>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            // Sockets belong to the runtime in which they are made.
            let _in_runtime = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            match tls {
                Some(options) => Ports::new(None, Some(TlsPort::new(listener, options))),
                None => Ports::new(Some(listener), None),
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = async move {
            let router = router(Arc::clone(&view), guard, Arc::new(metrics));
            let server = HttpServer::new(router, timeout, stats);
            tokio::select! {
                // Only dropped.
                _ = stopped => {}
                () = server.serve(listener) => {}
                () = view.watch_heartbeats() => {}
            }
        };
        let thread = thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serving))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for HttpThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("HTTP was not served any more: its thread has panicked");
        }
    }
}
