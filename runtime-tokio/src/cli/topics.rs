//! `message-queue topics` and `message-queue groups`: what a broker says of its topics over HTTP.

use super::asking::{self, Confirmation};
use super::exit::Exit;
use super::http::{self, Answer, HttpArgs, HttpError, Target};
use super::pages::{Group, Member, Topic};
use super::table::{Align, table};
use super::token_args::TokenArgs;
use super::{delivery_args, run, say};
use crate::settings::format_time;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// The most bytes of an answer: ten thousand topics or members have fewer.
const ANSWER_BYTES: u64 = 64 << 20;

const TOPICS_EXAMPLES: &str = "\
Examples:
  topics                                           every topic of the broker on this machine
  topics --addr mq.example:8080                    of another broker; it is its HTTP port that is asked
  topics --format json | jq -r 'select(.blocked) | .topic'
                                                   the topics in which producers wait for room";

const GROUPS_EXAMPLES: &str = "\
Examples:
  groups orders                                    who reads orders, and how far behind each group is
  groups orders --format json | jq .members        with all that the broker says, the members of each group
  groups orders --end audit                        give up the group audit, which nobody reads any more";

/// How to print a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ListFormat {
    /// Columns, for people
    Table,
    /// One line of JSON each, with all that the broker says
    Json,
}

/// List the topics of a broker
///
/// WAITING is what groups are owed: in their backlogs, on its way, unsettled or delayed, or stored and
/// not in memory yet. `groups TOPIC` tells them apart. DEAD is what groups gave up so far, and BLOCKED how many producers wait
/// for room, and which group has none. Of a topic in Kafka or RabbitMQ, WAITING is what has come to this
/// broker: how much waits there it does not know.
#[derive(Debug, clap::Args)]
#[command(after_help = TOPICS_EXAMPLES)]
pub struct TopicsArgs {
    /// How to print them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,

    #[command(flatten)]
    http: HttpArgs,

    #[command(flatten)]
    token: TokenArgs,
}

/// List the groups of a topic, or end one
///
/// BACKLOG waits, in memory or stored, and is with no member, UNSETTLED is with members, DELAYED has failed and comes again
/// later, GIVEN UP waits for room in the dead-letter topic. OLDEST is the age of the oldest message that
/// no member has. Of a topic in Kafka or RabbitMQ they tell what has come to this broker.
#[derive(Debug, clap::Args)]
#[command(after_help = GROUPS_EXAMPLES)]
pub struct GroupsArgs {
    /// The topic
    #[arg(value_parser = delivery_args::topic_name)]
    topic: String,

    /// How to print them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,

    /// End this group: its members are closed, and what it holds is dropped and counted. On the
    /// broker's own machine, or with the token of a principal that has the right admin
    #[arg(long, value_name = "GROUP", value_parser = delivery_args::group_name)]
    end: Option<String>,

    /// Do not ask before a group is ended
    #[arg(long, requires = "end")]
    yes: bool,

    #[command(flatten)]
    http: HttpArgs,

    #[command(flatten)]
    token: TokenArgs,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
enum TopicsError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("there is no topic {0:?}; `message-queue topics` lists them")]
    NoTopic(String),
    #[error("{url}: answered {status}: {}", .text.trim_end())]
    No {
        url: String,
        status: String,
        text: String,
    },
    #[error("{url}: this is not what a broker of version 0.2 or later answers: {source}")]
    NotUnderstood {
        url: String,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Answer> for TopicsError {
    fn from(answer: Answer) -> Self {
        Self::No {
            url: answer.url,
            status: answer.status,
            text: answer.body,
        }
    }
}

/// Prints the topics. Exit codes: 2 where the settings do not tell whom to ask, otherwise 0 or 1.
pub fn run_topics(args: &TopicsArgs) -> ExitCode {
    conclude(list_topics(args))
}

/// Prints the groups of a topic, or ends one. Exit codes: as for [`run_topics`].
pub fn run_groups(args: &GroupsArgs) -> ExitCode {
    let Some(group) = &args.end else {
        return conclude(list_groups(args));
    };
    let what = format!(
        "end the group {group} of the topic {}? What it holds is lost",
        args.topic
    );
    match asking::confirm(&what, args.yes) {
        Ok(Confirmation::Yes) => conclude(end_group(args, group)),
        Ok(Confirmation::No) => Exit::Failed.into(),
        Err(error) => run::bad_usage(&error),
    }
}

fn conclude(outcome: Result<(), TopicsError>) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(TopicsError::Http(error)) => error.exit(),
        Err(error) => run::failure(&error),
    }
}

fn ask(
    method: &str,
    path: &str,
    http: &HttpArgs,
    token: &TokenArgs,
) -> Result<Answer, TopicsError> {
    let target = Target::find(http)?;
    let token = token.token();
    let answer = target.ask(method, path, &token, ANSWER_BYTES, http.timeout);
    Ok(http::block_on(answer)?)
}

fn list_topics(args: &TopicsArgs) -> Result<(), TopicsError> {
    let answer = ask("GET", "/topics", &args.http, &args.token)?;
    if !answer.is_ok() {
        return Err(answer.into());
    }
    let topics = match args.format {
        ListFormat::Json => return Ok(say::answer(&json_lines(&read::<Vec<Value>>(&answer)?))?),
        ListFormat::Table => read::<Vec<Topic<u64>>>(&answer)?,
    };
    say::answer(&topics_table(&topics))?;
    let shared = topics.iter().filter_map(Topic::shared_in);
    if let Some(storage) = shared.clone().next() {
        let (topics, storage) = (shared.count(), storage.name());
        say::note(&format!(
            "kept in {storage}: {topics} of them; WAITING is what has come to this broker, and not what waits there"
        ));
    }
    Ok(())
}

fn list_groups(args: &GroupsArgs) -> Result<(), TopicsError> {
    let answer = ask(
        "GET",
        &format!("/topics/{}", args.topic),
        &args.http,
        &args.token,
    )?;
    if answer.is_not_found() {
        return Err(TopicsError::NoTopic(args.topic.clone()));
    }
    if !answer.is_ok() {
        return Err(answer.into());
    }
    let topic = read::<Topic<Vec<Group>>>(&answer)?;
    let text = match args.format {
        ListFormat::Json => json_lines(&read::<Topic<Vec<Value>>>(&answer)?.groups),
        ListFormat::Table => groups_table(&topic.groups),
    };
    say::answer(&text)?;
    if let Some(storage) = topic.shared_in() {
        say::note(&format!(
            "{} is kept in {}: BACKLOG is what has come to this broker, and not what waits there",
            topic.topic,
            storage.name()
        ));
    }
    if let Some(blocked) = &topic.blocked {
        let (by, first) = (blocked.by(), blocked.first);
        say::note(&match blocked.producers {
            1 => format!("connection {first} waits for room, which {by} has not"),
            more => format!(
                "{more} producers wait for room, which {by} has not; connection {first} has waited longest"
            ),
        });
    }
    Ok(())
}

fn end_group(args: &GroupsArgs, group: &str) -> Result<(), TopicsError> {
    let path = format!("/topics/{}/groups/{group}", args.topic);
    let answer = ask("DELETE", &path, &args.http, &args.token)?;
    if !answer.is_ok() {
        return Err(answer.into());
    }
    say::note(answer.body.trim_end());
    Ok(())
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, TopicsError> {
    serde_json::from_str(&answer.body).map_err(|source| TopicsError::NotUnderstood {
        url: answer.url.clone(),
        source,
    })
}

fn json_lines(values: &[Value]) -> String {
    values.iter().map(|it| format!("{it}\n")).collect()
}

fn topics_table(topics: &[Topic<u64>]) -> String {
    let columns = [
        ("TOPIC", Align::Left),
        ("GROUPS", Align::Right),
        ("RECEIVED", Align::Right),
        ("WAITING", Align::Right),
        ("DEAD", Align::Right),
        ("BLOCKED", Align::Left),
    ];
    let rows: Vec<_> = topics
        .iter()
        .map(|topic| {
            let blocked = topic.blocked.as_ref();
            [
                topic.topic.clone(),
                topic.groups.to_string(),
                topic.received.to_string(),
                topic.owed().to_string(),
                topic.dead.messages.to_string(),
                blocked.map_or("-".to_owned(), |it| {
                    format!("{} by {}", it.producers, it.by())
                }),
            ]
        })
        .collect();
    table(columns, &rows)
}

fn groups_table(groups: &[Group]) -> String {
    let columns = [
        ("GROUP", Align::Left),
        ("BACKLOG", Align::Right),
        ("UNSETTLED", Align::Right),
        ("DELAYED", Align::Right),
        ("GIVEN UP", Align::Right),
        ("OLDEST", Align::Right),
        ("MEMBERS", Align::Left),
    ];
    let rows: Vec<_> = groups
        .iter()
        .map(|group| {
            [
                group.group.clone(),
                (group.backlog.messages + group.behind).to_string(),
                group.unsettled.messages.to_string(),
                group.delayed.messages.to_string(),
                group.given_up.messages.to_string(),
                age(group.oldest_age_seconds),
                members(&group.members),
            ]
        })
        .collect();
    table(columns, &rows)
}

/// An age with as many digits as matter; none where nothing waits.
fn age(seconds: f64) -> String {
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    let age = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    if age < Duration::from_secs(1) {
        return format_time(Duration::from_millis(age.as_millis() as u64));
    }
    format_time(Duration::from_secs(age.as_secs()))
}

/// How many, and the names of the first few.
fn members(members: &[Member]) -> String {
    const SHOWN: usize = 3;
    if members.is_empty() {
        return "0".to_owned();
    }
    let names: Vec<_> = members.iter().take(SHOWN).map(Member::name).collect();
    let more = if members.len() > SHOWN { ", …" } else { "" };
    format!("{}: {}{more}", members.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_as_many_digits_as_matter() {
        for (seconds, text) in [
            (0.0, "-"),
            (0.0124, "12ms"),
            (1.9, "1s"),
            (3_725.2, "1h2m5s"),
        ] {
            assert_eq!(age(seconds), text);
        }
        assert_eq!(age(1e300), format_time(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn of_many_members_a_few_are_named() {
        let member = |id: u64| Member {
            id,
            client: (id == 1).then(|| "gpu-7".to_owned()),
        };
        let all: Vec<_> = (1..=5).map(member).collect();
        assert_eq!(members(&[]), "0");
        assert_eq!(members(&all[..2]), "2: gpu-7, connection 2");
        assert_eq!(members(&all), "5: gpu-7, connection 2, connection 3, …");
    }
}
