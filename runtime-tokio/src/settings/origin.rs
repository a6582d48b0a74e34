//! A setting with the value in force, and where that comes from.

use super::table::Setting;
use std::fmt;

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was given, or an empty value.
    Default,
    /// The file `.env` in the working directory.
    DotEnv,
    /// The environment of the process.
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::DotEnv => ".env",
            Self::Environment => "environment",
        })
    }
}

/// A setting and the value in force. Its `Debug` form keeps secrets.
#[derive(Clone)]
pub struct Effective {
    pub(super) setting: &'static Setting,
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl Effective {
    /// The setting.
    pub fn setting(&self) -> &'static Setting {
        self.setting
    }

    /// Its value as it is kept, without units; empty where there is none. Not for the eye: see
    /// [`shown`](Self::shown).
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Its value as it may be shown: with units, and `None` where it was given and is secret.
    pub fn shown(&self) -> Option<String> {
        let hidden = self.setting.secret && self.origin != Origin::Default;
        (!hidden).then(|| self.setting.allowed.shown(&self.value))
    }

    /// Where the value comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective")
            .field("name", &self.setting.name)
            .field("value", &self.shown())
            .field("origin", &self.origin)
            .finish()
    }
}
