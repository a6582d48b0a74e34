//! Histories of real runs with an engine, each changed in one place so that a promise is broken.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each looks for one kind of event"
)]

use crate::checker::Invariant;
use crate::guarantees::{Begin, EngineEvent, EngineName, Event, Plan, Record, check, run};
use message_queue_core::wire::control::Control;
use std::collections::BTreeSet;

/// Whether a change breaks a promise in some run with one of these engines: not each is one that matters.
fn breaks(
    engines: &[EngineName],
    invariant: Invariant,
    change: impl Fn(&mut Vec<Record>) -> bool,
) -> bool {
    let plans = (0..300).map(Plan::of_seed);
    let has_engine = |plan: &Plan| plan.settings.engine.is_some_and(|it| engines.contains(&it));
    plans.filter(has_engine).any(|plan| {
        let (mut history, stopped_by) = run(&plan, false);
        assert_eq!(stopped_by, None, "seed {}", plan.seed);
        assert_eq!(check(&history), [], "seed {}", plan.seed);
        change(&mut history.records) && check(&history).iter().any(|it| it.invariant == invariant)
    })
}

const BOTH: [EngineName; 2] = [EngineName::RabbitMq, EngineName::Kafka];

/// Changes the last event of the engine that `change` has something to change in.
fn changed(change: impl Fn(&mut EngineEvent) -> bool) -> impl Fn(&mut Vec<Record>) -> bool {
    move |records| {
        records
            .iter_mut()
            .rev()
            .any(|record| of_engine_mut(&mut record.event).is_some_and(&change))
    }
}

/// Takes out the last event of a kind.
fn without(is_it: impl Fn(&Event) -> bool) -> impl Fn(&mut Vec<Record>) -> bool {
    move |records| {
        let place = records.iter().rposition(|record| is_it(&record.event));
        place.map(|place| records.remove(place)).is_some()
    }
}

fn of_engine_mut(event: &mut Event) -> Option<&mut EngineEvent> {
    match event {
        Event::Engine { event, .. } => Some(event),
        _ => None,
    }
}

fn of_engine(event: &Event) -> Option<&EngineEvent> {
    match event {
        Event::Engine { event, .. } => Some(event),
        _ => None,
    }
}

#[test]
fn what_is_confirmed_is_in_the_engine_and_settled_in_the_end() {
    let kept = |event: &Event| {
        matches!(
            of_engine(event),
            Some(EngineEvent::Kept {
                origin: None,
                is_of_others: false,
                ..
            })
        )
    };
    assert!(breaks(&BOTH, Invariant::Confirmed, without(kept)));
    let elsewhere =
        |event: &Event| matches!(of_engine(event), Some(EngineEvent::SettledElsewhere { .. }));
    assert!(breaks(&BOTH, Invariant::Confirmed, without(elsewhere)));
    let left = |event: &mut EngineEvent| match event {
        EngineEvent::Left { unsettled, .. } => {
            *unsettled += 1;
            true
        }
        _ => false,
    };
    assert!(breaks(&BOTH, Invariant::Redelivery, changed(left)));
    let behind = |event: &mut EngineEvent| match event {
        EngineEvent::Left { behind, .. } => {
            *behind += 1;
            true
        }
        _ => false,
    };
    assert!(breaks(&BOTH, Invariant::Progress, changed(behind)));
}

#[test]
fn what_is_handed_out_was_delivered_and_not_taken_back() {
    let delivered = |event: &Event| matches!(of_engine(event), Some(EngineEvent::Delivered { .. }));
    assert!(breaks(&BOTH, Invariant::TakenBack, without(delivered)));
    let opened = |event: &mut EngineEvent| match event {
        EngineEvent::Opened { next, .. } => {
            *next += 1;
            true
        }
        _ => false,
    };
    assert!(breaks(&BOTH, Invariant::TakenBack, changed(opened)));
    let attempts = |event: &mut EngineEvent| match event {
        EngineEvent::Delivered { attempts, .. } => {
            *attempts += 1;
            true
        }
        _ => false,
    };
    assert!(breaks(&BOTH, Invariant::Attempts, changed(attempts)));
}

#[test]
fn a_group_begins_where_it_was_asked_to() {
    let elsewhere = |event: &mut EngineEvent| match event {
        EngineEvent::Opening { from, .. } => {
            *from = Begin::After(1);
            true
        }
        _ => false,
    };
    assert!(breaks(&BOTH, Invariant::Groups, changed(elsewhere)));
}

#[test]
fn what_is_taken_back_is_revoked() {
    let revoked = |event: &Event| matches!(event, Event::Told { control: Control::Revoked { code, .. }, .. } if code == "engine_lost");
    assert!(breaks(&BOTH, Invariant::Revoked, without(revoked)));
}

#[test]
fn what_is_saved_is_settled_and_what_is_flushed_is_saved() {
    // One in the middle: at the end all is settled.
    let saving = |records: &mut Vec<Record>| {
        let events = records.iter_mut();
        let events = events.filter_map(|it| of_engine_mut(&mut it.event));
        let mut places: Vec<&mut u64> = events
            .filter_map(|event| match event {
                EngineEvent::Saving { up_to, .. } => Some(up_to),
                _ => None,
            })
            .collect();
        let middle = places.len() / 2;
        places.get_mut(middle).map(|it| **it += 1).is_some()
    };
    assert!(breaks(&BOTH, Invariant::Confirmed, saving));
    // Before the last FLUSHED, so that it is about that.
    let settled = |records: &mut Vec<Record>| {
        let is_flushed = |record: &Record| {
            matches!(
                &record.event,
                Event::Told {
                    control: Control::Flushed(_),
                    ..
                }
            )
        };
        let Some(flushed) = records.iter().rposition(is_flushed) else {
            return false;
        };
        let is_settled = |record: &Record| {
            matches!(of_engine(&record.event), Some(EngineEvent::Settled { sequences, .. })
                if !sequences.is_empty())
        };
        let place = records[..flushed].iter().rposition(is_settled);
        place.map(|place| records.remove(place)).is_some()
    };
    assert!(breaks(&BOTH, Invariant::SettledOnce, settled));
}

/// A message that is settled is delivered once more.
fn settled_comes_again(records: &mut [Record]) -> bool {
    let mut saved: BTreeSet<(String, String, u64)> = BTreeSet::new();
    for record in records.iter_mut() {
        let Event::Engine { topic, event } = &mut record.event else {
            continue;
        };
        match event {
            EngineEvent::Settled { group, sequences } => {
                let settled = sequences
                    .iter()
                    .map(|it| (topic.clone(), group.clone(), *it));
                saved.extend(settled);
            }
            EngineEvent::Delivered {
                group,
                sequence,
                copy,
                ..
            } if group == "workers" => {
                // The first copies have the first sequences, until something comes again.
                let before = (topic.clone(), group.clone(), 1);
                if *sequence > 1 && saved.contains(&before) {
                    *copy = 1;
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[test]
fn what_is_settled_comes_again_only_where_the_profile_says_so() {
    let once = Invariant::SettledOnce;
    let again = |records: &mut Vec<Record>| settled_comes_again(records);
    assert!(breaks(&[EngineName::RabbitMq], once, again));
    assert!(!breaks(&[EngineName::Kafka], once, again));
}
