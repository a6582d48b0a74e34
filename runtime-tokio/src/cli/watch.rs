//! What a client of version 2 tells the user while it runs.

use super::broker_args::BrokerArgs;
use super::progress::Notices;
use crate::client::acked::{Change, Retry};
use std::io::{self, IsTerminal};

/// What to do while there is no broker.
pub(super) const fn retry(broker: &BrokerArgs) -> Retry {
    if broker.retry {
        Retry::Always
    } else {
        Retry::Never
    }
}

/// Prints what happens to the connection.
pub(super) fn changes(notices: Notices, address: &str) -> impl FnMut(&Change) + Send + use<> {
    let address = address.to_owned();
    let mut announce = io::stderr().is_terminal();
    move |change| match change {
        Change::Connected(_) => {
            if std::mem::take(&mut announce) {
                notices.print(&format!("connected to {address}"));
            }
        }
        Change::Disconnected { gone, wait } => {
            announce = true;
            let seconds = wait.as_secs_f64();
            notices.print(&format!("{gone}; trying again in {seconds:.1} s"));
        }
        Change::Blocked(true, what) => notices.print(&format!("the broker has no room: {what}")),
        Change::Blocked(false, _) => notices.print("the broker has room again"),
        Change::Forgotten(messages) => notices.print(&format!(
            "the broker has lost {messages} messages that it had confirmed; they are not sent again"
        )),
        Change::Revoked(messages) => notices.print(&format!(
            "the broker took back {messages} messages: nothing was acknowledged for too long"
        )),
        Change::Gap { from, to, code } => {
            notices.print(&format!("messages {from} to {to} will not come: {code}"));
        }
    }
}
