//! `message-queue token new`: a secret for a client, and what the broker is to know of it.

use super::exit::Exit;
use super::{run, say};
use crate::access::{ANONYMOUS, Digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use message_queue_core::access::GroupPattern;
use message_queue_core::names::{Name, Pattern};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  token new collector --produce 'gpu.>'
  token new worker --consume 'jobs.*' --group workers > worker.token 2>> tokens.toml
                       keep the token for the client, and what the broker is to know of it in AUTH_TOKENS_FILE
  token new operator --admin '>'

A broker that runs takes in what was added on SIGHUP. A client shows its token by --token-file or BROKER_TOKEN.";

/// How many random bytes a token has.
const RANDOM_BYTES: usize = 32;

/// By this people and scanners of secrets know what it is.
const PREFIX: &str = "mq_";

/// Make tokens, by which clients show who they are
#[derive(Debug, clap::Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(NewArgs),
}

/// Make a token, and the entry for AUTH_TOKENS_FILE
///
/// The token is printed on standard output and is not kept anywhere: it cannot be had again. The entry goes to
/// standard error. It holds the digest of the token, which is no secret.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct NewArgs {
    /// Whose it is: 1 to 200 of A-Z a-z 0-9 _ - .
    #[arg(value_parser = principal_name)]
    name: Name,

    /// It may publish to these topics; may be given several times
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    produce: Vec<Pattern>,

    /// It may consume from these topics; may be given several times
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    consume: Vec<Pattern>,

    /// But only as a member of these groups, such as workers or audit-*; may be given several times
    #[arg(long, value_name = "GROUP", value_parser = group, requires = "consume")]
    group: Vec<GroupPattern>,

    /// It may administer these topics: end and empty groups, and move dead letters; may be given several times
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    admin: Vec<Pattern>,
}

/// Does what the command says. Exit codes: 0, or 1 where there is no randomness or nowhere to print.
pub fn run(args: &TokenCommand) -> ExitCode {
    let Command::New(args) = &args.command;
    match new(args) {
        Ok(()) => Exit::Done.into(),
        Err(error) => run::failure(&error),
    }
}

#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("the system gives no random bytes")]
    NoRandomness,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn new(args: &NewArgs) -> Result<(), TokenError> {
    let mut secret = [0; RANDOM_BYTES];
    let filled = SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| TokenError::NoRandomness)?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    // First the entry: who has the token only can lose nothing by it.
    say::note(&entry(args, &token));
    Ok(say::answer(&format!("{token}\n"))?)
}

/// What stands for the token in the file.
fn entry(args: &NewArgs, token: &str) -> String {
    let list = |all: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<_> = all.map(|it| format!("\"{it}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let digest = Digest::of(token);
    let mut entry = format!("[[token]]\nname = \"{}\"\nsha256 = \"{digest}\"", args.name);
    let mut line = |key: &str, patterns: &[Pattern]| {
        if !patterns.is_empty() {
            let list = list(&mut patterns.iter().map(Pattern::as_str));
            let _ = write!(entry, "\n{key} = {list}");
        }
    };
    line("produce", &args.produce);
    if args.group.is_empty() {
        line("consume", &args.consume);
    }
    line("admin", &args.admin);
    if !args.group.is_empty() {
        let groups = list(&mut args.group.iter().map(GroupPattern::as_str));
        let rights = args.consume.iter();
        let rights = rights.map(|it| format!("{{ topics = \"{it}\", groups = {groups} }}"));
        let rights: Vec<_> = rights.collect();
        let _ = write!(entry, "\nconsume = [{}]", rights.join(", "));
    }
    entry.push('\n');
    entry
}

fn principal_name(text: &str) -> Result<Name, String> {
    if text == ANONYMOUS {
        return Err("it is kept for clients that do not say who they are".to_owned());
    }
    Name::new(text).map_err(|error| error.to_string())
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| error.to_string())
}

fn group(text: &str) -> Result<GroupPattern, String> {
    GroupPattern::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: NewArgs,
    }

    fn parse(flags: &[&str]) -> Result<NewArgs, String> {
        let cli = Cli::try_parse_from([&["token"], flags].concat());
        cli.map(|it| it.args).map_err(|error| error.to_string())
    }

    #[test]
    fn an_entry_says_whose_the_token_is_and_what_they_may_do() {
        let args = parse(&[
            "all",
            "--produce",
            "gpu.>",
            "--produce",
            "cpu",
            "--admin",
            ">",
        ]);
        let digest = Digest::of("foo");
        assert_eq!(
            entry(&args.unwrap(), "foo"),
            format!(
                "[[token]]\nname = \"all\"\nsha256 = \"{digest}\"\nproduce = [\"gpu.>\", \"cpu\"]\nadmin = [\">\"]\n"
            )
        );
        let args = parse(&["w", "--consume", "a", "--consume", "b.*", "--group", "g-*"]).unwrap();
        let line = "\nconsume = [{ topics = \"a\", groups = [\"g-*\"] }, { topics = \"b.*\", groups = [\"g-*\"] }]\n";
        assert!(entry(&args, "foo").ends_with(line));
        let args = parse(&["w", "--consume", "a"]).unwrap();
        assert!(entry(&args, "foo").ends_with("\nconsume = [\"a\"]\n"));
        assert!(entry(&parse(&["w"]).unwrap(), "foo").ends_with(&format!("{digest}\"\n")));
    }

    #[test]
    fn what_is_not_allowed_says_what_is() {
        for (flags, told) in [
            (&["a b"][..], "allowed: A-Z a-z 0-9 _ - ."),
            (&["anonymous"], "kept for clients"),
            (&["a", "--produce", "a..b"], "an empty token"),
            (&["a", "--group", "g"], "--consume"),
            (&["a", "--consume", "x", "--group", "*g"], "wildcard"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
