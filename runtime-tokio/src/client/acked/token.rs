//! What a client shows of who it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The longest token, in bytes: a role line is no longer, as brokers have it (`ROLE_LINE_BYTES`).
const LONGEST: usize = 64 << 10;

/// What shows the broker who a client is: a text, or a file that holds one.
#[derive(Clone, Default)]
pub struct Token(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    Text(String),
    File(PathBuf),
}

/// The token could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the token: {}: {source}", .path.display())]
pub struct TokenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: io::Error,
}

impl Token {
    /// The one that stands in a file, as at most 64 KiB of text; white space around it does not count. The file is read
    /// before each connection, so that the token can be replaced while the client lives.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// Whether there is none.
    pub const fn is_none(&self) -> bool {
        matches!(self.0, Source::None)
    }

    /// The token of now.
    pub(crate) async fn read(&self) -> Result<Option<String>, TokenError> {
        match &self.0 {
            Source::None => Ok(None),
            Source::Text(token) => Ok(Some(token.clone())),
            Source::File(path) => match read(path).await {
                Ok(token) => Ok(Some(token)),
                Err(source) => Err(TokenError {
                    path: path.clone(),
                    source,
                }),
            },
        }
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(Source::Text(token))
    }
}

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        token.to_owned().into()
    }
}

/// The token that a file holds, without the white space around it.
async fn read(path: &Path) -> io::Result<String> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::new();
    let file = File::open(path).await?;
    file.take(LONGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .await?;
    if bytes.len() > LONGEST {
        return Err(invalid("it is longer than 64 KiB: that is no token"));
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    match text.trim() {
        "" => Err(invalid("it is empty")),
        token => Ok(token.to_owned()),
    }
}

impl fmt::Debug for Token {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::None => f.write_str("None"),
            Source::Text(_) => f.write_str("Text(***)"),
            Source::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_holds_a_token_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let token = Token::file(file.path());
        for (text, told) in [
            (" secret\n", Ok("secret")),
            ("", Err("it is empty")),
            (" \n", Err("it is empty")),
            (
                &"x".repeat(LONGEST + 1),
                Err("it is longer than 64 KiB: that is no token"),
            ),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let read = token.read().await;
            let read = read.map_err(|it| it.source.to_string());
            let told = told.map(|it| Some(it.to_owned()));
            assert_eq!(read, told.map_err(str::to_owned));
        }
        std::fs::write(file.path(), b"\xff").unwrap();
        assert!(token.read().await.is_err());
        let missing = Token::file("/nowhere/token");
        let error = missing.read().await.unwrap_err().to_string();
        assert!(
            error.starts_with("the token: /nowhere/token: No such file"),
            "{error}"
        );
        assert_eq!(format!("{:?}", Token::from("secret")), "Text(***)");
    }
}
