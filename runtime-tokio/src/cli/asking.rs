//! Asks before something is lost.

use std::io::{self, BufRead, IsTerminal, Write};

/// What somebody said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    Yes,
    No,
}

/// Nobody can be asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "--yes is needed: what is lost by this cannot be had back, and there is no terminal to ask on"
)]
pub(super) struct NobodyToAsk;

/// Whether [`confirm`] will have an answer.
pub(super) fn may_ask(yes: bool) -> Result<(), NobodyToAsk> {
    if yes || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
        Ok(())
    } else {
        Err(NobodyToAsk)
    }
}

/// Asks on the terminal, unless `yes` was said already.
pub(super) fn confirm(what: &str, yes: bool) -> Result<Confirmation, NobodyToAsk> {
    if yes {
        return Ok(Confirmation::Yes);
    }
    may_ask(yes)?;
    Ok(ask(what, io::stdin().lock(), io::stderr()))
}

fn ask(what: &str, mut answers: impl BufRead, mut questions: impl Write) -> Confirmation {
    let mut answer = String::new();
    // What was not asked, or not answered, was not said.
    let asked = write!(questions, "{what} (yes/no) ").and_then(|()| questions.flush());
    match asked.and_then(|()| answers.read_line(&mut answer)) {
        Ok(_) if answer.trim().eq_ignore_ascii_case("yes") => Confirmation::Yes,
        Ok(_) | Err(_) => Confirmation::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_yes_is_one() {
        for (answer, meant) in [
            ("yes\n", Confirmation::Yes),
            (" YES \n", Confirmation::Yes),
            ("y\n", Confirmation::No),
            ("no\n", Confirmation::No),
            ("", Confirmation::No),
        ] {
            let mut asked = Vec::new();
            assert_eq!(
                ask("purge?", answer.as_bytes(), &mut asked),
                meant,
                "{answer:?}"
            );
            assert_eq!(asked, b"purge? (yes/no) ");
        }
    }
}
