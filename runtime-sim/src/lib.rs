//! The message broker in deterministic simulation.
//!
//! ```text
//! seed ─▶ Plan ─▶ a simulator ─▶ History ─▶ checker ─▶ violations ─▶ shrink ─▶ a smaller Plan
//!         plan/    core_sim/      history    checker/                shrink
//! ```
//!
//! A seed expands into a [`plan::Plan`] that lists the settings, the clients and the faults. A
//! simulator ([`scenario::Scenario`]) carries it out and records a [`history::History`];
//! [`checker`] says which promises it breaks. Simulators share all of that and know nothing of
//! each other. The one for the whole stack ([`full_sim`]) runs the production driver on simulated
//! hosts ([`hosts`]). The one for version 2 ([`guarantees`]) has plans, a history and a checker of its own, and the one for the
//! whole stack in version 2 ([`durable`]), with disks whose power is cut, shares that history, that checker and those hosts.
//!
//! For the tests of those who use the broker there is [`kit`]: a real broker in a simulation of
//! theirs. [`recording`] is about runs that were not simulated: what a real broker's flight recorder
//! wrote.

pub mod chaos;
pub mod checker;
pub mod core_sim;
pub mod durable;
pub mod full_sim;
pub mod guarantees;
pub mod history;
pub mod hosts;
pub mod kit;
pub mod message;
pub mod net;
mod panics;
pub mod plan;
pub mod planted;
pub mod recording;
pub mod rng;
pub mod scenario;
pub mod shrink;

pub use kit::Broker;
