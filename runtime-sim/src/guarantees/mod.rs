//! What version 2 promises, put to the test: the core and its clients of version 2, over links that deliver late, in
//! pieces of any size, and break anywhere.
//!
//! ```text
//! seed ─▶ Plan ─▶ World ─▶ History ─▶ check ─▶ violations
//!         plan/   world/   history    checker/
//! ```
//!
//! A seed expands into a [`Plan`]: settings, clients, and a list of acts, each with the number that its own small
//! choices are drawn from. So a run is a function of its plan alone, and an act can be left out without changing the
//! others. The world carries the acts out; then everything goes well until all is done, or the broker is drained in
//! the middle of it. What went into the broker and came out of it is the [`History`], which is all that the checker
//! sees.

mod checker;
mod engine;
mod history;
pub(crate) mod plan;
mod rights;
mod rules;
pub(crate) mod world;

pub use checker::check;
pub use engine::EngineName;
pub use history::{Asked, EngineEvent, Event, History, Record};
pub use plan::{Act, Begin, Client, Consumer, Deed, Ending, Plan, Producer, Settings, WhichGroup};
pub use rights::Rights;

use crate::checker::{Invariant, Violation};
use crate::panics::unless_it_panics;
use world::World;

/// Carries out a plan. Returns what happened, and what made it stop if it did not come to its end.
pub fn run(plan: &Plan, check_invariants: bool) -> (History, Option<Violation>) {
    let mut world = World::new(plan, check_invariants);
    let panic = unless_it_panics(|| world.play()).err();
    let violation = panic.map(|detail| Violation {
        invariant: if world.is_checking() {
            Invariant::Internal
        } else {
            Invariant::NoPanic
        },
        at: world.at(),
        step: world.step(),
        detail,
    });
    (world.into_history(), violation)
}
