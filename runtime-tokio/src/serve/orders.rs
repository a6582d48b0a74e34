//! What an operator has done to a broker: carried out by the loop that serves, so that whoever asks
//! takes no lock from it.

use super::driver::Driver;
use super::identify::PolicyChange;
use crate::access::Policy;
use message_queue_core::names::{Name, TopicName};
use message_queue_core::{ConnId, Count, NeedsRestart, TopicChange, TopicRule};
use tokio::sync::{mpsc, oneshot};

/// The most orders that wait. Whoever has another waits with it.
const MOST_WAITING: usize = 16;

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No connection has this number, or it has ended or is being ended.
    #[error("there is no connection {}", .0.0)]
    NoSuchConnection(ConnId),
    /// The broker is in `broadcast` mode.
    #[error("there is no queue in broadcast mode: each consumer has a backlog of its own")]
    NoQueue,
    /// No topic has a group of this name that could be ended.
    #[error("there is no named group {group} in the topic {topic}")]
    NoSuchGroup {
        /// The topic.
        topic: TopicName,
        /// The group.
        group: Name,
    },
    /// The broker cannot take these rules while it runs.
    #[error(transparent)]
    Rules(NeedsRestart),
    /// The broker asks nobody who they are.
    #[error(
        "the broker was started without authentication (AUTH_TOKENS_FILE): that needs a restart"
    )]
    NoGate,
    /// Nobody serves: not yet, or not any more.
    #[error("the broker does not serve")]
    NotServing,
}

/// An order, and who waits for its outcome.
#[derive(Debug)]
pub(crate) enum Order {
    End(ConnId, Answer<()>),
    EndGroup(TopicName, Name, Answer<()>),
    SetRules(Vec<TopicRule>, Answer<Vec<TopicChange>>),
    SetPolicy(Policy, Answer<PolicyChange>),
    Purge(Answer<Count>),
}

type Answer<T> = oneshot::Sender<Result<T, OrderError>>;

/// Where orders are given.
#[derive(Clone, Debug)]
pub(crate) struct Orders(mpsc::Sender<Order>);

impl Orders {
    /// Returns it, and where the orders come out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self(sender), receiver)
    }

    /// Gives an order, and waits until it has been carried out.
    pub(crate) async fn give<T>(
        &self,
        order: impl FnOnce(Answer<T>) -> Order,
    ) -> Result<T, OrderError> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.0.send(order(answer)).await;
        sent.map_err(|_| OrderError::NotServing)?;
        outcome.await.unwrap_or(Err(OrderError::NotServing))
    }
}

impl Order {
    /// Carries it out, unless whoever gave it has lost patience.
    pub(crate) fn carry_out(self, driver: &Driver) {
        match self {
            Self::End(conn, answer) if !answer.is_closed() => {
                let found = driver.end(conn);
                tell(
                    answer,
                    found
                        .then_some(())
                        .ok_or(OrderError::NoSuchConnection(conn)),
                );
            }
            Self::Purge(answer) if !answer.is_closed() => {
                tell(answer, driver.purge().ok_or(OrderError::NoQueue));
            }
            Self::EndGroup(topic, group, answer) if !answer.is_closed() => {
                let found = driver.end_group(&topic, &group);
                let missing = OrderError::NoSuchGroup { topic, group };
                tell(answer, found.then_some(()).ok_or(missing));
            }
            Self::SetRules(rules, answer) if !answer.is_closed() => {
                tell(answer, driver.set_rules(rules).map_err(OrderError::Rules));
            }
            Self::SetPolicy(policy, answer) if !answer.is_closed() => {
                tell(answer, driver.set_policy(policy).ok_or(OrderError::NoGate));
            }
            Self::SetPolicy(..)
            | Self::End(..)
            | Self::EndGroup(..)
            | Self::SetRules(..)
            | Self::Purge(_) => {}
        }
    }
}

fn tell<T>(answer: Answer<T>, outcome: Result<T, OrderError>) {
    // Nobody waits any more: then nobody misses it.
    let _ = answer.send(outcome);
}
