//! The broker as a process: clients on one port, operators on another, and signals.

use super::descriptors::Descriptors;
use super::http::HttpStats;
use super::http::guard::Guard;
use super::http::thread::HttpThread;
use super::http::view::View;
use super::logging::Log;
use super::metrics::Metrics;
use super::signals::{self, Signals};
use super::systemd;
use crate::Server;
use crate::access::Gate;
use crate::record::Recorder;
use crate::settings::Settings;
use message_queue_core::{Config, Stats};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tracing::field::display;
use tracing::{error, info, warn};

/// Serves until a signal has brought the orderly end about.
pub(crate) async fn run(
    settings: &Settings,
    mut config: Config,
    signals: Signals,
    log: &Log,
    clients: TcpListener,
    operators: TcpListener,
    recorder: Option<Recorder>,
) {
    let descriptors = Descriptors::allot(config.max_connections, settings.max_http_connections());
    config.max_connections = descriptors.connections;
    let mut server = Server::new(config, settings.decoder_config())
        .with_frame_timeout(settings.frame_timeout())
        .with_max_sockets(descriptors.sockets);
    let gate = settings.policy().map(Gate::new);
    if let Some(gate) = &gate {
        server = server.guarded_by(gate.clone());
    }
    let broker = server.handle();
    let http = Arc::new(HttpStats::new(descriptors.http));
    let mut metrics = Metrics::default()
        .with_topics(settings.metrics_topics())
        .with_http(Arc::clone(&http));
    if let Some(recorder) = recorder {
        metrics = metrics.with_recording(recorder.status());
        server = server.observed_by(recorder);
    }

    announce(settings, &clients, &operators);
    let heartbeats = Arc::<AtomicU64>::default();
    let has_watchdog = systemd::has_watchdog();
    server = server.with_heartbeat({
        let heartbeats = Arc::clone(&heartbeats);
        move || {
            heartbeats.fetch_add(1, Ordering::Relaxed);
            if has_watchdog {
                systemd::alive();
            }
        }
    });
    let serving_http = operators.into_std().and_then(|it| {
        let view = View::new(broker.clone(), heartbeats);
        let guard = Guard::new(gate, settings.http_auth());
        HttpThread::start(it, settings.http_timeout(), view, guard, http, metrics)
    });
    if let Err(error) = &serving_http {
        error!(%error, "HTTP is not served");
    }
    let following_signals = tokio::spawn(signals::follow(
        signals,
        settings.clone(),
        log.filter(),
        broker,
    ));

    systemd::ready();
    let stats = server.serve(clients).await;
    following_signals.abort();
    drop(serving_http);
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

fn sum_up(stats: &Stats) {
    let Stats { received, flow, .. } = stats;
    info!(
        received = received.messages,
        delivered = flow.delivered.messages,
        dropped = flow.dropped_in_all().messages,
        "ended"
    );
}
