//! What will happen in a run: settings, clients and acts, all of it listed.

use super::engine::{self, EngineName};
use super::rights::{NOWHERE, Rights, VAULT};
use super::rules;
use crate::plan::{Micros, OverflowName, PlanError, PlanFile, within};
use crate::rng::{Concern, Rng};
use message_queue_core::Overflow;
use serde::{Deserialize, Serialize};

/// The topics that producers send to.
pub(crate) const TOPICS: [&str; 2] = ["jobs.a", "jobs.b"];

/// How many acts a run has.
const ACTS: usize = 700;

/// The most of anything that a plan can ask for.
const MOST: u64 = 10_000_000;

/// A run, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The seed that it was expanded from.
    pub seed: u64,
    /// How it ends.
    pub ending: Ending,
    /// The broker's settings.
    pub settings: Settings,
    /// Who takes part. A client's place in this list is its number.
    pub clients: Vec<Client>,
    /// What each client may do at first. Empty: the broker does not ask who they are.
    #[serde(default)]
    pub rights: Vec<Rights>,
    /// What happens, in order.
    pub acts: Vec<Act>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everything goes well from then on: all that was sent comes to its end. Then the broker is drained.
    Finish,
    /// The broker is drained in the middle of it all.
    DrainUnderLoad,
}

/// The settings of the topics and of the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What happens where there is no room.
    #[serde(with = "OverflowName")]
    pub overflow: Overflow,
    /// The most messages in one group.
    pub capacity: usize,
    /// The most dead letters of a topic.
    pub dead_capacity: usize,
    /// How often a message may fail; then it is a dead letter.
    pub max_failures: u32,
    /// The longest wait between two failures.
    pub backoff_max_ms: u64,
    /// How long a consumer may settle nothing; 0 for ever.
    pub ack_timeout_ms: u64,
    /// How long a message may wait after it was published; 0 for ever.
    #[serde(default)]
    pub max_age_ms: u64,
    /// The most bytes in one write.
    pub write_bytes: usize,
    /// The heartbeat that clients ask for, in seconds.
    pub heartbeat: u16,
    /// Whether topics are stored, where what is confirmed or flushed is safe from power cuts. In the simulation of
    /// the whole stack alone.
    #[serde(default)]
    pub stored: bool,
    /// The engine that topics are kept in, and that other brokers share. None: the broker alone has them.
    #[serde(default)]
    pub engine: Option<EngineName>,
    /// How late the broker may do what is due: as late as its runtime's timers.
    #[serde(default)]
    pub late_us: Micros,
}

/// Somebody who connects to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// Publishes.
    Producer(Producer),
    /// Receives.
    Consumer(Consumer),
}

/// A client that publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// Its topic.
    pub topic: String,
    /// Whether it has a name, so that each of its messages enters once.
    pub named: bool,
    /// Whether it asks for confirms.
    #[serde(default = "yes")]
    pub confirms: bool,
    /// The most messages that it keeps unconfirmed.
    pub window: usize,
}

const fn yes() -> bool {
    true
}

/// A client that receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// A topic, or a pattern.
    pub topic: String,
    /// Of which group it is a member.
    pub group: WhichGroup,
    /// Whether it settles.
    pub ack: bool,
    /// The most messages that it holds.
    pub prefetch: u32,
    /// The most bytes that it holds.
    pub prefetch_bytes: u32,
    /// How many messages it works on at once.
    pub workers: u32,
    /// Whether one member at a time gets everything.
    pub share_one: bool,
    /// Whether it fails, returns and rejects messages, or all are done.
    pub fails: bool,
    /// Where its group begins if that is new.
    #[serde(default)]
    pub from: Begin,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begin {
    /// At what is new.
    #[default]
    New,
    /// At the first message that is kept.
    First,
    /// At the last one.
    Last,
    /// At what was published when the broker had run for so many milliseconds, or later.
    After(u64),
}

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichGroup {
    /// The one that is there from the start: `workers`.
    Declared,
    /// One that begins when somebody joins it, and that the operator ends: `extra`.
    Extra,
    /// The consumer's own.
    Own,
    /// That of a dead-letter topic: `queue`.
    Queue,
}

/// Something that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Whose turn it is. Nothing happens if there is no such client.
    pub client: usize,
    /// What.
    pub deed: Deed,
    /// What its small choices are drawn from.
    pub stream: u64,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// The client connects, if it is not connected.
    Connect,
    /// A producer is given messages by its application.
    Produce,
    /// The client writes what it has to say.
    ClientWrites,
    /// The broker reads.
    BrokerReads,
    /// The socket takes some of what the broker writes.
    SocketTakes,
    /// The client reads.
    ClientReads,
    /// All of the last four.
    Exchange,
    /// A consumer says what became of something that it holds.
    Settle,
    /// A consumer says how much it may hold.
    Credit,
    /// Time passes.
    Wait,
    /// The connection is reset: both sides see it.
    Reset,
    /// The client gives its connection up, and the broker does not hear of it.
    Vanish,
    /// The client says goodbye.
    Leave,
    /// A producer with a name forgets everything, and begins a new life under it.
    NewLife,
    /// The operator ends a group.
    DeleteGroup,
    /// The operator has other rules for the topics read in.
    Reload,
    /// A client's rights change, and when they end.
    ChangeRights,
    /// A client is known no more.
    Disown,
    /// A producer without a name says that what follows is for a topic that it has no right to, or for its own again.
    SwitchTopic,
    /// The engine does some of what it is asked to.
    EngineWorks,
    /// The engine takes something back: its connection is lost, or one of its groups.
    EngineFails,
    /// The engine can be reached again.
    EngineReturns,
    /// Other brokers of the engine publish, or have some of what the groups wait for.
    OthersWork,
    /// A consumer asks to be told when what it has settled is safe.
    Flush,
}

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let shape = Shape::draw(&mut Rng::stream(seed, Concern::Network));
        let mut settings = settings(&mut Rng::stream(seed, Concern::Settings), shape);
        let mut clients = clients(&mut Rng::stream(seed, Concern::Clients), shape);
        settings.engine = EngineName::of_seed(seed);
        if settings.engine.is_some() {
            engine::leave_out_what_it_refuses(&mut clients);
        }
        let mut acts = acts(
            &mut Rng::stream(seed, Concern::Faults),
            shape,
            clients.len(),
        );
        let rights = rights(
            &mut Rng::stream(seed, Concern::Rights),
            &mut clients,
            &mut acts,
        );
        let mut of_rules = Rng::stream(seed, Concern::Rules);
        rules::draw(&mut of_rules, &mut settings, &mut acts);
        if rights.is_empty() {
            rules::add_without_confirms(&mut of_rules, &mut clients, &mut acts);
        }
        if settings.engine.is_some() {
            let mut of_engine = Rng::stream(seed, Concern::Engine);
            engine::add_acts(&mut of_engine, &mut acts);
            if settings.engine == Some(EngineName::Kafka) {
                engine::add_beginnings(&mut of_engine, &mut clients);
            }
        }
        Self {
            seed,
            ending: if shape.drain {
                Ending::DrainUnderLoad
            } else {
                Ending::Finish
            },
            settings,
            clients,
            rights,
            acts,
        }
    }
}

impl PlanFile for Plan {
    fn check(&self) -> Result<(), PlanError> {
        let settings = &self.settings;
        let at_least_one = [
            ("settings.capacity", settings.capacity),
            ("settings.dead_capacity", settings.dead_capacity),
            ("settings.write_bytes", settings.write_bytes),
        ];
        for (field, value) in at_least_one {
            within(field, value as u64, 1, MOST)?;
        }
        within("clients", self.clients.len() as u64, 0, MOST)?;
        within("acts", self.acts.len() as u64, 0, MOST)
    }
}

/// What a run is about. With everything always on, things would hide each other.
#[derive(Clone, Copy)]
struct Shape {
    cuts: bool,
    fails: bool,
    share_one: bool,
    patterns: bool,
    extra: bool,
    own: bool,
    unacked: bool,
    ack_timeout: bool,
    drain: bool,
}

impl Shape {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            cuts: rng.chance(80),
            fails: rng.chance(65),
            share_one: rng.chance(25),
            patterns: rng.chance(25),
            extra: rng.chance(30),
            own: rng.chance(30),
            unacked: rng.chance(15),
            ack_timeout: rng.chance(25),
            drain: rng.chance(15),
        }
    }
}

fn settings(rng: &mut Rng, shape: Shape) -> Settings {
    Settings {
        overflow: rng.pick(&[
            Overflow::Block,
            Overflow::Drop,
            Overflow::DropOldest,
            Overflow::Reject,
        ]),
        capacity: rng.pick(&[3, 10, 50]),
        dead_capacity: rng.pick(&[1, 3, 1000]),
        max_failures: rng.pick(&[2, 4, 6]),
        backoff_max_ms: rng.pick(&[20, 50, 400]),
        ack_timeout_ms: if shape.ack_timeout { 700 } else { 0 },
        max_age_ms: 0,
        write_bytes: rng.pick(&[1, 100, 1 << 20]),
        heartbeat: rng.pick(&[1, 3, 3]),
        stored: false,
        engine: None,
        late_us: 0,
    }
}

fn clients(rng: &mut Rng, shape: Shape) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..rng.within(1..=3) {
        clients.push(Client::Producer(Producer {
            topic: rng.pick(&TOPICS).to_owned(),
            named: rng.chance(65),
            confirms: true,
            window: rng.within(1..=40) as usize,
        }));
    }
    for place in 0..rng.within(1..=4) {
        let topic = if shape.patterns && rng.chance(50) {
            "jobs.*".to_owned()
        } else {
            rng.pick(&TOPICS).to_owned()
        };
        let (extra, own) = (shape.extra && rng.chance(50), shape.own && rng.chance(50));
        let group = match (place, extra, own) {
            (0, _, _) | (_, false, false) => WhichGroup::Declared,
            (_, true, _) => WhichGroup::Extra,
            (_, false, true) => WhichGroup::Own,
        };
        clients.push(Client::Consumer(Consumer {
            ack: !(shape.unacked && rng.chance(50)),
            share_one: shape.share_one,
            fails: shape.fails,
            ..consumer(rng, topic, group)
        }));
    }
    if shape.fails && rng.chance(70) {
        let topic = format!("{}.dead", rng.pick(&TOPICS));
        clients.push(Client::Consumer(consumer(rng, topic, WhichGroup::Queue)));
    }
    clients
}

/// One for which nothing ever fails.
pub(crate) fn consumer(rng: &mut Rng, topic: String, group: WhichGroup) -> Consumer {
    Consumer {
        topic,
        group,
        ack: true,
        prefetch: rng.within(1..=12) as u32,
        prefetch_bytes: rng.pick(&[1, 60, 200, 1 << 20]),
        workers: rng.within(1..=3) as u32,
        share_one: false,
        fails: false,
        from: Begin::New,
    }
}

fn acts(rng: &mut Rng, shape: Shape, clients: usize) -> Vec<Act> {
    let mut acts = Vec::with_capacity(ACTS);
    for _ in 0..ACTS {
        let deed = match rng.within(0..=99) {
            0..10 => Deed::Produce,
            10..17 => Deed::ClientWrites,
            17..24 => Deed::BrokerReads,
            24..31 => Deed::SocketTakes,
            31..38 => Deed::ClientReads,
            38..57 => Deed::Settle,
            57 => Deed::Credit,
            58..64 => Deed::Connect,
            64..69 => Deed::Wait,
            69 if shape.cuts => Deed::Reset,
            70 if shape.cuts => Deed::Vanish,
            71 if shape.cuts => Deed::Leave,
            72 if shape.cuts && rng.chance(30) => Deed::NewLife,
            73 if shape.extra && rng.chance(50) => Deed::DeleteGroup,
            _ => Deed::Exchange,
        };
        acts.push(Act {
            client: rng.within(0..=clients as u64 - 1) as usize,
            deed,
            stream: rng.next_u64(),
        });
    }
    acts
}

/// In some runs the broker asks who its clients are. Then a stranger takes part too, and some acts are about rights.
fn rights(rng: &mut Rng, clients: &mut Vec<Client>, acts: &mut [Act]) -> Vec<Rights> {
    if !rng.chance(25) {
        return Vec::new();
    }
    let stranger = clients.len();
    let nobodys = rng.pick(&[VAULT, NOWHERE]).to_owned();
    clients.push(Client::Consumer(consumer(rng, nobodys, WhichGroup::Own)));
    for act in acts {
        if !rng.chance(7) {
            continue;
        }
        let (client, deed) = match rng.within(0..=9) {
            0..4 => (act.client, Deed::ChangeRights),
            4 => (act.client, Deed::Disown),
            5..8 => (act.client, Deed::SwitchTopic),
            8 => (stranger, Deed::Connect),
            _ => (stranger, Deed::Exchange),
        };
        (act.client, act.deed) = (client, deed);
    }
    let drawn = clients.iter().map(|client| Rights::draw(rng, client));
    drawn.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed_and_survives_its_file() {
        let plan = Plan::of_seed(3);
        assert_eq!(plan, Plan::of_seed(3));
        assert_ne!(plan.acts, Plan::of_seed(4).acts);
        assert_eq!(
            serde_json::from_str::<Plan>(&plan.to_json()).ok(),
            Some(plan)
        );
    }

    #[test]
    fn a_bound_that_is_not_kept_is_named() {
        let mut plan = Plan::of_seed(3);
        plan.settings.dead_capacity = 0;
        let error = plan.check().expect_err("a bound");
        assert!(
            error.to_string().contains("settings.dead_capacity"),
            "{error}"
        );
    }

    #[test]
    fn seeds_are_about_everything() {
        let plans: Vec<Plan> = (0..100).map(Plan::of_seed).collect();
        let deeds = plans.iter().flat_map(|plan| &plan.acts).map(|act| act.deed);
        let deeds: Vec<Deed> = deeds.collect();
        for deed in [
            Deed::Vanish,
            Deed::NewLife,
            Deed::DeleteGroup,
            Deed::Credit,
            Deed::ChangeRights,
            Deed::Disown,
            Deed::SwitchTopic,
            Deed::Reload,
        ] {
            assert!(deeds.contains(&deed), "{deed:?}");
        }
        let draining = plans
            .iter()
            .filter(|it| it.ending == Ending::DrainUnderLoad);
        assert!(draining.count() > 5);
    }
}
