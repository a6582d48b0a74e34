//! The broker as a process: clients on one port, operators on another, and signals.

use super::descriptors::Descriptors;
use super::logging::Log;
use super::metrics::Metrics;
use super::signals::{self, Signals};
use super::{http, systemd};
use crate::Server;
use crate::record::Recorder;
use crate::settings::Settings;
use message_queue_core::Stats;
use tokio::net::TcpListener;
use tracing::field::display;
use tracing::{error, info, warn};

/// Serves until a signal has brought the orderly end about.
pub(crate) async fn run(
    settings: &Settings,
    signals: Signals,
    log: &Log,
    clients: TcpListener,
    operators: TcpListener,
    recorder: Option<Recorder>,
) {
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
    let following_signals = tokio::spawn(signals::follow(
        signals,
        settings.clone(),
        log.filter(),
        broker,
    ));
    if systemd::has_watchdog() {
        server = server.with_heartbeat(systemd::alive);
    }

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

fn sum_up(stats: &Stats) {
    let Stats { received, flow, .. } = stats;
    info!(
        received = received.messages,
        delivered = flow.delivered.messages,
        dropped = flow.dropped_in_all().messages,
        "ended"
    );
}
