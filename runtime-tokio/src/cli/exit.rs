//! What an exit code means: the one table of them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for.
    Done,
    /// Less than that.
    Failed,
    /// Nothing, because of how it was called.
    BadUsage,
    /// The user ended it, and nothing was lost by that.
    Interrupted,
    /// SIGTERM ended it, and nothing was lost by that.
    Terminated,
}

impl Exit {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::BadUsage,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the caller sees. For signals what a shell makes of them: 128 and the signal.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            // What clap returns for flags that it does not know.
            Self::BadUsage => 2,
            Self::Failed => 1,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done: everything that was asked for",
            Self::Failed => "failed, refused, or incomplete: standard error says what is missing",
            Self::BadUsage => "a flag, an argument or a setting is not allowed",
            Self::Interrupted => "a client was interrupted (Ctrl-C, SIGINT) and lost nothing",
            Self::Terminated => "a client was ended by SIGTERM and lost nothing",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table, for `--help`.
pub(crate) fn help() -> String {
    let rows = Exit::ALL.map(|exit| format!("  {:<3}  {}", exit.code(), exit.meaning()));
    format!(
        "Exit codes:\n{}\n  The broker ends with 0 after either signal.",
        rows.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_say_what_the_codes_mean() {
        let page = include_str!("../../../docs/OPERATIONS.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(page.contains(&row), "OPERATIONS.md lacks the row\n{row}");
        }
    }

    #[test]
    fn help_says_what_the_codes_mean() {
        use clap::CommandFactory;
        for text in [
            crate::cli::Cli::command().render_help(),
            crate::cli::Cli::command().render_long_help(),
        ] {
            assert!(text.to_string().contains(&help()), "{text}");
        }
    }
}
