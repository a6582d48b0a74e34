//! How a client comes about: what both kinds may be told, and the wait for the first connection.

use super::error::{BadOption, StartError};
use super::link::{Change, Link, OnChange, Retry, Shared, State};
use super::token::Token;
use crate::access::tls::ClientTls;
use message_queue_core::names::Name;
use message_queue_core::wire::handshake::{Accepted, Common, MAX_HEARTBEAT};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;

/// What both kinds of clients may be told.
#[derive(Default)]
pub(super) struct Starting {
    pub(super) label: Option<String>,
    pub(super) token: Token,
    pub(super) heartbeat: Option<u16>,
    pub(super) tls: Option<ClientTls>,
    pub(super) retry: Retry,
    pub(super) on_change: Option<OnChange>,
}

/// The setters for it.
macro_rules! common {
    () => {
        /// A label by which the broker's log and lists call this client. No rights hang on it.
        pub fn label(mut self, label: impl Into<String>) -> Self {
            self.starting.label = Some(label.into());
            self
        }

        /// Who this client is, for brokers that ask.
        pub fn token(mut self, token: impl Into<crate::client::acked::Token>) -> Self {
            self.starting.token = token.into();
            self
        }

        /// After so many seconds of silence a side asks the other whether it is there, after twice as many it ends
        /// the connection; 0: never. Default: 15.
        pub const fn heartbeat(mut self, seconds: u16) -> Self {
            self.starting.heartbeat = Some(seconds);
            self
        }

        /// Speaks TLS with the broker.
        pub fn tls(mut self, tls: $crate::client::ClientTls) -> Self {
            self.starting.tls = Some(tls);
            self
        }

        /// What to do while there is no connection.
        pub const fn retry(mut self, retry: Retry) -> Self {
            self.starting.retry = retry;
            self
        }

        /// Has `on_change` called with what happens to the client. It must not wait.
        pub fn on_change(mut self, on_change: impl FnMut(&Change) + Send + 'static) -> Self {
            self.starting.on_change = Some(Box::new(on_change));
            self
        }
    };
}
pub(super) use common;

impl Starting {
    /// The options that both kinds have.
    pub(super) fn common(&self) -> Result<Common, BadOption> {
        let default = Common::default();
        let heartbeat = self.heartbeat.unwrap_or(default.heartbeat);
        if heartbeat > MAX_HEARTBEAT {
            let problem = format!("{heartbeat} seconds; allowed: 0 to {MAX_HEARTBEAT}");
            return Err(BadOption::new("heartbeat", problem));
        }
        let client = match &self.label {
            Some(label) => {
                Some(Name::new(label).map_err(|it| BadOption::name("label", label, it))?)
            }
            None => None,
        };
        Ok(Common {
            // It comes with each connection.
            token: None,
            client,
            heartbeat,
        })
    }

    /// Starts the task of a client, and waits for its first connection.
    pub(super) async fn start<S: State>(
        self,
        shared: Arc<Shared<S>>,
        address: &str,
    ) -> Result<(Accepted, AbortHandle), StartError> {
        let first = Arc::new(Mutex::new(None));
        let told = Arc::clone(&first);
        let mut on_change = self.on_change.unwrap_or_else(|| Box::new(|_| ()));
        let watched = move |change: &Change| {
            if let Change::Connected(accepted) = change {
                let mut first = told.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| accepted.clone());
            }
            on_change(change);
        };
        let link = Link::new(
            Arc::clone(&shared),
            address,
            self.token,
            self.retry,
            Box::new(watched),
        )
        .over(self.tls);
        let task = AbortOnDrop(Some(tokio::spawn(link.run()).abort_handle()));
        let accepted = shared.wait_for(|state| {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (first, state.gone()) {
                (Some(accepted), _) => Some(Ok(accepted)),
                (None, Some(gone)) => Some(Err(gone.clone())),
                (None, None) => None,
            }
        });
        let accepted = accepted.await?;
        Ok((accepted, task.keep()))
    }
}

/// A task that is not wanted any more where whoever started it gave up.
struct AbortOnDrop(Option<AbortHandle>);

impl AbortOnDrop {
    fn keep(mut self) -> AbortHandle {
        self.0.take().expect("it is kept once")
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
