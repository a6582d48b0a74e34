//! HTTP for operators: is it alive, does it take work, what has it counted, which consumer is slow.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 while the process can answer at all |
//! | `/ready` | 200 while new connections are taken, otherwise 503 |
//! | `/metrics` | the counters, for Prometheus |
//! | `/consumers` | every consumer, as JSON: what it took, missed and has yet to take |

use super::metrics::{Format, Metrics};
use crate::{ConsumerStatus, Handle};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use message_queue_core::{Count, DropReason};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Serves what there is to see of `broker`.
pub fn router(broker: Handle) -> Router {
    router_with(broker, Metrics::default())
}

/// As [`router`], with these metrics.
pub fn router_with(broker: Handle, metrics: Metrics) -> Router {
    let scraped = (broker.clone(), Arc::new(metrics));
    Router::new()
        .route(
            "/ready",
            get(|State(it): State<Handle>| async move { ready(&it) }),
        )
        .route(
            "/consumers",
            get(|State(it): State<Handle>| async move { consumers(&it) }),
        )
        .with_state(broker)
        .route(
            "/metrics",
            get(
                |State((broker, metrics)): State<(Handle, Arc<Metrics>)>, headers: HeaderMap| async move {
                    scrape(&broker, &metrics, &headers)
                },
            ),
        )
        .with_state(scraped)
        .route("/healthz", get(|| async { "ok\n" }))
}

fn ready(broker: &Handle) -> (StatusCode, &'static str) {
    if broker.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

fn consumers(broker: &Handle) -> Json<Vec<Consumer>> {
    Json(broker.consumers().into_iter().map(Consumer::from).collect())
}

fn scrape(broker: &Handle, metrics: &Metrics, headers: &HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    let about = [(CONTENT_TYPE, format.media_type()), (VARY, ACCEPT.as_str())];
    match metrics.encode(broker.snapshot(), format) {
        Ok(text) => (about, text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// One consumer, as `/consumers` shows it.
#[derive(Debug, Serialize)]
struct Consumer {
    /// The number of its connection, which is also in the log.
    id: u64,
    peer: SocketAddr,
    connected_seconds: f64,
    delivered: Messages,
    /// What it alone has missed, by the name of the reason; reasons without a message are left
    /// out. Always empty in queue mode.
    dropped: BTreeMap<&'static str, Messages>,
    /// What waits for it, or, in queue mode, for whoever is free.
    backlog: Messages,
    /// The write that its socket has not wholly taken yet.
    in_flight: Messages,
}

#[derive(Debug, Serialize)]
struct Messages {
    messages: u64,
    bytes: u64,
}

impl From<ConsumerStatus> for Consumer {
    fn from(status: ConsumerStatus) -> Self {
        Self {
            id: status.conn.0,
            peer: status.addr,
            connected_seconds: status.connected.as_secs_f64(),
            delivered: status.delivered.into(),
            dropped: DropReason::ALL
                .into_iter()
                .map(|reason| (reason.as_str(), status.dropped[reason.index()]))
                .filter(|(_, count)| !count.is_zero())
                .map(|(reason, count)| (reason, count.into()))
                .collect(),
            backlog: status.backlog.into(),
            in_flight: status.in_flight.into(),
        }
    }
}

impl From<Count> for Messages {
    fn from(Count { messages, bytes }: Count) -> Self {
        Self { messages, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, request};
    use message_queue_core::wire::DecoderConfig;
    use message_queue_core::{Config, ConnId};
    use std::net::Ipv4Addr;
    use std::time::Duration;
    use tower::ServiceExt;

    fn broker() -> Handle {
        Server::new(Config::default(), DecoderConfig::default()).handle()
    }

    /// Status, media type and body of the answer.
    async fn answer(
        request: request::Builder,
        broker: &Handle,
    ) -> (StatusCode, Option<String>, String) {
        let request = request.body(Body::empty()).unwrap();
        let answer = router(broker.clone()).oneshot(request).await.unwrap();
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        let code = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (code, kind, String::from_utf8(body.into()).unwrap())
    }

    async fn code(path: &str, broker: &Handle) -> StatusCode {
        answer(Request::get(path), broker).await.0
    }

    #[tokio::test]
    async fn ready_from_listening_to_draining_and_alive_throughout() {
        let broker = broker();
        assert_eq!(
            code("/ready", &broker).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(code("/healthz", &broker).await, StatusCode::OK);
        broker.set_ready(true);
        assert_eq!(code("/ready", &broker).await, StatusCode::OK);
        broker.drain(Duration::from_secs(1));
        assert_eq!(
            code("/ready", &broker).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(code("/healthz", &broker).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_that_is_asked_for_with_its_media_type() {
        for (accept, media_type, end) in [
            ("*/*", "text/plain; version=0.0.4; charset=utf-8", "} 0\n"),
            (
                "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "# EOF\n",
            ),
        ] {
            let request = Request::get("/metrics").header(ACCEPT, accept);
            let (code, kind, body) = answer(request, &broker()).await;
            assert_eq!(code, StatusCode::OK);
            assert_eq!(kind.as_deref(), Some(media_type));
            assert!(body.contains("\nmessage_queue_consumers 0\n"), "{body}");
            assert!(body.ends_with(end), "{body}");
        }
    }

    #[tokio::test]
    async fn consumers_are_a_json_list() {
        let (code, kind, body) = answer(Request::get("/consumers"), &broker()).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(kind.as_deref(), Some("application/json"));
        assert_eq!(body, "[]");
    }

    #[test]
    fn a_slow_consumer_shows() {
        let mut dropped = [Count::ZERO; DropReason::COUNT];
        dropped[DropReason::BacklogBytes.index()] = Count {
            messages: 2,
            bytes: 12,
        };
        let consumer = Consumer::from(ConsumerStatus {
            conn: ConnId(7),
            addr: (Ipv4Addr::LOCALHOST, 1234).into(),
            connected: Duration::from_millis(3_500),
            delivered: Count {
                messages: 1,
                bytes: 5,
            },
            in_flight: Count {
                messages: 3,
                bytes: 15,
            },
            backlog: Count {
                messages: 4,
                bytes: 20,
            },
            dropped,
        });
        assert_eq!(
            serde_json::to_value(consumer).unwrap(),
            serde_json::json!({
                "id": 7,
                "peer": "127.0.0.1:1234",
                "connected_seconds": 3.5,
                "delivered": { "messages": 1, "bytes": 5 },
                "dropped": { "backlog_bytes": { "messages": 2, "bytes": 12 } },
                "backlog": { "messages": 4, "bytes": 20 },
                "in_flight": { "messages": 3, "bytes": 15 },
            })
        );
    }

    #[tokio::test]
    async fn whatever_else_is_asked_for_is_refused() {
        assert_eq!(code("/", &broker()).await, StatusCode::NOT_FOUND);
        let (code, ..) = answer(Request::post("/ready"), &broker()).await;
        assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    }
}
