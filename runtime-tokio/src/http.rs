//! HTTP for operators: is it alive, does it take work, what has it counted, which consumer is slow.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 while the process can answer at all |
//! | `/ready` | 200 while new connections are taken, otherwise 503 |
//! | `/metrics` | the counters, for Prometheus |
//! | `/consumers` | every consumer, as JSON: what it took, missed and has yet to take |

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::metrics::{self, Metrics};
use crate::status::Status;

/// Serves what `status` tells. `started` is when the process started, as the time since the Unix
/// epoch.
pub fn router(status: Arc<dyn Status>, started: Duration) -> Router {
    let metrics = Arc::new(Metrics::new(Arc::clone(&status), started));
    Router::new()
        .route(
            "/ready",
            get(|State(it): State<Arc<dyn Status>>| async move { ready(&*it) }),
        )
        .route(
            "/consumers",
            get(|State(it): State<Arc<dyn Status>>| async move { Json(it.consumers()) }),
        )
        .with_state(status)
        .route(
            "/metrics",
            get(|State(it): State<Arc<Metrics>>| async move { scrape(&it) }),
        )
        .with_state(metrics)
        .route("/healthz", get(|| async { "ok\n" }))
}

fn ready(status: &dyn Status) -> (StatusCode, &'static str) {
    if status.ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: no new connections are taken\n",
        )
    }
}

fn scrape(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request};
    use tower::ServiceExt;

    use super::*;
    use crate::status::fixture::Still;

    /// Status, media type and body of the answer.
    async fn request(method: Method, path: &str, status: Still) -> (StatusCode, String, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let answer = router(Arc::new(status), Duration::ZERO)
            .oneshot(request)
            .await
            .unwrap();
        let code = answer.status();
        let kind = answer
            .headers()
            .get(CONTENT_TYPE)
            .map(|kind| kind.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (code, kind, String::from_utf8(body.into()).unwrap())
    }

    async fn get(path: &str, status: Still) -> (StatusCode, String, String) {
        request(Method::GET, path, status).await
    }

    #[tokio::test]
    async fn a_broker_that_does_not_take_connections_is_alive_but_not_ready() {
        for (ready, expected) in [
            (true, StatusCode::OK),
            (false, StatusCode::SERVICE_UNAVAILABLE),
        ] {
            let status = || Still {
                ready,
                ..Still::broadcast()
            };
            assert_eq!(get("/ready", status()).await.0, expected);
            assert_eq!(get("/healthz", status()).await.0, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn metrics_have_the_media_type_that_prometheus_asks_for() {
        let (code, kind, body) = get("/metrics", Still::broadcast()).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(
            kind,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(body.contains("\nmessage_queue_consumers 1\n"), "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn consumers_are_a_json_list() {
        let (code, kind, body) = get("/consumers", Still::broadcast()).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(kind, "application/json");
        let consumers: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            consumers,
            serde_json::json!([{
                "id": 1,
                "peer": "127.0.0.1:1001",
                "connected_seconds": 3.5,
                "delivered": { "messages": 1, "bytes": 5 },
                "dropped": { "backlog_messages": { "messages": 2, "bytes": 12 } },
                "backlog": { "messages": 2, "bytes": 10 },
                "in_flight": { "messages": 1, "bytes": 5 },
            }])
        );
    }

    #[tokio::test]
    async fn whatever_else_is_asked_for_is_refused() {
        assert_eq!(get("/", Still::broadcast()).await.0, StatusCode::NOT_FOUND);
        let (code, ..) = request(Method::POST, "/ready", Still::broadcast()).await;
        assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    }
}
