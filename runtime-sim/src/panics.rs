//! A panic in a run is a finding, not the end: what was recorded up to it is worth seeing.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `run` gives, or what its panic says.
pub(crate) fn unless_it_panics<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("a panic without words").to_owned()
    })
}
