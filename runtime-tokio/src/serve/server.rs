//! The server: accepts connections, keeps the time, and ends in an orderly way.

use super::accept::Acceptor;
use super::connection::Connection;
use super::deadlines::Deadlines;
use super::driver::Driver;
use super::identify::PolicyChange;
use super::net::Listener;
use super::observe::Observer;
use super::orders::{Order, OrderError, Orders};
use super::stream::Stream;
use super::survey::{ConsumerStatus, ProducerStatus, TopicStatus};
use super::survey::{Detail, Findings, Survey};
use crate::access::{AddressLimits, Addresses, FailureLimit, Gate, Place, Policy, Refusals};
#[cfg(feature = "cli")]
use crate::store::Size;
use crate::store::{Opened, StoreEvent, StoreEvents, StoreStatus};
use message_queue_core::names::{Name, TopicName};
use message_queue_core::wire::DecoderConfig;
use message_queue_core::{Config, ConnId, Count, Stats, Storage, TopicChange, TopicRule};
use std::fmt;
use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// The default of [`Server::with_frame_timeout`].
const FRAME_TIMEOUT: Duration = Duration::from_secs(30);

/// A broker that is not serving yet.
///
/// ```
/// # use message_queue_tokio::{Server, client::{Consumer, Producer}};
/// # use tokio::net::TcpListener;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let addr = listener.local_addr()?;
/// let server = Server::new(Default::default(), Default::default());
/// let broker = server.handle();
/// let serving = tokio::spawn(server.serve(listener));
/// // … connect producers and consumers to `addr` …
/// broker.drain(Duration::from_secs(5));
/// let summary = serving.await?;
/// assert_eq!(summary.received.messages, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    handle: Handle,
    decoder: DecoderConfig,
    frame_timeout: Duration,
    /// The most sockets open at a time.
    max_sockets: usize,
    limits: AddressLimits,
    failure_limit: FailureLimit,
    heartbeat: Heartbeat,
    orders: mpsc::Receiver<Order>,
    /// What the store has to say, if topics are stored.
    store: Option<StoreEvents>,
}

/// Called once a second by the loop that serves.
struct Heartbeat(Box<dyn FnMut() + Send>);

/// A broker, to look at, to intervene in and to end. A clone is the same broker.
#[derive(Clone)]
pub struct Handle {
    driver: Arc<Driver>,
    orders: Orders,
    ready: Arc<AtomicBool>,
    accept_failures: Arc<AtomicU64>,
    address_refusals: Refusals,
    store_failed: Arc<AtomicBool>,
    store: Option<Arc<StoreStatus>>,
}

/// The counters and gauges, and each connection.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The counters and gauges.
    pub snapshot: Snapshot,
    /// Longest connected first.
    pub consumers: Vec<ConsumerStatus>,
    /// Likewise.
    pub producers: Vec<ProducerStatus>,
}

/// The counters and gauges of a broker at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The settings of the core.
    pub config: Config,
    /// Whether new connections are taken: [`Handle::is_ready`].
    pub ready: bool,
    /// Whether the orderly end has begun.
    pub draining: bool,
    /// Times that the system could not give a new connection.
    pub accept_failures: u64,
    /// Connections that were refused because their address had too many.
    pub address_refusals: u64,
    /// The counters.
    pub stats: Stats,
    /// What is in all backlogs: waiting, and not in flight.
    pub backlog: Count,
    /// The most messages and the most bytes that one backlog holds.
    pub fullest_backlog: Count,
    /// The bytes of all messages that count within `BROKER_BYTES`: those that wait or are parked, and
    /// those of which a part has arrived.
    pub held_bytes: usize,
    /// Producers that are to be told what is safe.
    pub confirming_producers: usize,
    /// The first topics that were made, at the same moment as `stats`: up to 128.
    pub topics: Vec<TopicStatus>,
    /// For how long the oldest message has been waiting; zero if none is.
    pub oldest: Duration,
    /// For how long the broker has been running.
    pub uptime: Duration,
}

impl Server {
    /// A broker with these settings.
    ///
    /// # Panics
    /// If the settings do not keep their bounds ([`Config::check`]).
    pub fn new(config: Config, decoder: DecoderConfig) -> Self {
        Self::with_driver(Driver::new(config), decoder)
    }

    fn with_driver(driver: Driver, decoder: DecoderConfig) -> Self {
        let driver = Arc::new(driver);
        let (given, orders) = Orders::new();
        Self {
            handle: Handle {
                driver,
                orders: given,
                ready: Arc::default(),
                accept_failures: Arc::default(),
                address_refusals: Refusals::default(),
                store_failed: Arc::default(),
                store: None,
            },
            decoder,
            frame_timeout: FRAME_TIMEOUT,
            max_sockets: usize::MAX,
            limits: AddressLimits::default(),
            failure_limit: FailureLimit::default(),
            heartbeat: Heartbeat(Box::new(|| ())),
            orders,
            store: None,
        }
    }

    /// A broker that stores topics in a data folder: those that [`Config::storage`] and the rules of topics say.
    ///
    /// # Errors
    /// If the system gives no threads for that.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn stored(config: Config, decoder: DecoderConfig, opened: Opened) -> io::Result<Self> {
        let now = opened.now;
        let found = opened.found();
        let server = Self::with_driver(Driver::with_stored(config, found, now), decoder);
        let driver = &server.handle.driver;
        let status = opened.status();
        let (store, told) = opened.start(|name| driver.core().broker.topic_named(name))?;
        driver.set_store(store);
        let handle = Handle {
            store: Some(status),
            ..server.handle
        };
        Ok(Self {
            store: Some(told),
            handle,
            ..server
        })
    }

    /// A handle to the broker, for while it serves and after.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Shows `observer` all that goes into the core and comes out of it. The last one set sees it.
    #[must_use]
    pub fn observed_by(self, observer: impl Observer + 'static) -> Self {
        self.handle.driver.core().set_observer(Box::new(observer));
        self
    }

    /// Closes a producer of which no byte of a frame that has begun comes for so long. Default: 30 s.
    #[must_use]
    pub const fn with_frame_timeout(mut self, timeout: Duration) -> Self {
        self.frame_timeout = timeout;
        self
    }

    /// Asks every peer who it is, from its role on. Without it everybody may do everything.
    #[must_use]
    pub fn guarded_by(self, gate: Gate) -> Self {
        self.handle.driver.gate.get_or_init(|| gate);
        self
    }

    /// Never has more than `max_sockets` open: those of connections, and those that are being shut
    /// down after their connections have ended or were refused. Without it there is no such bound.
    #[must_use]
    pub fn with_max_sockets(mut self, max_sockets: usize) -> Self {
        self.max_sockets = max_sockets;
        self
    }

    /// Lets one address take no more than that. A connection too many is reset before anything of it is read.
    #[must_use]
    pub const fn with_address_limits(mut self, limits: AddressLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Resets connections from where too many handshakes have failed before anything of them is read. Who counts those
    /// that fail has the same limit: [`Gate::limited`], and for TLS
    /// [`Handshakes::limited`](crate::access::tls::Handshakes::limited).
    #[must_use]
    pub fn with_failure_limit(mut self, limit: FailureLimit) -> Self {
        self.failure_limit = limit;
        self
    }

    /// Has the loop that serves call `beat` once a second, each time after it has had the core to
    /// itself: who does not hear of it any more knows that the broker hangs. `beat` must not wait.
    #[must_use]
    pub fn with_heartbeat(mut self, beat: impl FnMut() + Send + 'static) -> Self {
        self.heartbeat = Heartbeat(Box::new(beat));
        self
    }

    /// Serves connections from `listener` until the end of a [`drain`](Handle::drain). Returns
    /// the counters as they stand then.
    ///
    /// # Panics
    /// If the broker has a bug: a panic in the task of a connection is not swallowed.
    pub async fn serve<L: Listener>(self, listener: L) -> Stats {
        let Self {
            handle,
            decoder,
            frame_timeout,
            max_sockets,
            limits,
            failure_limit,
            mut heartbeat,
            mut orders,
            mut store,
        } = self;
        let driver = &handle.driver;
        let failures = Arc::clone(&handle.accept_failures);
        let mut acceptor = Acceptor::new("tcp", listener, max_sockets, failures);
        let mut addresses = Addresses::new(limits, handle.address_refusals.clone());
        let mut connections = JoinSet::new();
        let mut deadlines = Deadlines::default();
        let mut every_second = interval(Duration::from_secs(1));
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        handle.set_ready(true);

        while !(connections.is_empty() && (driver.is_drained() || handle.has_store_failed())) {
            if !driver.admits_consumers() {
                acceptor.close();
            }
            let alarm = deadlines.next(driver.alarm());
            let open = connections.len();
            tokio::select! {
                biased;
                () = driver.attention.notified() => {
                    if driver.advance_survey() {
                        driver.attention.notify_one();
                        yield_now().await;
                    }
                }
                Some(ended) = connections.join_next() => addresses.release(check(ended)),
                event = next_event(&mut store) => match event {
                    StoreEvent::Answers(answers) => driver.answer(answers),
                    StoreEvent::Failed => {
                        handle.store_failed.store(true, Ordering::Release);
                        acceptor.close();
                        driver.store_failed();
                        store = None;
                    }
                },
                Some(order) = orders.recv() => order.carry_out(driver),
                _ = every_second.tick() => {
                    driver.log_summary();
                    acceptor.log_failures();
                    addresses.tidy();
                    heartbeat.0();
                }
                () = sleep_until_some(alarm) => deadlines.come(alarm, driver),
                (stream, addr) = acceptor.accept(open) => {
                    if failure_limit.refuses(addr.ip()) {
                        L::reset(&stream);
                        continue;
                    }
                    let Some(place) = addresses.admit(addr.ip()) else {
                        L::reset(&stream);
                        continue;
                    };
                    let stream = Stream::new(stream);
                    let (peer, late) = driver.open(addr, stream.clone());
                    let driver = Arc::clone(driver);
                    let connection = Connection::<L>::new(driver, peer, stream, decoder, late, frame_timeout);
                    connections.spawn(async move {
                        connection.run().await;
                        place
                    });
                }
            }
        }
        driver.log_summary();
        driver.end_store();
        driver.core().broker.stats().clone()
    }
}

impl Handle {
    /// Whether the broker takes new connections, is not about to end, and can store what it is to store: there is room on
    /// the disk, or the engine can be reached.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
            && !self.driver.is_draining()
            && !self.has_store_failed()
            && !self.is_disk_full()
            && self.engine_out_of_reach().is_none()
    }

    /// Whether there is no room on the disk for what the broker is to store.
    pub fn is_disk_full(&self) -> bool {
        self.store.as_ref().is_some_and(|it| it.is_full())
    }

    /// What each stored topic has on the disk, as of the last second.
    #[cfg(feature = "cli")]
    pub(crate) fn sizes(&self) -> Vec<(TopicName, Size)> {
        self.store.as_ref().map_or_else(Vec::new, |it| it.sizes())
    }

    /// The engine that keeps topics, if it is one that brokers share and cannot be reached: nothing is confirmed until it
    /// can.
    pub fn engine_out_of_reach(&self) -> Option<Storage> {
        self.store.as_ref()?.out_of_reach()
    }

    /// Says whether the broker is ready, for whoever asks. Everything works on as before.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether the store of its topics has failed: it has ended, or is about to.
    pub fn has_store_failed(&self) -> bool {
        self.store_failed.load(Ordering::Acquire)
    }

    /// Begins the orderly end: no new connections, but, in `queue` mode, consumers of what waits;
    /// what was received is delivered for up to `timeout`; what is left then is dropped and counted.
    /// Called again it leaves less time.
    pub fn drain(&self, timeout: Duration) {
        self.driver.drain(timeout);
    }

    /// Closes a connection, in whatever role, as
    /// [`EndedByOperator`](message_queue_core::CloseReason::EndedByOperator): the client sees a
    /// reset. What it has sent is kept; in `queue` mode, what it has not been given whole goes to
    /// another consumer.
    ///
    /// # Errors
    /// If there is no such connection, or nobody serves.
    pub async fn end_connection(&self, conn: ConnId) -> Result<(), OrderError> {
        self.orders.give(|answer| Order::End(conn, answer)).await
    }

    /// Drops what waits in the queue and is not in flight, as
    /// [`Purged`](message_queue_core::DropReason::Purged). Producers that wait for room go on.
    /// Returns how much was dropped.
    ///
    /// # Errors
    /// If there is no queue (`broadcast`), or nobody serves.
    pub async fn purge_queue(&self) -> Result<Count, OrderError> {
        self.orders.give(Order::Purge).await
    }

    /// The counters and gauges now. Where there are many connections or groups, they are looked at
    /// in parts, between which the broker goes on; the counters are those of one moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut survey = Survey::new(Detail::Sums);
        loop {
            let core = self.driver.core();
            if let Some(findings) = survey.advance(&core, self.driver.now()) {
                return self.snapshot_of(&findings);
            }
        }
    }

    /// The counters and gauges, and with [`Detail::Lists`] each connection, as the tasks that serve
    /// find them from now on: whoever asks takes no lock from them. There is one answer at a time: if
    /// another asks meanwhile, the first gets none. Nor is there one while nobody serves.
    pub async fn overview(&self, detail: Detail) -> Option<Overview> {
        let findings = self.driver.survey(detail).await?;
        Some(Overview {
            snapshot: self.snapshot_of(&findings),
            consumers: findings.consumers,
            producers: findings.producers,
        })
    }

    /// All topics, in the order in which they were made. As with [`overview`](Self::overview), nobody
    /// waits for whoever asks.
    pub async fn topics(&self) -> Option<Vec<TopicStatus>> {
        let findings = self.driver.survey(Detail::Topics).await?;
        Some(findings.topics)
    }

    /// A topic with its groups and their members, or none if there is no such topic.
    pub async fn topic(&self, name: TopicName) -> Option<Option<TopicStatus>> {
        let findings = self.driver.survey(Detail::Topic(name)).await?;
        Some(findings.into_topic())
    }

    /// Ends a named group of a topic, and drops what waits in it, as
    /// [`GroupEnded`](message_queue_core::DropReason::GroupEnded). Its members are closed first, as
    /// [`EndedByOperator`](message_queue_core::CloseReason::EndedByOperator).
    ///
    /// # Errors
    /// If there is no such group, or nobody serves.
    pub async fn end_group(&self, topic: TopicName, group: Name) -> Result<(), OrderError> {
        let order = |answer| Order::EndGroup(topic, group, answer);
        self.orders.give(order).await
    }

    /// Has topics work by these rules from now on; returns what that has changed. See
    /// [`Broker::set_rules`](message_queue_core::Broker::set_rules).
    ///
    /// # Errors
    /// If the broker cannot take them while it runs, or nobody serves.
    pub async fn set_rules(&self, rules: Vec<TopicRule>) -> Result<Vec<TopicChange>, OrderError> {
        let order = |answer| Order::SetRules(rules, answer);
        self.orders.give(order).await
    }

    /// Has peers be who this policy says, and have the rights that it gives: those that come, and those that are here.
    /// Who may not go on is closed. Returns what that has changed.
    ///
    /// # Errors
    /// If the broker asks nobody who they are ([`Server::guarded_by`]), or nobody serves.
    pub async fn set_policy(&self, policy: Policy) -> Result<PolicyChange, OrderError> {
        let order = |answer| Order::SetPolicy(policy, answer);
        self.orders.give(order).await
    }

    fn snapshot_of(&self, findings: &Findings) -> Snapshot {
        Snapshot {
            config: findings.config.clone(),
            ready: self.is_ready(),
            draining: self.driver.is_draining(),
            accept_failures: self.accept_failures.load(Ordering::Relaxed),
            address_refusals: self.address_refusals.count(),
            stats: findings.stats.clone(),
            backlog: findings.backlog,
            fullest_backlog: findings.fullest_backlog,
            held_bytes: findings.held_bytes,
            confirming_producers: findings.confirming,
            topics: findings.topics.clone(),
            oldest: findings.oldest,
            uptime: findings.uptime,
        }
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heartbeat")
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

async fn next_event(store: &mut Option<StoreEvents>) -> StoreEvent {
    match store {
        // Its thread is there for as long as the broker serves, unless it has panicked.
        Some(events) => events.recv().await.unwrap_or(StoreEvent::Failed),
        None => pending().await,
    }
}

async fn sleep_until_some(alarm: Option<Instant>) {
    match alarm {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// The place that a connection had. A task that panicked takes the broker with it: its state may be wrong.
fn check(ended: Result<Place, JoinError>) -> Place {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(place) => place,
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => unreachable!("nobody aborts the task of a connection"),
    }
}
