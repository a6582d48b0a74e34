//! Random scripts in version 2: the broker does what the reference model says, whatever its clients do.
//!
//! A failure prints the shortest script that was found to show it.

mod compare;
mod config;
mod consumers;
mod hearing;
mod lockstep;
mod producers;
mod rights;
mod script;
mod seen;
mod the_end;

use lockstep::play;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// How many scripts are played: 2,000, or what the environment says.
fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES").ok();
    cases.and_then(|it| it.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // What a failure prints is worth more than a seed.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_broker_does_what_the_model_says(script in script::script()) {
        play(&script);
    }
}

/// Agreement about what never happens is worth nothing.
#[test]
fn the_scripts_reach_what_the_model_knows() {
    let mut runner = TestRunner::deterministic();
    let mut seen = seen::Seen::default();
    for _ in 0..2_000 {
        let script = script::script().new_tree(&mut runner).expect("a script");
        seen += play(&script.current());
    }
    let seen::Seen {
        again,
        dead,
        waited,
        refused,
        resumed,
        taken_over,
        lost,
        revoked,
        settled_late,
        expired,
        forbidden,
        turned_away,
        sent_elsewhere,
        drains,
        too_late,
        let_go,
        came_late,
        alone,
        topics,
        gaps_by_pattern,
        by_pattern,
        alone_by_pattern,
        of_several_topics,
    } = seen;
    for (what, times) in [
        ("messages handed out again", again),
        ("dead letters", dead),
        ("producers that wait for room", waited),
        ("refusals", refused),
        ("names that go on", resumed),
        ("names taken over", taken_over),
        ("losses for want of room", lost),
        ("messages that were held for too long", revoked),
        ("messages that were settled twice", settled_late),
        ("messages that were too old", expired),
        ("clients without the right", forbidden),
        ("connections that lost their right", turned_away),
        ("messages for topics without the right", sent_elsewhere),
        ("orderly ends", drains),
        ("clients that came too late", too_late),
        ("consumers that were let go", let_go),
        ("consumers that were let in at the end", came_late),
        ("messages that were handed out alone", alone),
        ("changes of topic", topics),
        ("gaps of who has a pattern", gaps_by_pattern),
        ("messages of who has a pattern", by_pattern),
        (
            "messages that went alone to who has a pattern",
            alone_by_pattern,
        ),
        ("windows on several topics", of_several_topics),
    ] {
        println!("{what}: {times}");
        assert!(times > 10, "{what}: {times}");
    }
}
