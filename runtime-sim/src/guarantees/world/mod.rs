//! A broker, its clients, and what happens to them.

mod engine;
pub(crate) mod host;
pub(crate) mod link;
pub(crate) mod peers;
mod rights;
mod rules;

use super::engine::EngineName;
use super::history::{Event, History, Record};
use super::plan::{Act, Client, Deed, Ending, Plan, Settings, TOPICS, WhichGroup, consumer};
use super::rights::VAULT;
use crate::plan::{MILLISECOND, Micros};
use crate::rng::Rng;
use link::Link;
use message_queue_core::names::{Name, Pattern, TopicName};
use message_queue_core::{
    Broker, Config, ConnId, DeliveryMode, GroupId, Input, Now, TopicRule, TopicsConfig,
};
use peers::{DECLARED, EXTRA, Peer};
use std::collections::BTreeMap;
use std::time::Duration;

/// So many rounds in which everything goes well have to do.
const ROUNDS: usize = 4000;

/// The time of day at which the broker starts, in milliseconds.
pub(super) const STARTED_MS: u64 = 1_000_000;

/// The time for an orderly end.
const DRAIN: Duration = Duration::from_secs(20);

pub(super) struct World<'a> {
    plan: &'a Plan,
    /// The settings that are in force.
    settings: Settings,
    /// What the small choices of the act are drawn from.
    rng: Rng,
    broker: Broker,
    now: Now,
    next_conn: u64,
    peers: Vec<Peer>,
    links: BTreeMap<ConnId, Link>,
    engines: engine::Engines,
    /// Whether everything goes well from now on.
    is_over: bool,
    checks: bool,
    is_checking: bool,
    step: u64,
    history: History,
}

/// `asks`: whether the broker asks who its clients are.
pub(crate) fn config(settings: &Settings, asks: bool) -> Config {
    let pattern = |text: &str| Pattern::new(text).expect("a good pattern");
    let ack_timeout = Duration::from_millis(settings.ack_timeout_ms);
    let jobs = TopicRule {
        groups: Some(vec![Name::new(DECLARED).expect("a good name")]),
        capacity: Some(settings.capacity),
        max_failures: Some(settings.max_failures),
        backoff_max: Some(Duration::from_millis(settings.backoff_max_ms)),
        ack_timeout: Some(ack_timeout),
        overflow: Some(settings.overflow),
        max_age: Some(Duration::from_millis(settings.max_age_ms)),
        storage: settings.engine.map(EngineName::storage),
        ..TopicRule::new(pattern("jobs.*"))
    };
    // Dead-letter topics match no pattern.
    let dead = TOPICS.map(|name| TopicRule {
        capacity: Some(settings.dead_capacity),
        ..TopicRule::new(pattern(&format!("{name}.dead")))
    });
    let declared = TOPICS.map(|name| TopicRule::new(pattern(name)));
    let vault = asks.then(|| TopicRule::new(pattern(VAULT)));
    let rules = [jobs].into_iter().chain(dead).chain(declared).chain(vault);
    Config {
        delivery: DeliveryMode::Broadcast,
        max_consumers: 200,
        write_bytes: settings.write_bytes,
        write_timeout: Duration::from_secs(3600),
        min_consumer_rate: 0,
        role_timeout: Duration::from_secs(3600),
        topics: TopicsConfig {
            rules: rules.collect(),
            // Whether a topic is there makes a difference, then.
            creation: !asks,
            ..TopicsConfig::default()
        },
        started_ms: STARTED_MS,
        ..Config::default()
    }
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, checks: bool) -> Self {
        let heartbeat = plan.settings.heartbeat;
        let peers = plan.clients.iter().enumerate();
        Self {
            plan,
            settings: plan.settings.clone(),
            rng: Rng::new(plan.seed),
            broker: Broker::new(config(&plan.settings, !plan.rights.is_empty())),
            now: Now::START,
            next_conn: 1,
            peers: peers
                .map(|(at, client)| Peer::new(at, client, heartbeat, plan.rights.get(at)))
                .collect(),
            links: BTreeMap::new(),
            engines: engine::Engines::default(),
            is_over: false,
            checks,
            is_checking: false,
            step: 0,
            history: History {
                settings: plan.settings.clone(),
                records: Vec::new(),
            },
        }
    }

    /// Whether the broker was checking itself when it panicked.
    pub(super) const fn is_checking(&self) -> bool {
        self.is_checking
    }

    pub(super) fn at(&self) -> Micros {
        self.now.since_start().as_micros() as Micros
    }

    pub(super) const fn step(&self) -> u64 {
        self.step
    }

    pub(super) fn into_history(self) -> History {
        self.history
    }

    fn record(&mut self, event: Event) {
        let (at, step) = (self.at(), self.step);
        self.history.records.push(Record { at, step, event });
    }

    fn end_step(&mut self) {
        if self.checks {
            self.is_checking = true;
            self.broker.check_invariants();
            self.is_checking = false;
        }
        self.step += 1;
    }

    pub(super) fn play(&mut self) {
        let plan = self.plan;
        if plan.settings.engine.is_some() {
            // It opens its stores.
            self.outputs();
        }
        for act in &plan.acts {
            self.act(act);
        }
        if plan.ending == Ending::Finish {
            self.finish();
        }
        self.drain();
        let held_bytes = self.broker.held_bytes();
        let is_drained = self.broker.is_drained();
        self.record(Event::Over {
            held_bytes,
            is_drained,
        });
    }

    fn act(&mut self, act: &Act) {
        self.rng = Rng::new(act.stream);
        let at = act.client;
        if at >= self.peers.len() {
            return;
        }
        match act.deed {
            Deed::Connect => self.connect(at),
            Deed::Produce => self.produce(at),
            Deed::ClientWrites => self.client_writes(at),
            Deed::BrokerReads => {
                if let Some(conn) = self.one_of_its_links(at) {
                    self.broker_reads(conn);
                }
            }
            Deed::SocketTakes => {
                let most = self.rng.pick(&[1, 10, 100, 1 << 20, 1 << 20]);
                if let Some(conn) = self.one_of_its_links(at) {
                    self.socket_takes(conn, most);
                }
            }
            Deed::ClientReads => {
                let most = self.rng.pick(&[1, 10, 100, 1 << 16, 1 << 16]);
                self.client_reads(at, most);
            }
            Deed::Exchange => self.exchange(at),
            Deed::Settle => self.settle(at),
            Deed::Credit => self.credit(at),
            Deed::Wait => {
                let millis = self.rng.pick(&[1, 5, 20, 120, 400, 1500]);
                let some = self.rng.within(0..=999);
                let micros = millis * MILLISECOND + if self.has_ages() { 0 } else { some };
                self.wait(Duration::from_micros(micros));
            }
            Deed::Reset => {
                // Most of all what the client has given up.
                let given_up = self.its_links(at).find(|link| link.is_given_up);
                match given_up.map(|link| link.conn) {
                    Some(conn) => self.broker_loses(conn),
                    None => self.reset(at),
                }
            }
            Deed::Vanish => self.vanish(at),
            Deed::Leave => self.leave(at),
            Deed::NewLife => self.new_life(at),
            Deed::DeleteGroup => self.delete_group(),
            Deed::Reload => self.reload(),
            Deed::ChangeRights => self.change_rights(at),
            Deed::Disown => self.disown(at),
            Deed::SwitchTopic => self.switch_topic(at),
            Deed::EngineWorks => self.engine_works(),
            Deed::EngineFails => self.engine_fails(),
            Deed::EngineReturns => self.engine_returns(),
            Deed::OthersWork => self.others_work(),
            Deed::Flush => self.flush(at),
        }
    }

    fn its_links(&self, at: usize) -> impl Iterator<Item = &Link> {
        self.links.values().filter(move |link| link.client == at)
    }

    /// The connection of a client, or one that it has given up.
    fn one_of_its_links(&mut self, at: usize) -> Option<ConnId> {
        let links: Vec<ConnId> = self.its_links(at).map(|link| link.conn).collect();
        (!links.is_empty()).then(|| self.rng.pick(&links))
    }

    /// Everything moves, once.
    fn exchange(&mut self, at: usize) {
        self.client_writes(at);
        if let Some(conn) = self.peers[at].link {
            self.broker_reads(conn);
            self.socket_takes(conn, usize::MAX);
        }
        self.client_reads(at, usize::MAX);
    }

    fn delete_group(&mut self) {
        let topic = self.rng.pick(&TOPICS);
        let name = TopicName::new(topic).expect("a good name");
        let id = self.broker.topic_named(&name).expect("it is declared");
        let is_extra = |name: Option<&Name>| name.is_some_and(|it| it.as_str() == EXTRA);
        let found = {
            let mut groups = self.broker.groups_of(id, None);
            groups.find(|it| is_extra(it.name.as_ref()))
        };
        let group_id = found.map_or(GroupId::Named(u32::MAX), |it| it.id);
        let (topic, group) = (topic.to_owned(), EXTRA.to_owned());
        self.record(Event::Deleting {
            topic: topic.clone(),
            group: group.clone(),
        });
        let existed = self.broker.delete_group(&name, group_id, self.now);
        self.outputs();
        self.record(Event::Deleted {
            topic,
            group,
            existed,
        });
    }

    /// Time passes, and the broker is told whenever something is due.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.broker.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.record(Event::Time);
            self.broker.handle_timeout(self.now);
            self.outputs();
        }
        self.now = until;
        for at in 0..self.peers.len() {
            match &mut self.peers[at].machine {
                peers::Machine::Producer { client, .. } => client.handle_timeout(until),
                peers::Machine::Consumer { client, .. } => client.handle_timeout(until),
            }
            self.events(at);
        }
    }

    fn add_consumer(&mut self, topic: &str, group: WhichGroup, share_one: bool) {
        let consumer = consumer(&mut self.rng, topic.to_owned(), group);
        let client = Client::Consumer(super::plan::Consumer {
            share_one,
            ..consumer
        });
        let at = self.peers.len();
        let heartbeat = self.plan.settings.heartbeat;
        // What the plan does not know of is somebody whom the broker need not ask.
        self.peers.push(Peer::new(at, &client, heartbeat, None));
    }

    /// Everything goes well from now on: all that was sent comes to its end.
    fn finish(&mut self) {
        self.rng = Rng::new(self.plan.seed);
        self.record(Event::Healed);
        self.is_over = true;
        let given_up: Vec<ConnId> = self
            .links
            .values()
            .filter(|it| it.is_given_up)
            .map(|it| it.conn)
            .collect();
        for conn in given_up {
            self.broker_loses(conn);
        }
        self.restore_rights();
        self.others_end();
        let share_one = self
            .plan
            .clients
            .iter()
            .any(|client| matches!(client, Client::Consumer(consumer) if consumer.share_one));
        for at in 0..self.peers.len() {
            self.credit(at);
        }
        for topic in TOPICS {
            self.add_consumer(topic, WhichGroup::Declared, share_one);
            self.add_consumer(topic, WhichGroup::Extra, share_one);
            self.add_consumer(&format!("{topic}.dead"), WhichGroup::Queue, false);
        }
        for _ in 0..ROUNDS {
            self.round();
            if self.everything_is_done() {
                break;
            }
        }
        let held_bytes = self.broker.held_bytes();
        self.record_what_is_left();
        let unfinished = self.peers.iter().filter(|it| it.is_unfinished()).count();
        self.record(Event::Settled {
            held_bytes,
            unfinished,
        });
    }

    /// Everybody does what there is to do.
    fn round(&mut self) {
        for at in 0..self.peers.len() {
            self.connect(at);
            for _ in 0..3 {
                self.exchange(at);
                self.settle(at);
            }
        }
        self.engine_does_everything();
        self.wait(Duration::from_millis(5));
    }

    fn everything_is_done(&self) -> bool {
        let stats = self.broker.stats();
        let nothing_waits = stats.flow.waiting.is_zero() && stats.parked.is_zero();
        let is_done = nothing_waits && !self.peers.iter().any(Peer::is_unfinished);
        is_done && self.engines.is_done() && self.behind().iter().all(|(_, it)| *it == 0)
    }

    /// The broker comes to an orderly end.
    fn drain(&mut self) {
        self.record(Event::Draining);
        self.broker.drain(DRAIN, self.now);
        self.outputs();
        let until = self.now + DRAIN + DRAIN;
        self.engine_returns();
        while self.now < until && !self.broker.is_drained() {
            for at in 0..self.peers.len() {
                self.exchange(at);
                self.settle(at);
            }
            let links = self.links.values();
            let read_dry =
                links.filter(|it| it.closed.is_none() && !it.is_paused && it.to_broker.is_empty());
            let read_dry: Vec<ConnId> = read_dry.map(|it| it.conn).collect();
            for conn in read_dry {
                self.input(conn, Input::NothingToRead);
                self.socket_takes(conn, usize::MAX);
            }
            self.engine_does_everything();
            self.wait(Duration::from_millis(200));
        }
    }
}
