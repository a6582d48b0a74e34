//! Histories of real runs that kept every promise, each changed in one place so that one is broken.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each looks for one kind of event"
)]

use super::check;
use crate::checker::Invariant;
use crate::guarantees::history::{Asked, Event, Record};
use crate::guarantees::plan::Plan;
use crate::guarantees::rights::Rights;
use crate::guarantees::run;
use message_queue_core::wire::control::{Control, Outcome};
use message_queue_core::{CloseReason, DropReason};
use std::collections::{BTreeMap, BTreeSet};

/// Changes the first event that `change` has something to change in. Returns what is broken then.
fn changed(mut change: impl FnMut(&mut Event) -> bool) -> BTreeSet<Invariant> {
    tampered(|records| records.iter_mut().any(|record| change(&mut record.event)))
}

/// Takes out the first event of its kind.
fn without(is_it: impl Fn(&Event) -> bool) -> BTreeSet<Invariant> {
    tampered(|records| {
        let place = records.iter().position(|record| is_it(&record.event));
        place.map(|place| records.remove(place)).is_some()
    })
}

fn tampered(mut tamper: impl FnMut(&mut Vec<Record>) -> bool) -> BTreeSet<Invariant> {
    for seed in 0..300 {
        let (mut history, stopped_by) = run(&Plan::of_seed(seed), false);
        assert_eq!(stopped_by, None, "seed {seed}");
        assert_eq!(check(&history), [], "seed {seed}");
        if tamper(&mut history.records) {
            let broken = check(&history);
            return broken.into_iter().map(|it| it.invariant).collect();
        }
    }
    panic!("nothing to change in any seed");
}

/// Whether changing the first event that `change` has something to change in breaks a promise, in some run: not
/// each such event is one that matters.
fn some_change_breaks(invariant: Invariant, change: impl Fn(&mut Event) -> bool) -> bool {
    (0..400).any(|seed| {
        let (mut history, _) = run(&Plan::of_seed(seed), false);
        let mut records = history.records.iter_mut();
        let is_changed = records.any(|record| change(&mut record.event));
        is_changed && check(&history).iter().any(|it| it.invariant == invariant)
    })
}

/// As `some_change_breaks`, for an event that is taken out.
fn some_lack_breaks(invariants: &[Invariant], is_it: impl Fn(&Event) -> bool) -> bool {
    (0..400).any(|seed| {
        let (mut history, _) = run(&Plan::of_seed(seed), false);
        let records = &mut history.records;
        let place = records.iter().position(|record| is_it(&record.event));
        place.map(|place| records.remove(place)).is_some()
            && check(&history)
                .iter()
                .any(|it| invariants.contains(&it.invariant))
    })
}

fn told(event: &Event) -> Option<&Control> {
    match event {
        Event::Told { control, .. } => Some(control),
        _ => None,
    }
}

#[test]
fn a_message_that_nobody_sent() {
    let broken = changed(|event| match event {
        Event::HandedOut { body, .. } => {
            body.push('?');
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Published), "{broken:?}");
}

#[test]
fn a_message_of_a_named_producer_twice() {
    let mut before: Option<String> = None;
    let mut named = BTreeSet::new();
    let broken = changed(|event| match event {
        Event::Given {
            named: true,
            bodies,
            ..
        } => {
            named.extend(bodies.iter().cloned());
            false
        }
        Event::HandedOut { body, .. } if named.contains(body) => match &before {
            Some(first) if first != body => {
                body.clone_from(first);
                true
            }
            Some(_) => false,
            None => {
                before = Some(body.clone());
                false
            }
        },
        _ => false,
    });
    assert!(broken.contains(&Invariant::ExactlyOnce), "{broken:?}");
}

#[test]
fn a_confirmed_message_that_never_comes() {
    let broken = tampered(|records| {
        let safe = records.iter().find_map(|record| match &record.event {
            Event::Safe { bodies, .. } => bodies.last().cloned(),
            _ => None,
        });
        let settled = |record: &Record| matches!(record.event, Event::Settled { .. });
        // Nothing is lost by agreement.
        let lost = |record: &Record| matches!(record.event, Event::Dropped { .. });
        let fits = records.iter().any(settled) && !records.iter().any(lost);
        let Some(safe) = safe.filter(|_| fits) else {
            return false;
        };
        let before = records.len();
        let is_it = |event: &Event| matches!(event, Event::HandedOut { body, .. } if *body == safe);
        records.retain(|record| !is_it(&record.event));
        records.len() < before
    });
    assert!(broken.contains(&Invariant::Confirmed), "{broken:?}");
}

#[test]
fn something_that_is_dropped() {
    let broken = tampered(|records| {
        let (at, step) = (records[0].at, records[0].step);
        let event = Event::Dropped {
            whence: Some(("jobs.a".to_owned(), "workers".to_owned())),
            reason: DropReason::BacklogMessages,
            messages: 1,
        };
        records.insert(1, Record { at, step, event });
        true
    });
    assert_eq!(broken, BTreeSet::from([Invariant::Confirmed]));
}

#[test]
fn a_fresh_message_that_is_taken_for_an_old_one() {
    let broken = changed(|event| match event {
        Event::Accepted { answer, .. } if answer.resumed == Some(false) => {
            answer.resumed = Some(true);
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Fresh), "{broken:?}");
}

#[test]
fn an_attempt_that_is_not_counted() {
    let broken = changed(|event| match event {
        Event::Told {
            control: Control::Run { attempt, .. },
            ..
        } if *attempt > 1 => {
            *attempt -= 1;
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Attempts), "{broken:?}");
}

#[test]
fn a_hole_in_a_group() {
    let broken = changed(|event| match event {
        Event::Told {
            control: Control::Run {
                first, attempt: 1, ..
            },
            ..
        } if *first > 1 => {
            *first += 1;
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Gaps), "{broken:?}");
    let broken = without(|event| matches!(told(event), Some(Control::Gap(..))));
    assert!(broken.contains(&Invariant::Gaps), "{broken:?}");
}

#[test]
fn a_failure_too_many() {
    let broken = changed(|event| match event {
        Event::Told {
            control: Control::Origin(origin),
            ..
        } => {
            origin.failures += 1;
            true
        }
        _ => false,
    });
    assert_eq!(broken, BTreeSet::from([Invariant::Failures]));
}

#[test]
fn a_message_that_comes_too_soon_after_a_failure() {
    let much_longer = |event: &mut Event| match event {
        Event::Heard {
            control:
                Control::Settle {
                    outcome: Outcome::Failed,
                    delay_ms,
                    ..
                },
            ..
        } => {
            *delay_ms = 3_600_000;
            true
        }
        _ => false,
    };
    assert!(some_change_breaks(Invariant::Backoff, much_longer));
}

#[test]
fn a_message_that_is_settled_and_comes_again() {
    let broken = changed(|event| match event {
        Event::Heard {
            control: Control::Settle { outcome, .. },
            ..
        } if *outcome == Outcome::Return => {
            *outcome = Outcome::Done;
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::SettledOnce), "{broken:?}");
}

#[test]
fn a_message_that_is_not_settled_and_does_not_come_again() {
    let done = |event: &Event| {
        matches!(
            event,
            Event::Heard {
                control: Control::Settle {
                    outcome: Outcome::Done,
                    ..
                },
                ..
            }
        )
    };
    let fits = [
        Invariant::Redelivery,
        Invariant::Prefetch,
        Invariant::NoStarvation,
        // It takes room in its group.
        Invariant::MemoryBound,
    ];
    assert!(some_lack_breaks(&fits, done));
}

#[test]
fn more_than_a_consumer_has_asked_for() {
    let nothing = |event: &mut Event| match event {
        Event::Connected {
            asked: Asked::ToReceive { consumer, .. },
            ..
        } => {
            consumer.prefetch = 0;
            true
        }
        _ => false,
    };
    assert!(some_change_breaks(Invariant::Prefetch, nothing));
}

#[test]
fn things_that_are_not_told() {
    let revoked = |event: &Event| matches!(told(event), Some(Control::Revoked { .. }));
    assert!(some_lack_breaks(&[Invariant::Revoked], revoked));
    let is_why =
        |event: &Event| matches!(told(event), Some(Control::Blocked { blocked: true, .. }));
    let broken = without(is_why);
    assert!(broken.contains(&Invariant::ToldWhy), "{broken:?}");
}

#[test]
fn connections_that_end_too_late_or_for_no_reason() {
    let closed_for = |event: &Event, why: CloseReason| matches!(event, Event::Closed { reason, .. } if *reason == why);
    let broken = without(|event| closed_for(event, CloseReason::TakenOver));
    assert!(broken.contains(&Invariant::TakeOver), "{broken:?}");
    let broken = without(|event| closed_for(event, CloseReason::HeartbeatTimeout));
    assert!(broken.contains(&Invariant::Liveness), "{broken:?}");
    let broken = changed(|event| match event {
        Event::Closed { reason, .. } if *reason == CloseReason::PeerReset => {
            *reason = CloseReason::TooManyConsumers;
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::CloseReason), "{broken:?}");
}

#[test]
fn something_that_is_left_over() {
    let broken = changed(|event| match event {
        Event::Over { held_bytes, .. } => {
            *held_bytes = 1;
            true
        }
        _ => false,
    });
    assert_eq!(broken, BTreeSet::from([Invariant::Drained]));
}

#[test]
fn a_client_that_has_no_right_to_what_it_does() {
    // Nobody has a right to anything: whoever is accepted all the same should not be.
    let broken = tampered(|records| {
        let mut found = false;
        for record in records {
            if let Event::Identified { rights, .. } = &mut record.event {
                *rights = Rights::default();
                found = true;
            }
        }
        found
    });
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
    // Rights are taken away, and whoever has used them is there.
    let mut before = BTreeSet::new();
    let broken = changed(|event| match event {
        Event::Accepted { conn, .. } => {
            before.insert(*conn);
            false
        }
        Event::Identified { conn, rights, .. } if before.contains(conn) => {
            let changes = *rights != Rights::default();
            *rights = Rights::default();
            changes
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
}

#[test]
fn a_client_that_is_turned_away_though_it_has_a_right() {
    let broken = tampered(|records| {
        let forbidden = |event: &Event| matches!(event, Event::Closed { reason, .. } if *reason == CloseReason::Forbidden);
        let found = records.iter().any(|record| forbidden(&record.event));
        for record in records {
            if let Event::Identified { rights, .. } = &mut record.event {
                *rights = Rights::all();
            }
        }
        found
    });
    assert!(broken.contains(&Invariant::CloseReason), "{broken:?}");
    let broken = changed(|event| match event {
        Event::Closed { reason, .. } if *reason == CloseReason::Forbidden => {
            *reason = CloseReason::Unauthorized;
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::CloseReason), "{broken:?}");
}

#[test]
fn messages_that_nobody_may_send_and_that_are_taken() {
    let forbidden = |event: &Event| matches!(told(event), Some(Control::Refused(_, reason)) if reason.code == "forbidden");
    let broken = without(forbidden);
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
    // For another reason.
    let broken = changed(|event| match event {
        Event::Told {
            control: Control::Refused(_, reason),
            ..
        } if reason.code == "forbidden" => {
            "full".clone_into(&mut reason.code);
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
}

#[test]
fn a_name_that_two_principals_have() {
    // A named producer is accepted, and then comes as somebody else.
    let (mut named, mut accepted) = (BTreeMap::new(), BTreeSet::new());
    let somebody_else = |event: &mut Event| match event {
        Event::Connected {
            conn,
            asked:
                Asked::ToSend {
                    topic,
                    life: Some((name, _)),
                    ..
                },
            ..
        } => {
            named.insert(*conn, (topic.clone(), name.clone()));
            false
        }
        Event::Accepted { conn, .. } => {
            accepted.extend(named.get(conn).cloned());
            false
        }
        Event::Identified {
            conn,
            principal,
            rights,
            until: None,
        } if principal != "thief" && *rights == Rights::all() => {
            let is_taken = named.get(conn).is_some_and(|it| accepted.contains(it));
            if is_taken {
                "thief".clone_into(principal);
            }
            is_taken
        }
        _ => false,
    };
    let broken = changed(somebody_else);
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
}

#[test]
fn a_connection_that_goes_on_after_its_time() {
    let unauthorized = |event: &Event| matches!(event, Event::Closed { reason, .. } if *reason == CloseReason::Unauthorized);
    let broken = without(unauthorized);
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
    // Its time is over, and it was not told.
    let broken = tampered(|records| {
        let mut over = BTreeSet::new();
        let place = records.iter().position(|record| match &record.event {
            Event::Identified {
                conn,
                until: Some(_),
                ..
            } => {
                over.insert(*conn);
                false
            }
            Event::Told {
                conn,
                control: Control::GoAway { .. },
            } => over.contains(conn),
            _ => false,
        });
        place.map(|place| records.remove(place)).is_some()
    });
    assert!(broken.contains(&Invariant::Rights), "{broken:?}");
}

fn is_dropped(event: &Event, why: DropReason) -> bool {
    matches!(event, Event::Dropped { reason, .. } if *reason == why)
}

#[test]
fn a_message_that_is_handed_out_or_waits_after_its_time() {
    // It was published long before.
    let older = |event: &mut Event| match event {
        Event::Told {
            control:
                Control::Run {
                    published,
                    attempt: 1,
                    ..
                },
            ..
        } if *published > 1_005_000 => {
            *published -= 5_000;
            true
        }
        _ => false,
    };
    assert!(some_change_breaks(Invariant::Age, older));
    let expired = |event: &Event| is_dropped(event, DropReason::Expired);
    let fits = [Invariant::Age, Invariant::Gaps, Invariant::Confirmed];
    assert!(some_lack_breaks(&fits, expired));
    // Where nothing grows too old.
    let broken = changed(|event| match event {
        Event::Dropped { reason, .. } if *reason == DropReason::GroupEnded => {
            *reason = DropReason::Expired;
            true
        }
        _ => false,
    });
    assert!(broken.contains(&Invariant::Confirmed), "{broken:?}");
}

#[test]
fn an_expired_message_that_a_consumer_is_told_of_in_other_words() {
    let as_dropped = |event: &mut Event| match event {
        Event::Told {
            control: Control::Gap(_, reason),
            ..
        } if reason.code == "expired" => {
            "dropped".clone_into(&mut reason.code);
            true
        }
        _ => false,
    };
    assert!(some_change_breaks(Invariant::Gaps, as_dropped));
}

#[test]
fn a_message_without_a_confirm_that_is_lost_and_not_counted() {
    let lost = |event: &Event| {
        is_dropped(event, DropReason::BacklogMessages)
            && matches!(event, Event::Dropped { whence: Some((_, group)), .. } if group == "workers")
    };
    assert!(some_lack_breaks(
        &[Invariant::Accounting, Invariant::Gaps],
        lost
    ));
}

#[test]
fn producers_that_wait_and_leave_no_room_to_others() {
    // Whatever came of those without confirms is lost, all of it.
    let broken = (0..100).any(|seed| {
        let (mut history, _) = run(&Plan::of_seed(seed), false);
        let mut sent = 0;
        for record in &mut history.records {
            match &mut record.event {
                Event::Published { bodies, .. } => sent = bodies.len() as u64,
                Event::Dropped {
                    reason: DropReason::BacklogMessages,
                    messages,
                    whence: Some((_, group)),
                } if group == "workers" => *messages = sent,
                _ => {}
            }
        }
        let broken = check(&history);
        broken.iter().any(|it| it.invariant == Invariant::Turns)
    });
    assert!(broken);
}

#[test]
fn rules_that_are_not_kept() {
    let capacity_of_one = |event: &mut Event| match event {
        Event::Rules { settings } => {
            settings.capacity = 1;
            true
        }
        _ => false,
    };
    assert!(some_change_breaks(Invariant::MemoryBound, capacity_of_one));
    let no_more_failures = |event: &mut Event| match event {
        Event::Rules { settings } => {
            settings.max_failures = 1;
            true
        }
        _ => false,
    };
    assert!(some_change_breaks(Invariant::SettledOnce, no_more_failures));
}
