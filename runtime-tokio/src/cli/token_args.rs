//! The token that a client shows.

use crate::client::acked::Token;
use std::env;
use std::path::PathBuf;

/// The environment variable that holds the token, where no file does. There is no flag for the token itself: other
/// users of the machine see a command's arguments.
const TOKEN_VARIABLE: &str = "BROKER_TOKEN";

/// The flag of every command that may have to show who it is.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct TokenArgs {
    /// Show the broker the token that stands in this file; it is read again before each connection [default: the
    /// token in the variable BROKER_TOKEN, if it is set]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token, if there is one.
    pub(crate) fn token(&self) -> Token {
        if let Some(path) = &self.token_file {
            return Token::file(path);
        }
        match env::var(TOKEN_VARIABLE) {
            Ok(token) if !token.trim().is_empty() => token.trim().into(),
            Ok(_) | Err(_) => Token::default(),
        }
    }

    /// Whether there is one. A client that has one speaks wire version 2: version 1 has no place for it.
    pub(crate) fn is_given(&self) -> bool {
        !self.token().is_none()
    }
}
