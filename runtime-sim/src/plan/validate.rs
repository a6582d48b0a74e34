//! Whether a plan that somebody wrote can be run.

use super::{Conduct, FaultKind, Micros, PacketFaultKind, Plan, PlanFile, SECOND};
use message_queue_core::ConfigError;
use message_queue_core::wire::MAX_FRAME_BODY;
use std::collections::BTreeSet;

/// A plan that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file holds no plan.
    #[error("{path}: not a plan: {error}")]
    Malformed {
        /// The file.
        path: String,
        /// Where, and what was expected.
        error: serde_json::Error,
    },
    /// A setting does not keep its bound.
    #[error("{0}")]
    Setting(#[from] ConfigError),
    /// A field has a value that is not allowed.
    #[error("{field} is {value}; allowed: {allowed}")]
    OutOfBounds {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What would be allowed.
        allowed: String,
    },
}

impl PlanFile for Plan {
    fn check(&self) -> Result<(), PlanError> {
        self.settings.config().check()?;
        let settings = &self.settings;
        within("duration_us", self.duration_us, 1, LONGEST)?;
        within("role_timeout_us", settings.role_timeout_us, 1, LONGEST)?;
        within("write_timeout_us", settings.write_timeout_us, 1, LONGEST)?;
        within("drain_timeout_us", settings.drain_timeout_us, 0, LONGEST)?;
        within("read_bytes", settings.read_bytes as u64, 1, 1 << 30)?;
        within(
            "role_line_bytes",
            settings.role_line_bytes as u64,
            16,
            65_536,
        )?;
        let network = &self.network;
        let fastest = network.latency_min_us;
        within("latency_min_us", fastest, 1, LONGEST)?;
        within("latency_max_us", network.latency_max_us, fastest, LONGEST)?;
        within("chunk_bytes", network.chunk_bytes as u64, 1, 1 << 30)?;
        within("upward_bytes", network.upward_bytes as u64, 1, 1 << 30)?;
        self.check_clients()?;
        if let Some(packets) = &self.packets {
            within(
                "socket_bytes",
                packets.socket_bytes as u64,
                1 << 10,
                64 << 10,
            )?;
            for fault in &packets.faults {
                within("at_us", fault.at_us, 0, LONGEST)?;
                within("for_us", fault.for_us, 1, LONGEST)?;
                if let PacketFaultKind::Loss { percent }
                | PacketFaultKind::Duplication { percent } = fault.kind
                {
                    within("percent", percent, 0, 100)?;
                }
            }
        }
        for fault in &self.faults {
            within("at_us", fault.at_us, 0, LONGEST)?;
            if let Some((field, span)) = fault.kind.span() {
                within(field, span, 1, LONGEST)?;
            }
        }
        Ok(())
    }
}

impl Plan {
    fn check_clients(&self) -> Result<(), PlanError> {
        let mut ids = BTreeSet::new();
        for client in &self.clients {
            if !ids.insert(client.id) {
                return Err(PlanError::OutOfBounds {
                    field: "id",
                    value: u64::from(client.id),
                    allowed: "a number that no other client has".to_owned(),
                });
            }
            within("starts_us", client.starts_us, 0, LONGEST)?;
            match &client.conduct {
                Conduct::Producer(producer) => {
                    let (least, most) = (producer.size_min as u64, MAX_FRAME_BODY as u64);
                    within("size_max", producer.size_max as u64, least, most)?;
                    within("burst", u64::from(producer.burst), 1, 1 << 20)?;
                    within("messages", u64::from(producer.messages), 0, 1 << 24)?;
                    within("every_us", producer.every_us, 1, LONGEST)?;
                }
                Conduct::Consumer(consumer) => {
                    within("read_bytes", consumer.read_bytes as u64, 1, 1 << 30)?;
                    within("buffer_bytes", consumer.buffer_bytes as u64, 1, 1 << 30)?;
                    within("every_us", consumer.every_us, 1, LONGEST)?;
                }
                Conduct::Hostile(_) => {}
            }
        }
        Ok(())
    }
}

impl FaultKind {
    /// How long the fault lasts, if it says so, and the name of the field that does.
    const fn span(&self) -> Option<(&'static str, Micros)> {
        Some(match self {
            Self::Reset { away_us, .. } | Self::Leave { away_us, .. } => ("away_us", *away_us),
            Self::Stall { for_us, .. } | Self::Hold { for_us, .. } | Self::Lag { for_us, .. } => {
                ("for_us", *for_us)
            }
            Self::Restart { down_us } => ("down_us", *down_us),
            Self::EndedByOperator { .. } | Self::Purge => return None,
        })
    }
}

/// No span in a plan is longer: one hour.
const LONGEST: Micros = 3600 * SECOND;

pub(crate) fn within(
    field: &'static str,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(PlanError::OutOfBounds {
        field,
        value,
        allowed: format!("{least} to {most}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_expands_into_a_plan_that_can_be_run_and_read_back() {
        for seed in 0..500 {
            let plan = Plan::of_seed(seed);
            plan.check()
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let read: Plan = serde_json::from_str(&plan.to_json()).expect("it was just written");
            assert_eq!(read, plan);
        }
    }

    #[test]
    fn a_field_out_of_bounds_is_named() {
        let mut plan = Plan::of_seed(1);
        plan.network.chunk_bytes = 0;
        let error = plan.check().expect_err("a chunk of nothing");
        assert_eq!(
            error.to_string(),
            "chunk_bytes is 0; allowed: 1 to 1073741824"
        );

        let mut plan = Plan::of_seed(1);
        plan.clients[1].id = plan.clients[0].id;
        let error = plan.check().expect_err("two clients of one number");
        assert!(
            error.to_string().contains("that no other client has"),
            "{error}"
        );
    }
}
