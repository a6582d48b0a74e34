//! What happened, for people to read.

use message_queue_core::names::TopicName;
use message_queue_core::{Broker, Count, GroupId, Input, Output};
use message_queue_tokio::record::{Call, Digest, Header, Step};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

/// Writes a line for everything that goes into the core and comes out of it.
pub(super) struct Trace<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Trace<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    pub(super) fn file(&mut self, path: &Path, header: &Header) -> io::Result<()> {
        writeln!(
            self.out,
            "{}: {}",
            path.display(),
            header.to_string().trim_end()
        )
    }

    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.out, "  {line}")
    }

    pub(super) fn inputs(&mut self, number: u64, step: &Step) -> io::Result<()> {
        let now = step.now.since_start();
        for call in &step.calls {
            let (seconds, micros) = (now.as_secs(), now.subsec_micros());
            write!(self.out, "#{number} {seconds}.{micros:06}s ")?;
            match call {
                Call::Input(conn, input) => {
                    write!(self.out, "{conn} ")?;
                    self.input(input)?;
                }
                Call::Timeout => writeln!(self.out, "a deadline has come")?,
                Call::Drain(timeout) => writeln!(self.out, "drain within {timeout:?}")?,
                Call::Purge => writeln!(self.out, "purge the queue")?,
                Call::EndGroup(topic, group) => writeln!(self.out, "end {group} of {topic}")?,
                Call::Answer(topic, answer) => writeln!(self.out, "store of {topic}: {answer:?}")?,
                Call::StoreFailed => writeln!(self.out, "the store has failed")?,
                Call::Rules(rules) => {
                    writeln!(self.out, "other rules for topics: {}", rules.len())?;
                }
            }
        }
        Ok(())
    }

    fn input(&mut self, input: &Input) -> io::Result<()> {
        match input {
            Input::Opened => writeln!(self.out, "connects"),
            Input::Identified(principal) => {
                writeln!(self.out, "is found to be {}", principal.name)
            }
            Input::Unauthorized => writeln!(self.out, "is not who it would have to be"),
            Input::Role(role) => writeln!(self.out, "says it is a {role}"),
            Input::Options(options) => {
                write!(
                    self.out,
                    "says it is a {}: {}",
                    options.role(),
                    options.line()
                )
            }
            Input::BadOptions(bad) => writeln!(self.out, "asks for what is not allowed: {bad}"),
            Input::Control(control) => {
                writeln!(self.out, "says {}: {control:?}", control.kind().name)
            }
            Input::Heard => writeln!(self.out, "counts as alive"),
            Input::Batch(batch) => writeln!(self.out, "sends {}", amount(Count::of(batch))),
            Input::Written(bytes) => writeln!(self.out, "has taken {bytes} bytes in all"),
            Input::Sealed { written } => {
                writeln!(self.out, "is sealed, with {written} bytes taken in all")
            }
            Input::Broke(error) => writeln!(self.out, "breaks the protocol: {error}"),
            Input::PeerClosed => writeln!(self.out, "closes"),
            Input::PeerReset => writeln!(self.out, "is reset"),
            Input::NothingToRead => writeln!(self.out, "has nothing more to read"),
            Input::EndedByOperator => writeln!(self.out, "is ended by an operator"),
            Input::Partial { bytes } => {
                writeln!(self.out, "holds {bytes} bytes of a partial frame")
            }
            Input::FrameStalled => writeln!(self.out, "sends no more of a frame"),
        }
    }

    /// One thing that the core asked for, and why, where that is not said by what it is.
    pub(super) fn output(&mut self, broker: &Broker, output: &Output<Digest>) -> io::Result<()> {
        write!(self.out, "    -> {}", told(output))?;
        match output {
            Output::Dropped { topic, group, .. } => {
                if let (Some(topic), Some(group)) = (topic, group)
                    && let Some(state) = backlog(broker, topic, *group)
                {
                    write!(self.out, "; {state}")?;
                }
            }
            Output::Pause { .. } => {
                let parked = amount(broker.stats().parked);
                write!(self.out, "; {parked} are parked for want of room")?;
            }
            Output::Write { .. }
            | Output::Farewell { .. }
            | Output::Close { .. }
            | Output::Resume { .. }
            | Output::Registered { .. }
            | Output::Store { .. } => {}
        }
        writeln!(self.out)
    }
}

/// How full the backlog of a group and all of them are.
fn backlog(broker: &Broker, topic: &TopicName, group: GroupId) -> Option<String> {
    let view = broker.group_view(broker.topic_named(topic)?, group)?;
    let broker_bytes = broker.config().broker_bytes;
    let settings = broker.config().topic(topic);
    let backlog_bytes = settings.bytes;
    let most = if group.is_lasting() {
        settings.capacity
    } else {
        settings.own_capacity
    };
    let Count { messages, bytes } = view.backlog;
    Some(format!(
        "{messages} of {most} messages and {bytes} of {backlog_bytes} bytes wait, for all groups {} \
         of {broker_bytes} bytes",
        broker.backlog().bytes
    ))
}

/// An output as text.
pub(super) fn told(output: &Output<Digest>) -> String {
    match output {
        Output::Write {
            conn,
            write: Digest { count, hash },
        } => format!("write {} to {conn} (digest {hash:016x})", amount(*count)),
        Output::Farewell { conn, bytes } => {
            format!("tell {conn} the last, in {} bytes", bytes.len())
        }
        Output::Close { conn, reason } => format!("close {conn}: {reason}"),
        Output::Pause { conn } => format!("stop reading from {conn}"),
        Output::Resume { conn } => format!("read from {conn} again"),
        Output::Registered { conn, role } => format!("{conn} is registered as a {role}"),
        Output::Dropped {
            topic,
            group,
            name,
            reason,
            count,
        } => {
            let amount = amount(*count);
            let topic = topic.as_ref().map(|topic| format!(" of {topic}"));
            let topic = topic.unwrap_or_default();
            match (group, name) {
                (Some(_), Some(name)) => format!("drop {amount}{topic} for {name}: {reason}"),
                (Some(group), None) => format!("drop {amount}{topic} for {group}: {reason}"),
                (None, _) => format!("drop {amount}{topic}: {reason}"),
            }
        }
        Output::Store { topic, request } => format!("store of {topic}: {request:?}"),
    }
}

fn amount(count: Count) -> String {
    let Count { messages, bytes } = count;
    let plural = if messages == 1 { "" } else { "s" };
    format!("{messages} message{plural} ({bytes} bytes)")
}
