//! A plan as a file: JSON that a person can read and change.

use super::PlanError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What each kind of plan can do as a file.
pub trait PlanFile: Serialize + DeserializeOwned {
    /// Checks the bounds that the fields state.
    ///
    /// # Errors
    /// The first bound that is not kept.
    fn check(&self) -> Result<(), PlanError>;

    /// Reads and checks a plan.
    ///
    /// # Errors
    /// If the file cannot be read, holds no plan of this kind, or a field is out of its bounds.
    fn read(path: &Path) -> Result<Self, PlanError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| PlanError::Unreadable {
            path: name.clone(),
            error,
        })?;
        let plan: Self = serde_json::from_str(&text)
            .map_err(|error| PlanError::Malformed { path: name, error })?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as text, for people and for [`PlanFile::read`].
    fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string())
    }
}
