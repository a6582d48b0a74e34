//! A script is played to the core and to the model, and after every input they must agree.

use super::socket::Socket;
use super::text::{seconds, told};
use super::{Action, Script, Step};
use crate::model::{Effect, Model, effect};
use message_queue_core::{Broker, ConnId, GroupView, Input, Now};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Plays a script. Returns it with what the broker did under each step, and the counts at the end.
///
/// # Panics
/// If the core and the model disagree, or an invariant of the core does not hold.
pub fn play(script: &Script) -> String {
    play_on(script, None)
}

/// As [`play`], but after every input the broker is replaced by what `restored` makes of it. The
/// trace is the same if that has all that decides what a broker does.
///
/// # Panics
/// As [`play`].
pub fn play_restored(script: &Script, restored: fn(&Broker) -> Broker) -> String {
    play_on(script, Some(restored))
}

fn play_on(script: &Script, restored: Option<fn(&Broker) -> Broker>) -> String {
    let mut lockstep = Lockstep {
        restored,
        broker: Broker::new(script.config.clone()),
        model: Model::new(script.config.clone()),
        sockets: BTreeMap::new(),
        to_seal: VecDeque::new(),
        now: Now::START,
        passing: false,
        trace: String::new(),
    };
    let settings = script.settings();
    if !settings.is_empty() {
        lockstep.say(format_args!("config {}", settings.join(" ")));
    }
    for step in &script.steps {
        lockstep.say(format_args!("{step}"));
        lockstep.step(script, step);
    }
    lockstep.sum_up();
    lockstep.trace
}

struct Lockstep {
    broker: Broker,
    model: Model,
    sockets: BTreeMap<ConnId, Socket>,
    /// Closed, and to be sealed as soon as all else that came of it is done.
    to_seal: VecDeque<ConnId>,
    now: Now,
    /// Whether what happens happens because of the time alone.
    passing: bool,
    /// What the broker is replaced by after every input.
    restored: Option<fn(&Broker) -> Broker>,
    trace: String,
}

impl Lockstep {
    fn step(&mut self, script: &Script, step: &Step) {
        match step {
            Step::Remark(_) => {}
            Step::Pass(time) => self.pass(self.now + *time),
            Step::PassUnnoticed(time) => self.now = self.now + *time,
            Step::Drain(time) => {
                self.broker.drain(*time, self.now);
                let expected = self.model.drain(*time, self.now);
                self.compare(&expected);
                self.seal_closed();
            }
            Step::Purge => {
                self.broker.purge(self.now);
                let expected = self.model.purge(self.now);
                self.compare(&expected);
                self.seal_closed();
            }
            Step::On(conn, action) => self.act(script, *conn, action),
        }
        self.read_all();
    }

    fn act(&mut self, script: &Script, conn: ConnId, action: &Action) {
        if !self.can_happen(conn, action) {
            return self.say(format_args!("  (cannot happen)"));
        }
        if *action == Action::Opens {
            self.sockets.insert(conn, Socket::new(script.decoder));
        }
        let socket = self.sockets.get_mut(&conn).expect("it was opened");
        match action {
            Action::Opens => self.input(conn, &Input::Opened),
            Action::Sends(bytes) => socket.send(bytes),
            Action::Closes => socket.end(),
            Action::Resets => self.input(conn, &Input::PeerReset),
            Action::HasNothingToRead => self.input(conn, &Input::NothingToRead),
            Action::IsEndedByOperator => self.input(conn, &Input::EndedByOperator),
            Action::Stalls => self.input(conn, &Input::FrameStalled),
            Action::Takes(bytes) => self.takes(conn, *bytes),
            Action::TakesAll => self.takes(conn, usize::MAX),
            Action::IsSealedLate => socket.sealed_late = true,
            Action::IsSealed => self.seal(conn),
        }
    }

    fn can_happen(&self, conn: ConnId, action: &Action) -> bool {
        let Some(socket) = self.sockets.get(&conn) else {
            return *action == Action::Opens;
        };
        match action {
            Action::Opens => false,
            Action::Sends(_) | Action::Closes => !socket.has_ended(),
            Action::Resets | Action::IsEndedByOperator => true,
            Action::HasNothingToRead => self.broker.is_draining() && socket.would_wait(),
            Action::Stalls => socket.is_mid_frame() && socket.would_wait(),
            Action::Takes(_) | Action::TakesAll => socket.in_flight > 0,
            Action::IsSealedLate => !socket.closed,
            Action::IsSealed => socket.closed && !socket.sealed,
        }
    }

    /// What is in flight to a socket that has been closed may still be taken, until it is sealed.
    /// What is reported twice, or late, is no news.
    fn takes(&mut self, conn: ConnId, bytes: usize) {
        let socket = self.sockets.get_mut(&conn).expect("it was opened");
        let bytes = bytes.min(socket.in_flight);
        socket.in_flight -= bytes;
        socket.taken += bytes as u64;
        let total = socket.taken;
        self.input(conn, &Input::Written(total));
        for known in [total, total.saturating_sub(1)] {
            self.input(conn, &Input::Written(known));
        }
    }

    /// The socket takes nothing more.
    fn seal(&mut self, conn: ConnId) {
        let socket = self.sockets.get_mut(&conn).expect("it was opened");
        socket.in_flight = 0;
        socket.sealed = true;
        let written = socket.taken;
        self.input(conn, &Input::Sealed { written });
    }

    /// Seals what was closed, unless that is to be late.
    fn seal_closed(&mut self) {
        while let Some(conn) = self.to_seal.pop_front() {
            self.seal(conn);
        }
    }

    /// Reads from every socket that has something to read and may be read.
    fn read_all(&mut self) {
        let all: Vec<ConnId> = self.sockets.keys().copied().collect();
        let mut all_read = false;
        while !all_read {
            all_read = true;
            for conn in &all {
                while let Some(input) = self.sockets.get_mut(conn).and_then(Socket::next_input) {
                    all_read = false;
                    self.input(*conn, &input);
                }
            }
        }
    }

    /// Time passes; the broker is called when it asked to be.
    fn pass(&mut self, until: Now) {
        self.passing = true;
        while let Some(due) = self.broker.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.broker.handle_timeout(self.now);
            let next = self.broker.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "what is due is done"
            );
            let expected = self.model.handle_timeout(self.now);
            self.compare(&expected);
            self.seal_closed();
            self.read_all();
        }
        self.passing = false;
        self.now = until;
    }

    fn input(&mut self, conn: ConnId, input: &Input) {
        let now = self.now;
        self.broker.handle_input(conn, input.clone(), now);
        let expected = self.model.handle_input(conn, input, now);
        self.compare(&expected);
        self.seal_closed();
    }

    /// What the core did must be what the model said, and so must all that the core counted.
    fn compare(&mut self, expected: &[Effect]) {
        let mut effects = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            effects.push(effect(output));
        }
        for effect in &effects {
            let told = told(effect);
            if self.passing {
                let now = seconds(self.now.since_start());
                self.say(format_args!("  -> at {now}: {told}"));
            } else {
                self.say(format_args!("  -> {told}"));
            }
            self.carry_out(effect);
        }
        if effects != expected {
            let lines = |effects: &[Effect]| {
                let lines = effects
                    .iter()
                    .map(|effect| format!("\n  -> {}", told(effect)));
                lines.collect::<String>()
            };
            panic!(
                "the core did:{}\nthe model says:{}\nafter:\n{}",
                lines(&effects),
                lines(expected),
                self.trace
            );
        }
        if let Some(restored) = self.restored {
            self.broker = restored(&self.broker);
        }
        self.broker.check_invariants();
        assert_eq!(*self.broker.stats(), self.model.stats());
        let groups: Vec<GroupView> = self.broker.groups().collect();
        assert_eq!(groups, self.model.groups());
        assert_eq!(self.broker.is_drained(), self.model.is_drained());
        if let Some(deadline) = self.model.deadline() {
            let due = self.broker.poll_timeout();
            assert!(
                due.is_some_and(|due| due <= deadline),
                "something is due at {deadline}, and the broker wants to be called at {due:?}"
            );
        }
    }

    fn carry_out(&mut self, effect: &Effect) {
        let (Effect::Write { conn, .. }
        | Effect::Close { conn, .. }
        | Effect::Pause { conn }
        | Effect::Resume { conn }
        | Effect::Registered { conn, .. }) = effect
        else {
            return;
        };
        let socket = self.sockets.get_mut(conn).expect("it was opened");
        assert!(!socket.closed, "{conn} was closed: {}", told(effect));
        match effect {
            Effect::Write { write, .. } => {
                assert_eq!(socket.in_flight, 0, "one write at a time");
                socket.in_flight = write.iter().map(|body| 4 + body.len()).sum();
            }
            Effect::Close { .. } => {
                socket.closed = true;
                if !socket.sealed_late {
                    self.to_seal.push_back(*conn);
                }
            }
            Effect::Pause { .. } => socket.paused = true,
            Effect::Resume { .. } => socket.paused = false,
            Effect::Farewell { .. } | Effect::Registered { .. } | Effect::Dropped { .. } => {}
            Effect::Store { .. } => unreachable!("no topic is stored here"),
        }
    }

    fn sum_up(&mut self) {
        let stats = self.broker.stats();
        let (received, flow) = (stats.received, stats.flow);
        self.say(format_args!(
            "= received {}, offered {}: delivered {}, waiting {}, dropped {}",
            received.messages,
            flow.offered.messages,
            flow.delivered.messages,
            flow.waiting.messages,
            flow.dropped_in_all().messages
        ));
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.trace, "{line}").expect("a string takes any text");
    }
}
