//! What the file may say, and what users are told of it.

use super::*;
use crate::access::{Credential, Gate};
use message_queue_core::access::{ConsumeRight, GroupPattern};
use message_queue_core::names::Pattern;

const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const BAR: &str = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9";

/// Line, column and what is said of each problem.
fn problems(text: &str) -> Vec<String> {
    let told = |it: Problem| format!("{}:{}: {}", it.line, it.column, it.what);
    parse(text).unwrap_err().into_iter().map(told).collect()
}

fn who(principals: &Principals, token: &str) -> Option<(String, Rights)> {
    let gate = Gate::new(principals.policy.clone());
    let (found, _) = gate.principal(&Credential::Token(Digest::of(token))).ok()?;
    Some((found.name.to_string(), found.rights))
}

#[test]
fn a_principal_has_a_name_a_secret_and_rights() {
    let text = format!(
        r#"
        [[token]]
        name = "collector"
        sha256 = "{FOO}"
        produce = ["gpu.>", "cpu"]

        [[token]]
        name = "worker"
        sha256 = ["{BAR}"]
        consume = ["jobs.*", {{ topics = "audit", groups = ["a", "b-*"] }}]
        admin = ["jobs.>"]

        [[token]]
        name = "tester"
        token = "baz"

        [[certificate]]
        name = "sensor"
        common_name = "sensor-1"
        produce = ["sensors"]

        [[jwt]]
        name = "pod"
        subject = "system:serviceaccount:a:*"

        [[jwt]]
        name = "team"
        claim = ["realm_access", "roles"]
        value = "mq-*"
        subject = "team"

        [[certificate]]
        name = "spiffy"
        alternative_name = "spiffe://example.org/spiffy"
        "#
    );
    let principals = parse(&text).unwrap();
    let pattern = |text: &str| Pattern::new(text).unwrap();
    let collector = Rights {
        produce: vec![pattern("gpu.>"), pattern("cpu")],
        ..Rights::default()
    };
    assert_eq!(
        who(&principals, "foo"),
        Some(("collector".into(), collector))
    );
    let group = |text: &str| GroupPattern::new(text).unwrap();
    let worker = Rights {
        consume: vec![
            ConsumeRight {
                topics: pattern("jobs.*"),
                groups: None,
            },
            ConsumeRight {
                topics: pattern("audit"),
                groups: Some(vec![group("a"), group("b-*")]),
            },
        ],
        admin: vec![pattern("jobs.>")],
        ..Rights::default()
    };
    assert_eq!(who(&principals, "bar"), Some(("worker".into(), worker)));
    assert_eq!(
        who(&principals, "baz"),
        Some(("tester".into(), Rights::default()))
    );
    assert_eq!(who(&principals, "other"), None);
    assert_eq!(principals.plain, [Name::new("tester").unwrap()]);
    assert_eq!(parse("").unwrap(), Principals::default());
}

#[test]
fn a_problem_is_told_with_its_line() {
    let with = |lines: &str| {
        problems(&format!(
            "[[token]]\nname = \"a\"\nsha256 = \"{FOO}\"\n{lines}\n"
        ))
    };
    for (lines, told) in [
        (
            "prodce = []",
            "4:1: \"prodce\" is no key of a token: did you mean produce?",
        ),
        (
            "colour = 1",
            "4:1: \"colour\" is no key of a token: use name, sha256, token, produce, consume, admin",
        ),
        (
            "\n\n\nproduce = \"gpu\"",
            "7:11: produce: use an array of topics and patterns such as [\"jobs.eu\", \"gpu.>\"]",
        ),
        (
            "admin = [\"a..b\"]",
            "4:9: admin: \"a..b\": an empty token: a dot stands first, last or twice",
        ),
        (
            "consume = [{ topics = \"a\", group = [\"b\"] }]",
            "4:11: consume: use an array of topics and patterns such as [\"jobs.eu\", \"gpu.>\"], or of tables \
             such as { topics = \"jobs.eu\", groups = [\"workers\", \"audit-*\"] }",
        ),
        (
            "consume = [{ topics = \"a\", groups = [\"*b\"] }]",
            "4:11: consume: \"*b\": a wildcard in the wrong place: * stands for a whole token, > for all the last",
        ),
        ("token = \"\"", "4:9: token: use a text that is not empty"),
    ] {
        assert_eq!(with(lines), [told]);
    }
    let digest = "sha256: use the 64 hexadecimal digits that `message-queue token new` prints, or an array of such";
    for (text, told) in [
        (
            "\n[[token]]\nsha256 = \"x\"\n",
            "2:1: a principal needs a name, such as name = \"collector\"".to_owned(),
        ),
        (
            "[[token]]\nname = \"a b\"\n",
            "2:8: name: the byte ' '; allowed: A-Z a-z 0-9 _ - .".to_owned(),
        ),
        (
            "[[token]]\nname = \"a\"\n",
            "1:1: a token needs sha256, its digest: `message-queue token new NAME` prints one".to_owned(),
        ),
        (
            "[[certificate]]\nname = \"a\"\n",
            "1:1: a certificate needs either common_name or alternative_name (a DNS name, a URI or an e-mail \
             address)"
                .to_owned(),
        ),
        (
            "[[jwt]]\nname = \"a\"\n",
            "1:1: a JSON Web Token needs a subject, such as subject = \"system:serviceaccount:telemetry:collector\", \
             or with a * at its end, or a claim and its value"
                .to_owned(),
        ),
        (
            "[[jwt]]\nname = \"a\"\nclaim = \"groups\"\n",
            "1:1: claim and value belong together, such as claim = \"groups\" and value = \"collectors\"".to_owned(),
        ),
        (
            "[[jwt]]\nname = \"a\"\nsubject = \"a\"\nvalue = \"b\"\n",
            "1:1: claim and value belong together, such as claim = \"groups\" and value = \"collectors\"".to_owned(),
        ),
        (
            "[[jwt]]\nname = \"a\"\nclaim = \"groups\"\nvalue = 7\n",
            "4:9: value: use a text that is not empty".to_owned(),
        ),
        (
            "[[jwt]]\nname = \"a\"\nclaim = \"groups\"\nclaims = \"x\"\nvalue = \"v\"\n",
            "4:1: \"claims\" is no key of a JSON Web Token: did you mean claim?".to_owned(),
        ),
        (
            "[[user]]\n",
            "1:3: unknown field `user`, expected one of `token`, `certificate`, `jwt`".to_owned(),
        ),
    ] {
        assert_eq!(problems(text), [told]);
    }
    for claim in [
        "\"\"",
        "[]",
        "[\"a\", 1]",
        "[\"a\", \"\"]",
        "1",
        "{ a = \"b\" }",
    ] {
        let text = format!("[[jwt]]\nname = \"a\"\nclaim = {claim}\nvalue = \"v\"\n");
        let told = "3:9: claim: use its name, or an array of names that lead to one within another such as \
                    [\"kubernetes.io\", \"namespace\"]";
        assert_eq!(problems(&text), [told]);
    }
    let twice = problems("[[token]]\nname = \"a\"\nsha256 = \"hunter2\"\ntoken = \"x\"\n");
    assert_eq!(twice, [format!("3:10: {digest}")]);
    let same = format!(
        "[[token]]\nname = \"a\"\nsha256 = \"{FOO}\"\n[[token]]\nname = \"b\"\ntoken = \"foo\"\n"
    );
    assert_eq!(
        problems(&same),
        ["4:1: the same token is there already, as a"]
    );
    let kept = "[[token]]\nname = \"anonymous\"\ntoken = \"x\"\n";
    let told = "1:1: the name anonymous is kept for clients that do not say who they are";
    assert_eq!(problems(kept), [told]);
}

#[test]
fn no_problem_shows_a_secret() {
    for text in [
        "[[token]]\nname = \"a\"\ntoken = \"hunter2\n",
        "[[token]]\nname = \"a\"\ntoken = hunter2\n",
        "[[token]]\nname = \"a\"\ntoken = 'hunter2'\ntoken = 'hunter2'\n",
        "[[token]]\nname = \"a\"\nsha256 = \"hunter2\"\n",
        "[[token]]\nname = \"a\"\ntoken = [\"hunter2\"]\n",
        "hunter2",
        "token = \"hunter2\"",
        "[[token]]\nhunter2\n",
        "[[token]]\nname = \"a\"\ntoken = \"hunter2\"x\n",
        "[[token]]\nname = \"a\"\ntoken = \"hunter2\\q\"\n",
    ] {
        let told = problems(text).join("\n");
        assert!(!told.contains("hunter2"), "{told}");
        assert!(!told.is_empty());
    }
}
