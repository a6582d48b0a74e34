//! What the broker does when it is sent a signal.
//!
//! SIGTERM and SIGINT end it in an orderly way, SIGHUP has it look at its settings again. Other
//! signals that would kill a process are logged, and it goes on.

use super::logging::FilterHandle;
use super::systemd;
use crate::access::Policy;
use crate::access::tls::ServerTls;
use crate::settings::{Reload, Settings};
use crate::{Handle, PolicyChange};
use message_queue_core::TopicRule;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ,
};
use signal_hook::iterator::Signals as Iterator;
use signal_hook::low_level::signal_name;
use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info, warn};

/// Signals that are handled. SIGPIPE is ignored by every Rust program; SIGQUIT still dumps core.
const HANDLED: [c_int; 10] = [
    SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ,
];

/// How many signals wait until they are looked at. Those of one kind that come faster are one.
const WAITING: usize = 16;

/// Signals, from [`install`](Self::install) on.
#[derive(Debug)]
pub(crate) struct Signals {
    received: mpsc::Receiver<c_int>,
}

impl Signals {
    /// Handles signals from now on, and keeps them until somebody asks. To be called first of all: a
    /// signal that comes earlier ends the process on the spot, or is lost where it is the first of
    /// its container.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn install() -> io::Result<Self> {
        let mut signals = Iterator::new(HANDLED)?;
        let (sender, received) = mpsc::channel(WAITING);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in &mut signals {
                    if sender.blocking_send(signal).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self { received })
    }

    async fn next(&mut self) -> c_int {
        match self.received.recv().await {
            Some(signal) => signal,
            // Its thread lives as long as the process.
            None => std::future::pending().await,
        }
    }

    /// The next signal to end the process; others are logged.
    pub(crate) async fn next_end(&mut self) -> &'static str {
        loop {
            match self.next().await {
                signal @ (SIGTERM | SIGINT) => return name(signal),
                signal => ignore(signal),
            }
        }
    }
}

fn name(signal: c_int) -> &'static str {
    signal_name(signal).unwrap_or("unknown")
}

fn ignore(signal: c_int) {
    info!(signal = name(signal), "signal ignored");
}

/// Does what signals say, for as long as the broker runs. The first signal to end begins the drain,
/// the second leaves no time for it.
pub(crate) async fn follow(
    mut signals: Signals,
    mut settings: Settings,
    log: FilterHandle,
    broker: Handle,
    tls: Option<Arc<ServerTls>>,
) {
    let name = loop {
        match signals.next().await {
            signal @ (SIGTERM | SIGINT) => break name(signal),
            SIGHUP => {
                reload(&mut settings, &log, &broker).await;
                if let Some(tls) = tls.clone() {
                    // A panic there was told by whoever panicked.
                    let _ = spawn_blocking(move || tls.reload_and_tell()).await;
                }
            }
            signal => ignore(signal),
        }
    };
    let (delay, timeout) = (settings.drain_delay(), settings.drain_timeout());
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
        _ = signals.next_end() => broker.drain(Duration::ZERO),
    }
    signals.next_end().await;
    broker.drain(Duration::ZERO);
}

/// How many topics are named that other rules have changed.
const NAMED: usize = 100;

/// Puts other rules for topics in force, and says what has changed of which.
async fn apply(rules: Vec<TopicRule>, broker: &Handle) {
    let changes = match broker.set_rules(rules).await {
        Ok(changes) => changes,
        Err(error) => return error!(%error, "the rules for topics are as before"),
    };
    info!(topics = changes.len(), "rules for topics changed");
    let told = |keys: &[&str]| (!keys.is_empty()).then(|| keys.join(" "));
    for change in changes.iter().take(NAMED) {
        info!(
            topic = %change.topic,
            made = change.applied.is_empty() && change.kept.is_empty(),
            applied = told(&change.applied),
            needs_restart = told(&change.kept),
            "topic changed"
        );
    }
}

/// Has other people do other things, and says how many connections that concerns.
async fn apply_policy(policy: Policy, broker: &Handle) {
    match broker.set_policy(policy).await {
        Ok(PolicyChange { changed, unknown }) => {
            info!(changed, unknown, "who may do what has changed");
        }
        Err(error) => error!(%error, "who may do what is as before"),
    }
}

/// Reads the settings again and applies what can be applied while the broker runs.
async fn reload(settings: &mut Settings, log: &FilterHandle, broker: &Handle) {
    systemd::reloading();
    match Settings::load() {
        Ok(new) => {
            let Reload {
                settings: merged,
                applied,
                needs_restart,
                rules,
                policy,
                refused,
            } = settings.reload(new);
            if let Err(error) = log.set(&merged) {
                error!(%error, "the log's filter is as before");
            }
            *settings = merged;
            let told = |names: Vec<String>| (!names.is_empty()).then(|| names.join(" "));
            info!(
                applied = told(applied),
                needs_restart = told(needs_restart),
                "settings reloaded"
            );
            if let Some(why) = refused {
                warn!(%why, "the rules of TOPICS_FILE need a restart; they are as before");
            }
            if let Some(rules) = rules {
                apply(rules, broker).await;
            }
            if let Some(policy) = policy {
                apply_policy(policy, broker).await;
            }
            for warning in settings.warnings() {
                warn!("{warning}");
            }
        }
        Err(error) => {
            for line in error.to_string().lines() {
                error!(detail = line, "settings not reloaded; all are as before");
            }
        }
    }
    systemd::ready();
}
