//! What clients do, as data.

use message_queue_core::{DeliveryMode, Overflow};
use message_queue_tests::groups_model::{Person, Rights, Rules};
use proptest::prelude::*;
use std::time::Duration;

/// How many producers, and how many consumers, there are at a time.
const PLACES: usize = 4;

/// How many people the broker knows.
const PEOPLE: usize = 3;

/// The topics of a script. Each is made when somebody names it.
const TOPICS: [&str; 3] = ["t.a", "t.b.c", "t.d"];

/// The patterns that consumers ask for. The last matches nothing.
const PATTERNS: [&str; 6] = ["t.>", "t.*", ">", "*.b.*", "t.b.*", "u.*"];

/// Where else a producer may want to send to. The last is no topic yet.
const ELSEWHERE: [&str; 5] = ["t.a", "t.b.c", "t.a.dead", "t.b.c.dead", "u"];

/// The group whose members share as one.
pub(crate) const AS_ONE: u8 = 0;

/// The group whose members settle nothing.
pub(crate) const NOBODY_SETTLES: u8 = 2;

/// The rules of the topics, and what happens.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) rules: Vec<Rules>,
    /// For each topic: whether its producers ask for confirms.
    pub(crate) confirms: Vec<bool>,
    /// The mode of the broker, on which it depends whether consumers are let in while it drains.
    pub(crate) mode: DeliveryMode,
    /// Who is known to the broker.
    pub(crate) people: Vec<Person>,
    pub(crate) steps: Vec<Step>,
}

/// Something that a client does, by its place among the producers or the consumers. Nobody there: nothing happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Takes the place of the one that is there, whose connection is cut. By a name and a life, or without one; as
    /// somebody who is known, or as one whom nobody asks.
    ProducerComes(usize, usize, Option<(u8, u8)>, Option<usize>),
    Publishes(usize, usize),
    /// To this topic, if it has no right to that.
    PublishesElsewhere(usize, &'static str, usize),
    ProducerEnds(usize),
    ProducerIsCut(usize),
    /// Takes the place of the one that is there, which is cut.
    ConsumerComes(usize, Wish),
    /// Settles those of its positions that the bits name, oldest first.
    Settles(usize, Word, u8),
    /// Fails with all that it holds, until that is handed out alone.
    FailsOften(usize),
    /// May hold so many messages and bytes from now on.
    Credits(usize, u8, Option<u8>),
    Leaves(usize),
    IsCut(usize),
    /// Somebody has other rights from now on.
    RightsChange(usize, Rights),
    /// Nobody knows somebody any more.
    IsKnownNoMore(usize),
    /// The broker is to end, within so many milliseconds.
    Drain(u64),
    /// While it drains: a producer sends nothing more.
    IsSilent(usize),
    Passes(u64),
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) topics: Topics,
    pub(crate) group: Option<u8>,
    /// How many messages it may hold in a group of its own. None: it does not settle.
    pub(crate) own: Option<u8>,
    /// The same in one that it shares.
    pub(crate) shared: u8,
    /// How many bytes it may hold; none: it does not say.
    pub(crate) bytes: Option<u8>,
    /// How many messages it works on at once.
    pub(crate) workers: u8,
    /// Who it is; none: nobody asks.
    pub(crate) who: Option<usize>,
}

/// What a consumer wants to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Topics {
    One(usize),
    /// The dead letters of a topic.
    DeadOf(usize),
    Pattern(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    Done,
    Return,
    Failed(u32),
    Reject,
    Working,
}

fn mode() -> impl Strategy<Value = DeliveryMode> {
    prop_oneof![Just(DeliveryMode::Broadcast), Just(DeliveryMode::Queue)]
}

fn rules(topic: &'static str) -> impl Strategy<Value = Rules> {
    let mode = mode();
    let overflow = prop_oneof![
        Just(Overflow::Drop),
        Just(Overflow::Block),
        Just(Overflow::Reject),
        Just(Overflow::DropOldest),
    ];
    // Never at one moment: who loses something when something else is too old is just being told so, and whether it is
    // ready for that is not said.
    let limit = |micros| {
        (5..80_u64).prop_map(move |millis| Some(Duration::from_micros(millis * 1000 + micros)))
    };
    let (ack_timeout, max_age) = (|| limit(7), || limit(311));
    let limits = prop_oneof![
        Just((None, None)),
        ack_timeout().prop_map(|ack_timeout| (ack_timeout, None)),
        max_age().prop_map(|max_age| (None, max_age)),
        (ack_timeout(), max_age()),
    ];
    // From its third failure on a message is handed out alone.
    let max_failures = prop_oneof![1..=3_u32, 4..=6_u32];
    (mode, overflow, 1..7_usize, max_failures, limits).prop_map(
        move |(mode, overflow, capacity, max_failures, (ack_timeout, max_age))| Rules {
            topic: topic.to_owned(),
            mode,
            overflow,
            capacity,
            max_failures,
            ack_timeout,
            max_age,
        },
    )
}

/// Somebody may have no right of a kind at all.
fn rights() -> impl Strategy<Value = Rights> {
    let topics = || {
        const ALL: [&str; 8] = [">", ">", ">", "t.>", "t.*", "*.b.*", "t.b.c", "t.a.dead"];
        let one = prop::sample::select(&ALL[..]);
        one.prop_map(str::to_owned)
    };
    let all = |groups: &[&str]| Some(groups.iter().map(|it| (*it).to_owned()).collect());
    let groups = prop_oneof![
        3 => Just(None),
        1 => Just(all(&["*"])),
        1 => Just(all(&["g0", "queue"])),
        1 => Just(all(&["g*"])),
    ];
    let consume = prop::collection::vec((topics(), groups), 0..3);
    let produce = prop::collection::vec(topics(), 0..3);
    let admin = prop::collection::vec(topics(), 0..2);
    (produce, consume, admin).prop_map(|(produce, consume, admin)| Rights {
        produce,
        consume,
        admin,
    })
}

fn people() -> impl Strategy<Value = Vec<Person>> {
    let named = |(number, rights)| Person {
        name: format!("w{number}"),
        rights,
    };
    prop::collection::vec(rights(), PEOPLE)
        .prop_map(move |all| all.into_iter().enumerate().map(named).collect())
}

fn who() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.4, 0..PEOPLE)
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES;
    let session = prop_oneof![6 => Just(0_u8), 1 => Just(1_u8)];
    let name = prop::option::weighted(0.75, (0..2_u8, session));
    let word = prop_oneof![
        4 => Just(Word::Done),
        2 => Just(Word::Return),
        4 => (0..30_u32).prop_map(Word::Failed),
        1 => Just(Word::Reject),
        1 => Just(Word::Working),
    ];
    // The most frequent first: to draw one costs as much as all those before it.
    prop_oneof![
        14 => (place(), word, any::<u8>())
            .prop_map(|(place, word, which)| Step::Settles(place, word, which)),
        12 => (place(), 1..8_usize).prop_map(|(place, count)| Step::Publishes(place, count)),
        5 => (1..50_u64).prop_map(Step::Passes),
        5 => (place(), wish()).prop_map(|(place, wish)| Step::ConsumerComes(place, wish)),
        5 => (place(), topic(), name, who()).prop_map(
            |(place, topic, name, who)| Step::ProducerComes(place, topic, name, who)
        ),
        4 => (place(), prop::sample::select(&ELSEWHERE[..]), 1..4_usize).prop_map(
            |(place, topic, count)| Step::PublishesElsewhere(place, topic, count)
        ),
        2 => (place(), 0..4_u8, bytes())
            .prop_map(|(place, messages, bytes)| Step::Credits(place, messages, bytes)),
        1 => place().prop_map(Step::FailsOften),
        1 => place().prop_map(Step::ProducerEnds),
        1 => place().prop_map(Step::ProducerIsCut),
        1 => place().prop_map(Step::Leaves),
        1 => place().prop_map(Step::IsCut),
        1 => (0..PEOPLE).prop_map(Step::IsKnownNoMore),
        1 => (0..PEOPLE, rights()).prop_map(|(who, rights)| Step::RightsChange(who, rights)),
    ]
}

/// In half of the scripts the broker ends.
fn the_end() -> impl Strategy<Value = Vec<Step>> {
    let begins = (1..300_u64).prop_map(Step::Drain);
    let step = prop_oneof![
        40 => step(),
        20 => (0..PLACES).prop_map(Step::IsSilent),
        1 => (50..300_u64).prop_map(Step::Drain),
    ];
    let all = (begins, prop::collection::vec(step, 1..40)).prop_map(|(begins, mut steps)| {
        steps.insert(0, begins);
        steps
    });
    prop_oneof![Just(Vec::new()), all]
}

/// The first most often: most of what a script does is to belong together.
fn topic() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 2 => Just(1), 1 => Just(2)]
}

/// Less than one message has, up to what six have.
fn bytes() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.3, 1..75_u8)
}

/// In one group all settle, or nobody does: otherwise the room that a message takes depends on whom it goes to.
fn wish() -> impl Strategy<Value = Wish> {
    let prefetch = || prop::option::weighted(0.8, 1..6_u8);
    let group = prop::option::of(0..3_u8);
    let topics = prop_oneof![
        5 => topic().prop_map(Topics::One),
        5 => prop::sample::select(&PATTERNS[..]).prop_map(Topics::Pattern),
        4 => topic().prop_map(Topics::DeadOf),
    ];
    (topics, group, prefetch(), 1..6_u8, bytes(), 1..4_u8, who()).prop_map(
        |(topics, group, own, shared, bytes, workers, who)| Wish {
            topics,
            group,
            own,
            shared,
            bytes,
            workers,
            who,
        },
    )
}

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let rules = TOPICS.map(rules);
    let confirms = TOPICS.map(|_| any::<bool>());
    let steps = prop::collection::vec(step(), 1..120);
    (rules, confirms, mode(), people(), steps, the_end()).prop_map(
        |(rules, confirms, mode, people, mut steps, the_end)| {
            steps.extend(the_end);
            Script {
                rules: rules.into(),
                confirms: confirms.into(),
                mode,
                people,
                steps,
            }
        },
    )
}
