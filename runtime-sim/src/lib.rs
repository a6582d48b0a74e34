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
//! each other.
//!
//! [`recording`] is about runs that were not simulated: what a real broker's flight recorder wrote.

pub mod checker;
pub mod core_sim;
pub mod history;
pub mod message;
pub mod plan;
pub mod recording;
pub mod rng;
pub mod scenario;
pub mod shrink;
