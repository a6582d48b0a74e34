//! A plan that breaks a promise becomes a smaller one that breaks the same promise.

use crate::checker::Invariant;
use crate::durable;
use crate::guarantees;
use crate::plan::{Conduct, Hostile, MILLISECOND, Micros, Plan};
use crate::scenario::{self, Options, Scenario};
use std::ops::Range;

/// Makes a plan smaller: removes faults, then clients, then what clients do, then time, as long as
/// `invariant` stays broken, until nothing more can be removed or `most_runs` are used up.
/// `progress` is told of each plan that was accepted.
pub fn shrink(
    scenario: Scenario,
    plan: &scenario::Plan,
    options: Options,
    invariant: Invariant,
    most_runs: usize,
    mut progress: impl FnMut(&scenario::Plan, usize),
) -> scenario::Plan {
    let breaks = |plan: &scenario::Plan| {
        let violations = scenario.run(plan, options).violations;
        violations.iter().any(|it| it.invariant == invariant)
    };
    let mut smallest = plan.clone();
    let mut runs = 0;
    loop {
        let tried = smaller(&smallest).take(most_runs - runs);
        let found = tried.inspect(|_| runs += 1).find(|smaller| breaks(smaller));
        let Some(found) = found else { return smallest };
        smallest = found;
        progress(&smallest, runs);
    }
}

/// Plans that are a little smaller, what saves most first.
fn smaller(plan: &scenario::Plan) -> Box<dyn Iterator<Item = scenario::Plan> + '_> {
    match plan {
        scenario::Plan::Version1(plan) => {
            Box::new(smaller_plans(plan).map(scenario::Plan::Version1))
        }
        scenario::Plan::Guarantees(plan) => {
            let fewer = without_acts(plan).chain(without_idle_clients(plan));
            Box::new(fewer.map(scenario::Plan::Guarantees))
        }
        scenario::Plan::Durable(plan) => {
            Box::new(smaller_stacks(plan).map(scenario::Plan::Durable))
        }
    }
}

fn without_acts(plan: &guarantees::Plan) -> impl Iterator<Item = guarantees::Plan> {
    spans(plan.acts.len()).map(|span| {
        let mut smaller = plan.clone();
        smaller.acts.drain(span);
        smaller
    })
}

/// Without the last client: the others keep their numbers.
fn without_idle_clients(plan: &guarantees::Plan) -> impl Iterator<Item = guarantees::Plan> {
    let mut smaller = plan.clone();
    let last = smaller.clients.pop().map(|_| smaller);
    last.into_iter()
}

/// The same for the whole stack in version 2: without faults, then clients, then with fewer messages, then sooner.
fn smaller_stacks(plan: &durable::Plan) -> impl Iterator<Item = durable::Plan> {
    let without = |count: usize, remove: fn(&mut durable::Plan, Range<usize>)| {
        spans(count).map(move |span| {
            let mut smaller = plan.clone();
            remove(&mut smaller, span);
            smaller
        })
    };
    let fewer = |plan: &durable::Plan, at: usize| {
        let mut smaller = plan.clone();
        smaller.actors[at].messages /= 2;
        smaller
    };
    let with_messages = (0..plan.actors.len()).filter(|at| plan.actors[*at].messages > 0);
    let sooner = less_time(plan.duration_us).map(|duration_us| durable::Plan {
        duration_us,
        ..plan.clone()
    });
    without(plan.faults.len(), |plan, span| {
        drop(plan.faults.drain(span))
    })
    .chain(without(plan.packets.faults.len(), |plan, span| {
        drop(plan.packets.faults.drain(span));
    }))
    .chain(without(plan.disk.faults.len(), |plan, span| {
        drop(plan.disk.faults.drain(span));
    }))
    .chain(without(plan.actors.len(), |plan, span| {
        drop(plan.actors.drain(span))
    }))
    .chain(with_messages.map(move |at| fewer(plan, at)))
    .chain(sooner)
}

/// The same for version 1.
fn smaller_plans(plan: &Plan) -> impl Iterator<Item = Plan> {
    without_faults(plan)
        .chain(without_packet_faults(plan))
        .chain(without_clients(plan))
        .chain(with_fewer_messages(plan))
        .chain(with_less_time(plan))
}

/// Without half of the faults, then without each.
fn without_faults(plan: &Plan) -> impl Iterator<Item = Plan> {
    spans(plan.faults.len()).map(|span| {
        let mut smaller = plan.clone();
        smaller.faults.drain(span);
        smaller
    })
}

fn without_packet_faults(plan: &Plan) -> impl Iterator<Item = Plan> {
    let packets = plan.packets.iter();
    packets.flat_map(|packets| {
        spans(packets.faults.len()).map(|span| {
            let mut fewer = packets.clone();
            fewer.faults.drain(span);
            Plan {
                packets: Some(fewer),
                ..plan.clone()
            }
        })
    })
}

fn without_clients(plan: &Plan) -> impl Iterator<Item = Plan> {
    spans(plan.clients.len()).map(|span| {
        let mut smaller = plan.clone();
        smaller.clients.drain(span);
        smaller
    })
}

/// All of so many things, their halves, quarters and so on, down to each.
fn spans(count: usize) -> impl Iterator<Item = Range<usize>> {
    let sizes = std::iter::successors(Some(count), |size| (*size > 1).then_some(size / 2));
    let sizes = sizes.filter(|size| *size > 0);
    sizes.flat_map(move |size| {
        let starts = (0..count).step_by(size);
        starts.map(move |start| start..count.min(start + size))
    })
}

/// With half of the messages of each client, or one less.
fn with_fewer_messages(plan: &Plan) -> impl Iterator<Item = Plan> {
    (0..plan.clients.len()).flat_map(|at| {
        let fewer = |how: fn(u32) -> u32| {
            let mut smaller = plan.clone();
            let messages = match &mut smaller.clients[at].conduct {
                Conduct::Producer(producer) => &mut producer.messages,
                Conduct::Hostile(
                    Hostile::TruncatesFrame { messages } | Hostile::OversizesFrame { messages, .. },
                ) => messages,
                Conduct::Consumer(_) | Conduct::Hostile(_) => return None,
            };
            let before = *messages;
            *messages = how(before);
            (*messages < before).then_some(smaller)
        };
        [
            fewer(|messages| messages / 2),
            fewer(|messages| messages.saturating_sub(1)),
        ]
        .into_iter()
        .flatten()
    })
}

/// Over sooner: after half of the time, or a tenth less.
fn with_less_time(plan: &Plan) -> impl Iterator<Item = Plan> {
    less_time(plan.duration_us).map(|duration_us| Plan {
        duration_us,
        ..plan.clone()
    })
}

fn less_time(duration: Micros) -> impl Iterator<Item = Micros> {
    let shorter = [duration / 2, duration / 10 * 9];
    let shorter = shorter.into_iter();
    shorter.filter(move |it| *it >= MILLISECOND && *it < duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanFile;

    #[test]
    fn spans_cover_everything_at_every_size() {
        let spans: Vec<_> = spans(3).collect();
        assert_eq!(spans, [0..3, 0..1, 1..2, 2..3]);
        assert_eq!(super::spans(0).count(), 0);
    }

    #[test]
    fn every_smaller_plan_is_smaller_and_can_be_run() {
        let plan = Plan::of_seed(3);
        let mut seen = 0;
        for smaller in smaller_plans(&plan) {
            assert!(smaller.to_json() != plan.to_json());
            smaller.check().expect("removing breaks no bound");
            seen += 1;
        }
        assert!(seen > plan.faults.len() + plan.clients.len());
    }
}
