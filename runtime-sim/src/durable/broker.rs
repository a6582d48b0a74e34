//! The broker's host: the production driver and the production store, on simulated sockets and disks.

use super::disks::Disks;
use super::plan::Plan;
use super::recorder::Recorder;
use crate::full_sim::socket::RecordedListener;
use crate::guarantees::Event;
use crate::guarantees::world::config;
use crate::hosts::Program;
use crate::net::WorldListener;
use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, Storage, StoreSettings};
use message_queue_tokio::Server;
use message_queue_tokio::store::Opened;
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use turmoil_net::shim::tokio::net::TcpListener;

/// The world begins so long after 1970.
const EPOCH: Duration = Duration::from_secs(1_000_000);

/// The time allowed for the orderly end.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// The time allowed for a role line.
const ROLE: Duration = Duration::from_secs(5);

/// Longer than any run: who does not take what is written to it is given up for its silence.
const NEVER: Duration = Duration::from_secs(3600);

/// How long a store takes at most to do what it was asked for in the end.
const REST: Duration = Duration::from_secs(6);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// What the broker is told to be.
pub(super) fn config_of(plan: &Plan) -> Config {
    let settings = &plan.settings;
    let disk = &plan.disk;
    let storage = if settings.stored {
        Storage::Disk
    } else {
        Storage::Memory
    };
    Config {
        write_timeout: NEVER,
        role_timeout: ROLE,
        storage,
        store: StoreSettings {
            segment_bytes: disk.segment_bytes,
            retention_settled: disk.retention_settled,
            ..StoreSettings::default()
        },
        // The clock of a broker with a store begins in 1970, as that of the system does.
        started_ms: if settings.stored {
            0
        } else {
            EPOCH.as_millis() as u64
        },
        ..config(settings, false)
    }
}

pub(super) fn program(
    plan: &Plan,
    recorder: Recorder,
    disks: Disks,
    drain: Rc<Notify>,
    port: Rc<Cell<u16>>,
) -> Program {
    let host = Host {
        config: config_of(plan),
        is_stored: plan.settings.stored,
        read_bytes: plan.read_bytes,
        chaos: plan.packets.chaos.then_some(plan.network.chunk_bytes),
        seed: plan.seed,
        recorder,
        disks,
        drain,
    };
    let host = Rc::new(host);
    Box::new(move || {
        // Its clients look it up; see `World::start`.
        port.set(port.get() + 1);
        let (host, port) = (Rc::clone(&host), port.get());
        Box::pin(async move { host.run(port).await })
    })
}

struct Host {
    config: Config,
    is_stored: bool,
    read_bytes: usize,
    chaos: Option<usize>,
    seed: u64,
    recorder: Recorder,
    disks: Disks,
    drain: Rc<Notify>,
}

impl Host {
    async fn run(&self, port: u16) {
        let listener = TcpListener::bind(("0.0.0.0", port)).await;
        let listener = listener.expect("nobody has listened on this port before");
        let listener = RecordedListener {
            listener: WorldListener(listener),
            recorder: self.recorder.clone(),
            chaos: self.chaos,
            seed: self.seed,
        };
        let Some(server) = self.server().await else {
            return;
        };
        let server = server
            .with_frame_timeout(NEVER)
            .observed_by(self.recorder.clone());
        let handle = server.handle();
        let serving = server.serve(listener);
        tokio::pin!(serving);
        tokio::select! {
            biased;
            _ = &mut serving => return self.store_ends().await,
            () = self.drain.notified() => {}
        }
        handle.drain(DRAIN);
        serving.await;
        self.store_ends().await;
    }

    /// None: its process ends, because the disk fails.
    async fn server(&self) -> Option<Server> {
        let decoder = DecoderConfig {
            read_bytes: self.read_bytes,
            ..DecoderConfig::default()
        };
        let now = Duration::from_micros(self.recorder.now());
        if !self.is_stored {
            self.recorder.broker_starts(now.as_micros() as i128);
            return Some(Server::new(self.config.clone(), decoder));
        }
        self.recorder.broker_starts(-(EPOCH.as_micros() as i128));
        let volume = self.disks.take();
        let topics = volume.topics();
        let disks = self.disks.clone();
        disks.set_opening(true);
        let latency = move |operation: &_| disks.latency(operation);
        let now = EPOCH + now;
        let opened = Opened::simulated(volume, topics, &self.config, now, latency).await;
        self.disks.set_opening(false);
        match opened {
            Ok(opened) => {
                let server = Server::stored(self.config.clone(), decoder, opened);
                Some(server.expect("a store without threads takes nothing from the system"))
            }
            Err(_) if self.disks.has_failed() => None,
            Err(error) => {
                let error = error.to_string();
                self.recorder.note(Event::NotOpened { error });
                pending().await
            }
        }
    }

    /// The process ends when its store has given the disk back, or has had its time.
    async fn store_ends(&self) {
        let mut waited = Duration::ZERO;
        while self.disks.is_taken() && waited < REST {
            sleep(LOOK).await;
            waited += LOOK;
        }
    }
}
