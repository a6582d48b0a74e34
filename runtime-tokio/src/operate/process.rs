//! The broker as a process: clients on one or two ports, operators on another, and signals.

use super::descriptors::Descriptors;
use super::http::HttpStats;
use super::http::guard::Guard;
use super::http::thread::HttpThread;
use super::http::view::View;
use super::logging::Log;
use super::metrics::{Metrics, TlsMetrics};
use super::signals::{self, Signals};
use super::systemd;
use crate::Server;
use crate::access::tls::{Ports, ServerTls, TlsOptions, TlsPort};
use crate::access::{Gate, Proxied};
use crate::record::Recorder;
use crate::settings::Settings;
use crate::store::{NotOpened, Opened, StoreStatus, Taken};
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
use message_queue_core::Storage;
use message_queue_core::{Config, Stats};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::time::interval;
use tracing::field::display;
use tracing::{error, info, warn};

/// What the process listens on.
pub(crate) struct Listeners {
    /// `TCP_PORT`, unless it is off.
    pub(crate) tcp: Option<TcpListener>,
    /// `TLS_PORT`, unless it is off.
    pub(crate) tls_port: Option<TcpListener>,
    /// `HTTP_PORT`.
    pub(crate) http: TcpListener,
    /// The certificate, if any of them speaks TLS.
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Listeners {
    /// The most handshakes under way, on all ports together.
    fn most_handshakes(&self, settings: &Settings) -> usize {
        let ports = usize::from(self.tls_port.is_some()) + usize::from(settings.has_http_tls());
        ports * settings.tls_max_handshakes()
    }
}

/// How the broker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As a signal asked it to.
    Orderly,
    /// What keeps topics has failed.
    StoreFailed,
}

/// Why nothing was served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotServed {
    /// A log in the folder of stored topics was not opened.
    #[error(transparent)]
    Store(#[from] NotOpened),
    /// The engine that keeps topics refuses this broker.
    #[cfg(feature = "rabbitmq")]
    #[error(transparent)]
    Refused(#[from] crate::store::RefusedByRabbitMq),
    /// The same.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    RefusedByKafka(#[from] crate::store::RefusedByKafka),
    /// There is no thread for stored topics.
    #[error("cannot start a thread for stored topics: {0}")]
    Thread(#[from] io::Error),
}

/// Opens the logs of stored topics while operators are answered already, then serves until a signal has brought the
/// orderly end about, or what keeps topics has failed.
///
/// # Errors
/// If the logs cannot be opened, or the system gives no thread for them. Nothing was served then.
pub(crate) async fn run(
    settings: &Settings,
    mut config: Config,
    mut signals: Signals,
    log: &Log,
    listeners: Listeners,
    recorder: Option<Recorder>,
    taken: Option<Taken>,
) -> Result<Ended, NotServed> {
    let most_http = settings.max_http_connections();
    let handshakes = listeners.most_handshakes(settings);
    let descriptors = Descriptors::allot(config.max_connections, most_http, handshakes);
    config.max_connections = descriptors.connections;
    let failure_limit = settings.failure_limit();
    let limited = |policy| Gate::limited(policy, failure_limit.clone());
    let gate = settings.policy().map(limited);
    let http = Arc::new(HttpStats::new(descriptors.http));
    let mut metrics = Metrics::default()
        .with_topics(settings.metrics_topics())
        .with_http(Arc::clone(&http))
        .with_failure_limit(failure_limit.clone());
    if let Some(taken) = &taken {
        metrics = metrics.with_store(taken.status(), taken.folder().into());
    }
    let shared = config.engines().find(|it| it.is_shared());
    let shared = shared.map(|engine| Arc::new(StoreStatus::shared(engine)));
    if let Some(status) = &shared {
        metrics = metrics.with_engine(Arc::clone(status));
    }
    if let Some(tls) = &listeners.tls {
        metrics = metrics.with_tls(TlsMetrics::new(Arc::clone(tls), failure_limit.clone()));
    }
    if let Some(recorder) = &recorder {
        metrics = metrics.with_recording(recorder.status());
    }

    announce(settings, &listeners);
    let Listeners {
        tcp,
        tls_port,
        http: operators,
        tls,
    } = listeners;
    let of_port = |http: bool| {
        let (tls, handshakes) = (tls.clone()?, metrics.handshakes(http)?);
        Some(TlsOptions {
            config: Arc::new(move || {
                if http {
                    tls.open_config()
                } else {
                    tls.config()
                }
            }),
            timeout: settings.tls_handshake_timeout(),
            most: settings.tls_max_handshakes(),
            handshakes,
        })
    };
    let proxied = |listener| Proxied::new(listener, settings.proxy());
    let tls_port = tls_port.map(proxied).zip(of_port(false));
    let tls_port = tls_port.map(|(it, options)| TlsPort::new(it, options));
    let clients = Ports::new(tcp.map(proxied), tls_port);
    let http_tls = of_port(true).filter(|_| settings.has_http_tls());
    let watching_certificate = tls.clone().map(|tls| tokio::spawn(tls.watch()));
    let heartbeats = Arc::<AtomicU64>::default();
    let has_watchdog = systemd::has_watchdog();
    let view = Arc::new(View::new(Arc::clone(&heartbeats)));
    // Where nothing is stored there is nothing to open, and operators see the broker at once.
    let decoder = settings.decoder_config();
    let in_memory = match taken {
        None if shared.is_none() => Some(Server::new(config.clone(), decoder)),
        None | Some(_) => None,
    };
    if let Some(server) = &in_memory {
        view.show(server.handle());
    }
    let serving_http = operators.into_std().and_then(|it| {
        let view = Arc::clone(&view);
        let guard = Guard::new(gate.clone(), settings.http_auth());
        let timeout = settings.http_timeout();
        HttpThread::start(it, http_tls, timeout, view, guard, http, metrics)
    });
    if let Err(error) = &serving_http {
        error!(%error, "HTTP is not served");
    }
    let stored = match (taken, shared) {
        #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
        (None, Some(status)) => match open_shared(settings, &config, status, &mut signals).await? {
            Some(opened) => Some(Server::stored(config, decoder, opened)?),
            None => return Ok(Ended::Orderly),
        },
        // One that is not in this build is refused with the settings.
        (None, _) => None,
        (Some(taken), _) => match open(taken, &mut signals).await? {
            Some(opened) => Some(Server::stored(config, decoder, opened)?),
            None => return Ok(Ended::Orderly),
        },
    };
    let server = in_memory.or(stored);
    let server = server.expect("either nothing is stored, or all logs are open");
    let mut server = server
        .with_frame_timeout(settings.frame_timeout())
        .with_max_sockets(descriptors.sockets)
        .with_address_limits(settings.address_limits())
        .with_failure_limit(failure_limit)
        .with_heartbeat(move || {
            heartbeats.fetch_add(1, Ordering::Relaxed);
            if has_watchdog {
                systemd::alive();
            }
        });
    if let Some(gate) = gate {
        server = server.guarded_by(gate);
    }
    if let Some(recorder) = recorder {
        server = server.observed_by(recorder);
    }
    let (broker, handle) = (server.handle(), server.handle());
    view.show(server.handle());
    let following_signals = tokio::spawn(signals::follow(
        signals,
        settings.clone(),
        log.filter(),
        broker,
        tls,
    ));

    systemd::ready();
    let stats = server.serve(clients).await;
    following_signals.abort();
    if let Some(watching) = watching_certificate {
        watching.abort();
    }
    drop(serving_http);
    sum_up(&stats);
    Ok(if handle.has_store_failed() {
        Ended::StoreFailed
    } else {
        Ended::Orderly
    })
}

/// Looks whether the engine is there that keeps topics; none where a signal has ended that.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
async fn open_shared(
    settings: &Settings,
    config: &Config,
    status: Arc<StoreStatus>,
    signals: &mut Signals,
) -> Result<Option<Opened>, NotServed> {
    tokio::select! {
        opened = engine(settings, config, status) => Ok(Some(opened?)),
        signal = signals.next_end() => {
            info!(signal, "ended before the engine of stored topics had answered");
            Ok(None)
        }
    }
}

/// The engine that keeps topics, of those that this build has.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
async fn engine(
    settings: &Settings,
    config: &Config,
    status: Arc<StoreStatus>,
) -> Result<Opened, NotServed> {
    #[cfg(feature = "kafka")]
    if status.engine == Some(Storage::Kafka) {
        let options = settings.kafka().expect("the settings were checked");
        return Ok(Opened::in_kafka(options, config, status).await?);
    }
    #[cfg(feature = "rabbitmq")]
    if status.engine == Some(Storage::RabbitMq) {
        let options = settings.rabbitmq().expect("the settings were checked");
        return Ok(Opened::in_rabbitmq(options, config, status).await?);
    }
    unreachable!("one that is not in this build is refused with the settings")
}

/// Opens the logs of stored topics; none where a signal has ended that.
async fn open(taken: Taken, signals: &mut Signals) -> Result<Option<Opened>, NotServed> {
    let mut opened = pin!(taken.open_aside()?);
    let mut every_second = interval(systemd::HEARTBEAT);
    loop {
        tokio::select! {
            opened = &mut opened => return Ok(Some(opened?)),
            signal = signals.next_end() => {
                info!(signal, "ended before the logs of stored topics were open");
                return Ok(None);
            }
            _ = every_second.tick() => systemd::starting(),
        }
    }
}

/// Tells the addresses and what was set in one event. Whoever sees it can connect, and can end the
/// broker in an orderly way.
fn announce(settings: &Settings, listeners: &Listeners) {
    let address =
        |listener: Option<&TcpListener>| listener.and_then(|it| it.local_addr().ok()).map(display);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        tcp_address = address(listeners.tcp.as_ref()),
        tls_address = address(listeners.tls_port.as_ref()),
        http_address = address(Some(&listeners.http)),
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
