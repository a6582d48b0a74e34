//! The broker as a process: clients on one port, operators on another, and signals.

use super::descriptors::Descriptors;
use super::metrics::Metrics;
use super::{http, systemd};
use crate::record::Recorder;
use crate::settings::Settings;
use crate::{Handle, Server};
use message_queue_core::Stats;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use tracing::field::display;
use tracing::{error, info, warn};

/// Serves until a signal has brought the orderly end about.
pub(crate) async fn run(
    settings: &Settings,
    clients: TcpListener,
    operators: TcpListener,
    recorder: Option<Recorder>,
) {
    // First of all: a signal that comes before its handler is there ends the process on the spot.
    let signals = Signals::new();
    let mut config = settings.broker_config();
    let descriptors = Descriptors::allot(config.max_connections, 64);
    config.max_connections = descriptors.connections;
    let mut server =
        Server::new(config, settings.decoder_config()).with_max_sockets(descriptors.sockets);
    let broker = server.handle();
    let mut metrics = Metrics::default();
    if let Some(recorder) = recorder {
        metrics = metrics.with_recording(recorder.status());
        server = server.observed_by(recorder);
    }

    announce(settings, &clients, &operators);
    let router = http::router_with(broker.clone(), metrics);
    let serving_http = tokio::spawn(async move {
        if let Err(error) = axum::serve(operators, router).await {
            error!(%error, "HTTP is not served any more");
        }
    });
    let (delay, timeout) = (settings.drain_delay(), settings.drain_timeout());
    let following_signals = tokio::spawn(async move {
        match signals {
            Ok(signals) => follow_signals(signals, broker, delay, timeout).await,
            Err(error) => error!(%error, "signals are not followed"),
        }
    });

    systemd::ready();
    let stats = server.serve(clients).await;
    following_signals.abort();
    serving_http.abort();
    sum_up(&stats);
}

/// Tells the addresses and what was set in one event. Whoever sees it can connect, and can end the
/// broker in an orderly way.
fn announce(settings: &Settings, clients: &TcpListener, operators: &TcpListener) {
    let address = |listener: &TcpListener| listener.local_addr().ok().map(display);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        tcp_address = address(clients),
        http_address = address(operators),
        settings = settings
            .differences()
            .as_deref()
            .unwrap_or("all as by default"),
        all_settings = "message-queue serve --print-config",
        "listening"
    );
    for warning in settings.warnings() {
        warn!("{warning}");
    }
}

/// The first signal begins the orderly end, the second leaves no time for it.
async fn follow_signals(mut signals: Signals, broker: Handle, delay: Duration, timeout: Duration) {
    let name = signals.next().await;
    broker.set_ready(false);
    info!(
        signal = name,
        delay_seconds = delay.as_secs_f64(),
        timeout_seconds = timeout.as_secs_f64(),
        "draining"
    );
    systemd::stopping(delay + timeout);
    tokio::select! {
        () = sleep(delay) => broker.drain(timeout),
        _ = signals.next() => broker.drain(Duration::ZERO),
    }
    signals.next().await;
    broker.drain(Duration::ZERO);
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn sum_up(stats: &Stats) {
    let Stats { received, flow, .. } = stats;
    info!(
        received = received.messages,
        delivered = flow.delivered.messages,
        dropped = flow.dropped_in_all().messages,
        "ended"
    );
}
