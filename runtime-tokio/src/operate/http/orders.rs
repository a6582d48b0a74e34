//! What HTTP lets an operator do: end a connection or a group, empty the queue. `guard.rs` says who may.

use super::guard::{Caller, Denied};
use super::pages::Messages;
use super::view::{Disobeyed, View};
use crate::serve::orders::OrderError;
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use message_queue_core::ConnId;
use message_queue_core::access::Rights;
use message_queue_core::names::{Name, NameError, TopicName};
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::info;

/// Who asks: the other end of the connection of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator(pub(super) SocketAddr);

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("there is no connection {0:?}: a connection is named by its number")]
    NoNumber(String),
    #[error(transparent)]
    Disobeyed(#[from] Disobeyed),
    #[error("there is no topic or group {0:?}: {1}")]
    NoName(String, NameError),
}

/// `DELETE /connections/N`.
pub(super) async fn end(
    State(view): State<Arc<View>>,
    Extension(operator): Extension<Operator>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(number): Path<String>,
) -> Result<String, Refused> {
    caller.may(operator, &headers, Rights::may_administer_all)?;
    let Ok(conn) = number.parse().map(ConnId) else {
        return Err(Refused::NoNumber(number));
    };
    view.end(conn).await?;
    info!(operator = %operator.0, conn = %conn, "connection ended by an operator");
    Ok(format!("connection {} has been ended\n", conn.0))
}

/// `DELETE /topics/T/groups/G`.
pub(super) async fn end_group(
    State(view): State<Arc<View>>,
    Extension(operator): Extension<Operator>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path((topic, group)): Path<(String, String)>,
) -> Result<String, Refused> {
    let topic = TopicName::new(&topic).map_err(|error| Refused::NoName(topic, error))?;
    let group = Name::new(&group).map_err(|error| Refused::NoName(group, error))?;
    caller.may(operator, &headers, |it| it.may_administer(&topic))?;
    view.end_group(topic.clone(), group.clone()).await?;
    info!(operator = %operator.0, %topic, %group, "group ended by an operator");
    Ok(format!("group {group} of topic {topic} has been ended\n"))
}

/// `POST /queue/purge`.
pub(super) async fn purge(
    State(view): State<Arc<View>>,
    Extension(operator): Extension<Operator>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Json<Messages>, Refused> {
    caller.may(operator, &headers, Rights::may_administer_all)?;
    let purged = view.purge().await?;
    let (messages, bytes) = (purged.messages, purged.bytes);
    info!(operator = %operator.0, messages, bytes, "queue purged by an operator");
    Ok(Json(purged.into()))
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Denied(denied) => return denied.into_response(),
            Self::NoNumber(_) | Self::NoName(..) => StatusCode::NOT_FOUND,
            Self::Disobeyed(Disobeyed::Order(ref error)) => match error {
                OrderError::NoSuchConnection(_) | OrderError::NoSuchGroup { .. } => {
                    StatusCode::NOT_FOUND
                }
                OrderError::NoQueue | OrderError::Rules(_) | OrderError::NoGate => {
                    StatusCode::CONFLICT
                }
                OrderError::NotServing => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Disobeyed(Disobeyed::Unanswered(_)) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
