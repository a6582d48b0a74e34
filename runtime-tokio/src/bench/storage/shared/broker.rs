//! What a broker does that keeps its topics in the engine: in a process of its own, with a producer and a consumer in this one.

use super::place::{GROUP, TOPIC};
use super::{Did, Job, Variant, draining};
use crate::bench::error::BenchError;
use crate::bench::guarantees::Acks;
use crate::bench::plan::{Plan, Storage};
use crate::bench::reading::{self, Frame};
use crate::bench::run::{Progress, open};
use crate::bench::storage::{Tell, common, confirming};
use crate::bench::target::{Kind, Target};
use message_queue_core::names::Name;
use message_queue_core::wire::handshake::{ConsumerOptions, RoleOptions};
use std::ffi::OsString;
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::Instant;

/// How long the next message may take: a group of Kafka's is joined within seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// Starts a broker, and does the job with it.
pub(super) fn run(
    plan: &Plan,
    job: Job,
    variant: Variant,
    mut settings: Vec<(&'static str, OsString)>,
    tell: Tell<'_>,
) -> Result<Did, BenchError> {
    settings.push(("DEFAULT_TOPIC", TOPIC.into()));
    let own = variant.settings.iter();
    settings.extend(own.map(|(name, value)| (*name, (*value).into())));
    let plan = Plan {
        storage: Storage::Stored(settings),
        ..plan.clone()
    };
    let target = Target::start(Kind::Broker, &plan)?;
    // The group is to have what is published, and so has to be there before. Nobody reads it meanwhile.
    drop(member(&plan, &target)?);
    let published = confirming::send(&plan, &target, |progress| {
        tell(variant.name, &plan, progress);
    })?;
    match job {
        Job::Confirmed => {
            let (messages, cpu) = (published.messages(), published.cpu);
            Ok(Did::new(messages, published.elapsed, cpu))
        }
        Job::Drain => {
            // The message before those that were counted is there, too.
            let plan = draining(&plan, published.messages() + 1);
            let name = format!("{}, drain", variant.name);
            drain(&plan, &target, published.messages() + 1, |progress| {
                tell(&name, &plan, progress);
            })
        }
    }
}

/// A member of the group.
fn member(plan: &Plan, target: &Target) -> Result<TcpStream, BenchError> {
    let window = plan.guarantees.window;
    let bytes = u64::from(window) * plan.frame_size() as u64;
    let options = ConsumerOptions {
        common: common(),
        group: Name::new(GROUP).ok(),
        ack: true,
        prefetch: window,
        prefetch_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        ..ConsumerOptions::default()
    };
    open(target.addr(), &RoleOptions::Consumer(options).line())
}

/// Takes so many messages, and acknowledges what each read brings. The time begins with the first.
fn drain(
    plan: &Plan,
    target: &Target,
    messages: u64,
    mut progress: impl FnMut(Progress),
) -> Result<Did, BenchError> {
    let failed = |source| BenchError::Client {
        client: "the consumer".to_owned(),
        source,
    };
    let cpu = || target.usage().map(|it| it.cpu);
    let before = cpu();
    let stream = member(plan, target)?;
    stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
    let mut acks = Acks::new(&stream);
    let mut buffer = reading::Buffer::new(reading::buffer_size(plan));
    let (mut taken, mut start) = (0, None);
    while taken < messages {
        let mut new = 0;
        let goes_on = buffer.read(&stream, |frames| {
            let read = frames.filter(|it| matches!(it, Frame::Message(_)));
            new = read.count() as u64;
        });
        if !goes_on.map_err(failed)? {
            return Err(BenchError::Closed("the consumer".to_owned()));
        }
        acks.settle(new).map_err(failed)?;
        taken += new;
        if new > 0 {
            let start = *start.get_or_insert_with(Instant::now);
            progress(Progress {
                elapsed: start.elapsed(),
                sent: taken,
                delivered: taken,
            });
        }
    }
    let time = start.map(|it| it.elapsed()).unwrap_or_default();
    let cpu = cpu().zip(before);
    let cpu = cpu.map(|(after, before)| after.saturating_sub(before));
    Ok(Did::new(taken, time, cpu))
}
