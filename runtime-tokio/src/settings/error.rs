//! What is wrong with the settings, one line for each bad variable.

use super::dotenv::DotEnvError;
use super::file::FileError;
use super::origin::Origin;
use super::table::Setting;
use std::fmt;

/// Why the settings could not be loaded. Displayed, it is one whole line for each bad variable,
/// without a line feed at the end.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file `.env` is not understood.
    #[error(transparent)]
    DotEnv(#[from] DotEnvError),
    /// Values that are not allowed.
    #[error("{}", lines(problems, files))]
    NotAllowed {
        /// At least one.
        problems: Vec<NotAllowed>,
        /// What is wrong with files that settings name, too.
        files: Vec<FileError>,
    },
    /// Files that settings name are not understood: at least one.
    #[error("{}", lines(&[], .0))]
    Files(Vec<FileError>),
    /// The list of settings and the fields disagree: a defect of this program.
    #[error("settings: {0}; this is a defect of message-queue")]
    Defect(#[from] envy::Error),
}

/// One value that is not allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAllowed {
    pub(super) name: &'static str,
    /// As [`quoted`] gives it.
    pub(super) value: String,
    pub(super) origin: Origin,
    /// What is allowed instead.
    pub(super) allowed: String,
    /// Where such a value comes from, if that is known.
    pub(super) hint: Option<String>,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            origin,
            allowed,
            hint,
        } = self;
        let from = match origin {
            Origin::Environment => "",
            Origin::DotEnv => " (from .env)",
            Origin::Default => " (the default)",
        };
        write!(f, "{name}: {value}{from} is not allowed: use {allowed}")?;
        match hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

fn lines(problems: &[NotAllowed], files: &[FileError]) -> String {
    let problems = problems.iter().map(NotAllowed::to_string);
    let files = files.iter().map(FileError::to_string);
    problems.chain(files).collect::<Vec<_>>().join("\n")
}

/// A value of `setting` for an error: quoted and escaped, so that it is one line and its spaces show. None is no secret.
pub(super) fn quoted(setting: &Setting, value: &dyn fmt::Debug) -> String {
    let shown = format!("{value:?}");
    if setting.secret && shown != "\"\"" {
        "the secret value".to_owned()
    } else {
        shown
    }
}

/// Where a value that is not allowed comes from, if it looks like a Kubernetes service link.
///
/// For a Service named `tcp`, Kubernetes sets `TCP_PORT=tcp://10.0.0.1:80` in every pod of the
/// Service's namespace.
pub(super) fn service_link(name: &str, value: &str) -> Option<String> {
    let service = name.strip_suffix("_PORT")?.to_ascii_lowercase();
    let (protocol, _) = value.split_once("://")?;
    ["tcp", "udp", "sctp"].contains(&protocol).then(|| {
        format!(
            "Kubernetes sets this value for a Service named {service} in the same namespace: \
             set enableServiceLinks: false on the pod, or rename the Service"
        )
    })
}
