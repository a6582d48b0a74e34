//! The tables of options, keys and codes.

use message_queue_core::client::Ended;
use message_queue_core::wire::Role;
use message_queue_core::wire::control::Reason;
use message_queue_core::wire::handshake::{Accepted, Answer, RoleOptions, Safety};
use message_queue_core::{CloseReason, Config};
use message_queue_tests::specification::{code, rows};
use message_queue_tests::world::World;

fn parse(role: Role, options: &str) -> Result<RoleOptions, String> {
    RoleOptions::parse(role, options.as_bytes()).map_err(|error| error.to_string())
}

/// What must stand there, too.
fn beside(option: &str) -> &'static str {
    match option {
        "at" | "session" => "producer=p ",
        _ => "",
    }
}

#[test]
fn the_options_have_the_defaults_and_the_bounds_of_the_table() {
    let rows = rows("7");
    assert_eq!(rows.len(), 17);
    for row in rows {
        let (option, of, default, allowed) = (code(row[0]), row[1], row[2], row[3]);
        let roles = match of {
            "both" => &[Role::Producer, Role::Consumer][..],
            "producer" => &[Role::Producer],
            "consumer" => &[Role::Consumer],
            other => panic!("{other}"),
        };
        for role in [Role::Producer, Role::Consumer] {
            let with = |value: &str| parse(role, &format!("{}{option}={value}", beside(option)));
            if !roles.contains(&role) {
                assert!(with("1").is_err(), "{option} of a {role}");
                continue;
            }
            let default = default.trim_matches('`');
            if default.parse::<u64>().is_ok() || default == "all" || default == "new" {
                let without = parse(role, &format!("{}v=2", beside(option)));
                assert_eq!(with(default), without, "{option}={default}");
            }
            if let Some((least, most)) = allowed.split_once(" to ")
                && let (Ok(least), Ok(most)) = (least.parse::<u64>(), most.parse::<u64>())
            {
                for good in [least, most] {
                    assert!(with(&good.to_string()).is_ok(), "{option}={good}");
                }
                for bad in [least.checked_sub(1), Some(most + 1)].into_iter().flatten() {
                    assert!(with(&bad.to_string()).is_err(), "{option}={bad}");
                }
            }
        }
    }
}

#[test]
fn the_answer_has_the_keys_of_the_table() {
    let accepted = Accepted {
        topic: Some(String::new()),
        epoch: Some(1),
        safe: Some(Safety::Memory),
        accepted: Some(0),
        resumed: Some(false),
        refused: Some(1),
        group: "g".to_owned().try_into().ok(),
        created: Some(true),
        ..Accepted::default()
    };
    let line = Answer::Ok(accepted).line();
    let pairs = line.trim_end().split(' ').skip(1);
    let mut keys: Vec<&str> = pairs
        .filter_map(|pair| Some(pair.split_once('=')?.0))
        .collect();
    let rows: Vec<_> = rows("9").into_iter().filter(|row| row.len() == 3).collect();
    let mut documented: Vec<&str> = rows
        .iter()
        .flat_map(|row| row[0].split(", ").map(code))
        .collect();
    keys.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, keys);
}

/// A code that the core never says: a port of TLS says it before there is a connection.
const KEPT: [&str; 1] = ["tls_required"];

#[test]
fn every_reason_is_documented_and_no_other() {
    let (old, new) = (rows("6"), rows("15"));
    let mut documented: Vec<&str> = old.iter().chain(&new).map(|row| code(row[0])).collect();
    documented.retain(|it| !KEPT.contains(it));
    documented.sort_unstable();
    documented.dedup();
    let mut all: Vec<&str> = CloseReason::ALL.iter().map(|it| it.as_str()).collect();
    all.sort_unstable();
    assert_eq!(documented, all);
}

#[test]
fn clients_try_again_where_the_table_says_so() {
    for row in rows("15") {
        let ended = Ended::Refused(Reason {
            code: code(row[0]).into(),
            text: String::new(),
        });
        let again = match row[2].split(':').next() {
            Some("yes") => true,
            Some("no") => false,
            _ => panic!("{row:?}"),
        };
        assert_eq!(ended.may_try_again(), again, "{row:?}");
    }
}

#[test]
fn an_answer_is_an_error_or_ok() {
    let mut world = World::new(Config::default());
    let conn = world.connect("CONSUMER v=2\n");
    let answer = world.answer(conn);
    assert!(
        matches!(
            Answer::parse(answer.trim_end().as_bytes()),
            Ok(Answer::Ok(_))
        ),
        "{answer}"
    );
}
