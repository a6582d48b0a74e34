//! What HTTP shows of the broker: as fresh as it can be had, without ever holding the broker up.

use crate::Handle;
use crate::serve::orders::OrderError;
use crate::serve::server::{Overview, Snapshot};
use crate::serve::survey::{Detail, TopicStatus};
use crate::store::Size;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::{ConnId, Count};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// The least time from one survey to the next, however many ask.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// How long to wait for the broker before what is known of it must do.
const PATIENCE: Duration = Duration::from_secs(1);

/// Seconds without a heartbeat after which the broker is taken for dead. Far more than load or a
/// small share of a CPU make of one second.
const DEAD_AFTER: u64 = 30;

/// A broker, as HTTP sees it.
pub(crate) struct View {
    /// None while its stored topics are being opened.
    broker: OnceLock<Handle>,
    latest: Mutex<Latest>,
    /// How often the loop that serves has come round to its timer, which is once a second.
    heartbeats: Arc<AtomicU64>,
    /// For how many seconds no heartbeat has been seen.
    silent: AtomicU64,
}

struct Latest {
    /// When the last survey was begun.
    asked: Option<Instant>,
    snapshot: Option<(Instant, Snapshot)>,
}

/// Why the broker has not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("the broker has not answered within {} s", PATIENCE.as_secs())]
    InTime,
    #[error("the logs of stored topics are being opened; the broker serves when that is done")]
    Recovering,
}

/// An order has not been carried out, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Disobeyed {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("{0}; it may still do what was asked for")]
    Unanswered(#[from] Unanswered),
}

impl View {
    /// Shows a broker that is to come, whose loop counts its `heartbeats`, one a second.
    pub(crate) fn new(heartbeats: Arc<AtomicU64>) -> Self {
        Self {
            broker: OnceLock::new(),
            heartbeats,
            latest: Mutex::new(Latest {
                asked: None,
                snapshot: None,
            }),
            silent: AtomicU64::new(0),
        }
    }

    /// Shows this broker from now on, if it shows none yet.
    pub(crate) fn show(&self, broker: Handle) {
        let _ = self.broker.set(broker);
    }

    /// Why no new connections are taken, if they are not.
    pub(super) fn not_ready(&self) -> Option<String> {
        let Some(broker) = self.broker.get() else {
            return Some("recovering".to_owned());
        };
        if broker.is_ready() {
            return None;
        }
        Some(match broker.engine_out_of_reach() {
            Some(engine) => format!("{} out of reach", engine.name()),
            None if broker.is_disk_full() => "disk full".to_owned(),
            None => "not ready".to_owned(),
        })
    }

    /// Whether the loop that serves has come round lately, if there is one yet.
    pub(super) fn is_alive(&self) -> bool {
        self.silent.load(Ordering::Relaxed) < DEAD_AFTER
    }

    fn broker(&self) -> Result<&Handle, Unanswered> {
        self.broker.get().ok_or(Unanswered::Recovering)
    }

    /// Looks for heartbeats, for ever. Seconds are counted here, so that a process that was stopped
    /// for a while is not dead when it goes on.
    pub(super) async fn watch_heartbeats(&self) {
        let mut every_second = interval(Duration::from_secs(1));
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.heartbeats.load(Ordering::Relaxed);
        loop {
            every_second.tick().await;
            let now = self.heartbeats.load(Ordering::Relaxed);
            match now == seen && self.broker.get().is_some() {
                true => self.silent.fetch_add(1, Ordering::Relaxed),
                false => self.silent.swap(0, Ordering::Relaxed),
            };
            seen = now;
        }
    }

    /// The counters and gauges, and how old they are: a moment, unless the broker does not answer.
    pub(super) async fn snapshot(&self) -> Result<(Snapshot, Duration), Unanswered> {
        let broker = self.broker()?;
        let arrived = Instant::now();
        // Where it runs out of time, the lock is free again.
        let _ = timeout(PATIENCE, async {
            let mut latest = self.latest.lock().await;
            // Whoever was before may have had it looked up after this request came.
            let is_fresh = latest
                .snapshot
                .as_ref()
                .is_some_and(|(asked, _)| *asked >= arrived);
            if !is_fresh {
                survey(broker, &mut latest, Detail::Sums).await;
            }
        })
        .await;
        let latest = timeout(PATIENCE, self.latest.lock()).await;
        let latest = latest.map_err(|_| Unanswered::InTime)?;
        let (asked, snapshot) = latest.snapshot.as_ref().ok_or(Unanswered::InTime)?;
        let mut snapshot = snapshot.clone();
        snapshot.ready = broker.is_ready();
        Ok((snapshot, asked.elapsed()))
    }

    /// The counters and gauges, and each connection.
    pub(super) async fn overview(&self) -> Result<Overview, Unanswered> {
        let broker = self.broker()?;
        let survey = async {
            let mut latest = self.latest.lock().await;
            survey(broker, &mut latest, Detail::Lists).await
        };
        let found = timeout(PATIENCE, survey).await.ok().flatten();
        found.ok_or(Unanswered::InTime)
    }

    /// Every topic.
    pub(super) async fn topics(&self) -> Result<Vec<TopicStatus>, Unanswered> {
        self.ask(self.broker()?.topics()).await
    }

    /// The topic of this name, if it is there.
    pub(super) async fn topic(&self, name: TopicName) -> Result<Option<TopicStatus>, Unanswered> {
        self.ask(self.broker()?.topic(name)).await
    }

    /// What each stored topic has on the disk.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (TopicName, Size)> + use<> {
        let sizes = self.broker.get().map(Handle::sizes);
        sizes.into_iter().flatten()
    }

    /// Ends a named group.
    pub(super) async fn end_group(&self, topic: TopicName, group: Name) -> Result<(), Disobeyed> {
        let ended = timeout(PATIENCE, self.broker()?.end_group(topic, group)).await;
        Ok(ended.map_err(|_| Unanswered::InTime)??)
    }

    /// Ends a connection.
    pub(super) async fn end(&self, conn: ConnId) -> Result<(), Disobeyed> {
        let ended = timeout(PATIENCE, self.broker()?.end_connection(conn)).await;
        Ok(ended.map_err(|_| Unanswered::InTime)??)
    }

    /// Empties the queue. Returns what was dropped.
    pub(super) async fn purge(&self) -> Result<Count, Disobeyed> {
        let purged = timeout(PATIENCE, self.broker()?.purge_queue()).await;
        Ok(purged.map_err(|_| Unanswered::InTime)??)
    }

    /// Has the broker looked at when its turn has come: it gives one answer at a time.
    async fn ask<T>(&self, survey: impl Future<Output = Option<T>>) -> Result<T, Unanswered> {
        let found = async {
            let mut latest = self.latest.lock().await;
            if let Some(asked) = latest.asked {
                sleep_until(asked + LEAST_INTERVAL).await;
            }
            latest.asked = Some(Instant::now());
            survey.await
        };
        timeout(PATIENCE, found)
            .await
            .ok()
            .flatten()
            .ok_or(Unanswered::InTime)
    }
}

async fn survey(broker: &Handle, latest: &mut Latest, detail: Detail) -> Option<Overview> {
    if let Some(asked) = latest.asked {
        sleep_until(asked + LEAST_INTERVAL).await;
    }
    let asked = Instant::now();
    latest.asked = Some(asked);
    let overview = broker.overview(detail).await?;
    latest.snapshot = Some((asked, overview.snapshot.clone()));
    Some(overview)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use tokio::net::TcpListener;

    fn server() -> Server {
        Server::new(Default::default(), Default::default())
    }

    fn view_of(server: &Server) -> View {
        let view = View::new(Arc::default());
        view.show(server.handle());
        view
    }

    #[tokio::test(start_paused = true)]
    async fn while_logs_are_opened_it_is_alive_and_not_ready_however_long_that_takes() {
        let view = Arc::new(View::new(Arc::default()));
        let watching = Arc::clone(&view);
        tokio::spawn(async move { watching.watch_heartbeats().await });
        tokio::time::sleep(Duration::from_secs(3 * DEAD_AFTER)).await;
        assert!(view.is_alive());
        assert_eq!(view.not_ready().as_deref(), Some("recovering"));
        let snapshot = view.snapshot().await;
        assert!(matches!(snapshot, Err(Unanswered::Recovering)));
        view.show(server().handle());
        assert_eq!(
            view.not_ready().as_deref(),
            Some("not ready"),
            "it does not serve yet"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_does_not_answer_is_waited_for_no_longer_than_a_second() {
        // It serves nobody: nobody comes round to answer.
        let server = server();
        let view = view_of(&server);
        let began = Instant::now();
        assert!(view.snapshot().await.is_err());
        assert!(view.overview().await.is_err());
        assert!(began.elapsed() <= 3 * PATIENCE);
    }

    #[tokio::test]
    async fn what_was_known_last_is_told_with_its_age() {
        let server = server();
        let view = view_of(&server);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = tokio::spawn(server.serve(listener));
        let (snapshot, age) = view.snapshot().await.unwrap();
        assert!(snapshot.ready && age < PATIENCE);
        serving.abort();
        assert!(serving.await.is_err());
        // It does not answer any more.
        let (_, older) = view.snapshot().await.unwrap();
        assert!(older >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_come_round_for_long_is_taken_for_dead() {
        let heartbeats = Arc::<AtomicU64>::default();
        let view = Arc::new(View::new(Arc::clone(&heartbeats)));
        view.show(server().handle());
        let watching = Arc::clone(&view);
        tokio::spawn(async move { watching.watch_heartbeats().await });
        tokio::time::sleep(Duration::from_secs(DEAD_AFTER - 5)).await;
        assert!(view.is_alive());
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!view.is_alive());
        heartbeats.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(view.is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_it_looks_at_most_once_in_the_interval() {
        let server = server();
        let view = Arc::new(view_of(&server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn(server.serve(listener));
        view.snapshot().await.unwrap();
        let began = Instant::now();
        let asking = [(); 100].map(|()| {
            let view = Arc::clone(&view);
            tokio::spawn(async move { view.snapshot().await.is_ok() })
        });
        for asking in asking {
            assert!(asking.await.unwrap());
        }
        assert!(began.elapsed() < 3 * LEAST_INTERVAL, "one for all of them");
        for _ in 0..10 {
            view.overview().await.unwrap();
        }
        assert!(began.elapsed() >= 10 * LEAST_INTERVAL);
    }
}
