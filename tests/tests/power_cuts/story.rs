//! What clients do over the lives of a broker, and what they were promised.

use crate::client::{Client, Dead, Told};
use message_queue_core::wire::control::{Control, Outcome, Range};
use message_queue_tests::random::SplitMix64;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What clients do in one life, at most.
const ACTS: usize = 80;

const NAMED: &str = "PRODUCER topic=t producer=p session=s at=1";
const UNNAMED: &str = "PRODUCER topic=t confirm=1";
const GROUP: &str = "CONSUMER topic=t group=g from=first ack=1 prefetch=50";

/// What was promised, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// Up to which message of the producer with a name all are confirmed.
    named_confirmed: u64,
    /// How many others there were, and which of them are confirmed.
    unnamed: u64,
    unnamed_confirmed: BTreeSet<String>,
    /// What the group has settled, and that was flushed.
    flushed: BTreeSet<String>,
    /// What the group was ever handed.
    handed_out: BTreeSet<String>,
    broken: Vec<String>,
}

/// The clients of one life.
struct Clients {
    named: Client,
    /// The position of its next message.
    next: u64,
    unnamed: Client,
    /// What it has sent that is not confirmed, by position.
    unconfirmed: BTreeMap<u64, String>,
    sent: u64,
    member: Client,
    /// What it holds, by position.
    held: BTreeMap<u64, String>,
    position: u64,
}

impl Story {
    /// What was not kept of what was promised.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.broken.clone()
    }

    pub(crate) fn confirmed(&self) -> u64 {
        self.named_confirmed + self.unnamed_confirmed.len() as u64
    }

    pub(crate) fn flushed(&self) -> u64 {
        self.flushed.len() as u64
    }

    /// A life that may end at any moment.
    pub(crate) fn goes_on(&mut self, address: SocketAddr, random: &mut SplitMix64) {
        let Ok(mut clients) = self.connect(address) else {
            return;
        };
        for _ in 0..ACTS {
            let act = match random.below(8) {
                0..3 => self.publish_named(&mut clients, random),
                3..5 => self.publish_unnamed(&mut clients, random),
                _ => self.settle(&mut clients, random),
            };
            if act.is_err() {
                return;
            }
        }
    }

    fn connect(&mut self, address: SocketAddr) -> Result<Clients, Dead> {
        let (member, _) = Client::connect(address, GROUP)?;
        let (named, answer) = Client::connect(address, NAMED)?;
        let words = answer.split(' ');
        let mut accepted = words.filter_map(|it| it.strip_prefix("accepted="));
        let accepted: u64 = accepted
            .next()
            .expect("it says so")
            .parse()
            .expect("a number");
        if accepted < self.named_confirmed {
            let lost = format!(
                "{} were confirmed and {accepted} are there",
                self.named_confirmed
            );
            self.broken.push(lost);
            self.named_confirmed = accepted;
        }
        let (unnamed, _) = Client::connect(address, UNNAMED)?;
        Ok(Clients {
            named,
            next: accepted + 1,
            unnamed,
            unconfirmed: BTreeMap::new(),
            sent: 0,
            member,
            held: BTreeMap::new(),
            position: 0,
        })
    }

    fn publish_named(
        &mut self,
        clients: &mut Clients,
        random: &mut SplitMix64,
    ) -> Result<(), Dead> {
        let count = 1 + random.below(40) as u64;
        let numbers = clients.next..clients.next + count;
        clients.next += count;
        let messages: Vec<String> = numbers.map(|it| message("n", it, random)).collect();
        clients.named.send(&messages)?;
        if random.one_in(2) {
            while self.named_confirmed + 1 < clients.next {
                match clients.named.next()? {
                    Told::Control(Control::Confirmed { position, .. }) => {
                        self.named_confirmed = position;
                    }
                    other @ (Told::Line(_) | Told::Message { .. } | Told::Control(_)) => {
                        panic!("{other:?}")
                    }
                }
            }
        }
        Ok(())
    }

    fn publish_unnamed(
        &mut self,
        clients: &mut Clients,
        random: &mut SplitMix64,
    ) -> Result<(), Dead> {
        let mut messages = Vec::new();
        for _ in 0..1 + random.below(20) {
            self.unnamed += 1;
            clients.sent += 1;
            let message = message("u", self.unnamed, random);
            clients.unconfirmed.insert(clients.sent, name(&message));
            messages.push(message);
        }
        clients.unnamed.send(&messages)?;
        if random.one_in(2) {
            while !clients.unconfirmed.is_empty() {
                match clients.unnamed.next()? {
                    Told::Control(Control::Confirmed { position, .. }) => {
                        let later = clients.unconfirmed.split_off(&(position + 1));
                        let confirmed = std::mem::replace(&mut clients.unconfirmed, later);
                        self.unnamed_confirmed.extend(confirmed.into_values());
                    }
                    other @ (Told::Line(_) | Told::Message { .. } | Told::Control(_)) => {
                        panic!("{other:?}")
                    }
                }
            }
        }
        Ok(())
    }

    /// The member of the group takes what there is, and settles some of it.
    fn settle(&mut self, clients: &mut Clients, random: &mut SplitMix64) -> Result<(), Dead> {
        self.take(clients)?;
        let all: Vec<u64> = clients.held.keys().copied().collect();
        let done: Vec<u64> = all.into_iter().filter(|_| !random.one_in(4)).collect();
        self.say_done(clients, &done, random.one_in(2))
    }

    /// Takes all that the member is handed. Returns how much more waits.
    fn take(&mut self, clients: &mut Clients) -> Result<u64, Dead> {
        let number = clients.member.number();
        clients.member.say(&Control::Ping(number))?;
        loop {
            match clients.member.next()? {
                Told::Control(Control::Pong(pong, lag)) if pong == number => {
                    return Ok(lag.expect("a consumer is told").messages);
                }
                Told::Control(Control::Run { .. }) => {}
                Told::Message { body } => self.is_handed(clients, &body),
                other @ (Told::Line(_) | Told::Control(_)) => panic!("{other:?}"),
            }
        }
    }

    fn is_handed(&mut self, clients: &mut Clients, body: &str) {
        let name = name(body);
        if self.flushed.contains(&name) {
            self.broken
                .push(format!("{name} was flushed and comes again"));
        }
        clients.position += 1;
        self.handed_out.insert(name.clone());
        clients.held.insert(clients.position, name);
    }

    fn say_done(&mut self, clients: &mut Clients, done: &[u64], flush: bool) -> Result<(), Dead> {
        if done.is_empty() {
            return Ok(());
        }
        let one = |it: &u64| Range { from: *it, to: *it };
        clients.member.say(&Control::Settle {
            outcome: Outcome::Done,
            delay_ms: 0,
            ranges: done.iter().map(one).collect(),
        })?;
        let names: Vec<String> = done
            .iter()
            .filter_map(|position| clients.held.remove(position))
            .collect();
        if !flush {
            return Ok(());
        }
        let number = clients.member.number();
        clients.member.say(&Control::Flush(number))?;
        loop {
            match clients.member.next()? {
                Told::Control(Control::Flushed(flushed)) if flushed == number => break,
                Told::Control(Control::Run { .. }) => {}
                Told::Message { body } => self.is_handed(clients, &body),
                other @ (Told::Line(_) | Told::Control(_)) => panic!("{other:?}"),
            }
        }
        self.flushed.extend(names);
        Ok(())
    }

    /// The last life: what is there, and what the group is owed.
    ///
    /// # Panics
    /// If the broker dies.
    pub(crate) fn ends(&mut self, address: SocketAddr) {
        let mut clients = self.connect(address).expect("it lives");
        let accepted = clients.next - 1;
        let there = everything(address);
        let named: Vec<&String> = there.iter().filter(|it| it.starts_with('n')).collect();
        let expected: Vec<String> = (1..=accepted).map(|it| format!("n{it}")).collect();
        if named != expected.iter().collect::<Vec<_>>() {
            let what = "what was confirmed of a name is not there once and in order";
            self.broken.push(format!("{what}: {named:?}"));
        }
        let all: BTreeSet<&String> = there.iter().collect();
        if all.len() != there.len() {
            self.broken.push(format!("some are there twice: {there:?}"));
        }
        for lost in self.unnamed_confirmed.iter().filter(|it| !all.contains(it)) {
            self.broken
                .push(format!("{lost} was confirmed and is lost"));
        }
        while self.take(&mut clients).expect("it lives") > 0 || !clients.held.is_empty() {
            let done: Vec<u64> = clients.held.keys().copied().collect();
            self.say_done(&mut clients, &done, true).expect("it lives");
        }
        for lost in all.into_iter().filter(|it| !self.handed_out.contains(*it)) {
            self.broken.push(format!("{lost} never came to its group"));
        }
    }
}

/// All that a topic keeps.
fn everything(address: SocketAddr) -> Vec<String> {
    let line = "CONSUMER topic=t group=everything from=first ack=0";
    let (mut reader, _) = Client::connect(address, line).expect("it lives");
    let mut there = Vec::new();
    loop {
        let number = reader.number();
        reader.say(&Control::Ping(number)).expect("it lives");
        loop {
            match reader.next().expect("it lives") {
                Told::Control(Control::Pong(_, lag)) => {
                    if lag.expect("a consumer is told").messages == 0 {
                        return there;
                    }
                    break;
                }
                Told::Control(Control::Run { .. }) => {}
                Told::Message { body } => there.push(name(&body)),
                other @ (Told::Line(_) | Told::Control(_)) => panic!("{other:?}"),
            }
        }
    }
}

/// A message of any length that has a name.
fn message(kind: &str, number: u64, random: &mut SplitMix64) -> String {
    let longest = if random.one_in(4) { 8_000 } else { 200 };
    let length = random.below(longest);
    format!("{kind}{number} {}", "x".repeat(length))
}

fn name(body: &str) -> String {
    let (name, _) = body.split_once(' ').expect("a name");
    name.to_owned()
}
