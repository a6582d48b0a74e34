//! What HTTP lets an operator do: end a connection or a group, empty the queue. There are no rights, so only
//! whoever is on the broker's own machine may.

use super::pages::Messages;
use super::view::{Disobeyed, View};
use crate::serve::orders::OrderError;
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::header::{FORWARDED, HeaderName, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use message_queue_core::ConnId;
use message_queue_core::names::{Name, NameError, TopicName};
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::info;

/// The headers by which a request shows that it was not made where it comes from: a web page has a
/// browser send it, or a proxy passes it on.
const ON_BEHALF: [HeaderName; 3] = [
    ORIGIN,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
];

/// Who asks: the other end of the connection of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator(pub(super) SocketAddr);

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "this is answered only to a client on the broker's own machine (127.0.0.1 or ::1); the \
         request comes from {}",
        .0.ip().to_canonical()
    )]
    Elsewhere(SocketAddr),
    #[error(
        "this is answered only to a client on the broker's own machine; the request has the header \
         {0}, so it was passed on by a proxy or made by a web page"
    )]
    OnBehalf(HeaderName),
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
    headers: HeaderMap,
    Path(number): Path<String>,
) -> Result<String, Refused> {
    operator.check(&headers)?;
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
    headers: HeaderMap,
    Path((topic, group)): Path<(String, String)>,
) -> Result<String, Refused> {
    operator.check(&headers)?;
    let topic = TopicName::new(&topic).map_err(|error| Refused::NoName(topic, error))?;
    let group = Name::new(&group).map_err(|error| Refused::NoName(group, error))?;
    view.end_group(topic.clone(), group.clone()).await?;
    info!(operator = %operator.0, %topic, %group, "group ended by an operator");
    Ok(format!("group {group} of topic {topic} has been ended\n"))
}

/// `POST /queue/purge`.
pub(super) async fn purge(
    State(view): State<Arc<View>>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
) -> Result<Json<Messages>, Refused> {
    operator.check(&headers)?;
    let purged = view.purge().await?;
    let (messages, bytes) = (purged.messages, purged.bytes);
    info!(operator = %operator.0, messages, bytes, "queue purged by an operator");
    Ok(Json(purged.into()))
}

impl Operator {
    fn check(self, headers: &HeaderMap) -> Result<(), Refused> {
        // An IPv4 client of an IPv6 socket comes from ::ffff:127.0.0.1.
        if !self.0.ip().to_canonical().is_loopback() {
            return Err(Refused::Elsewhere(self.0));
        }
        let on_behalf = ON_BEHALF.into_iter().find(|it| headers.contains_key(it));
        on_behalf.map_or(Ok(()), |header| Err(Refused::OnBehalf(header)))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Elsewhere(_) | Self::OnBehalf(_) => StatusCode::FORBIDDEN,
            Self::NoNumber(_) | Self::NoName(..) => StatusCode::NOT_FOUND,
            Self::Disobeyed(Disobeyed::Order(error)) => match error {
                OrderError::NoSuchConnection(_) | OrderError::NoSuchGroup { .. } => {
                    StatusCode::NOT_FOUND
                }
                OrderError::NoQueue | OrderError::Rules(_) => StatusCode::CONFLICT,
                OrderError::NotServing => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::Disobeyed(Disobeyed::Unanswered(_)) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
