//! HTTP for operators: is it alive, does it take work, what has it counted, which consumer is slow.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 while the broker runs; 503 if the loop that serves has not come round for 30 s |
//! | `/ready` | 200 while new connections are taken, otherwise 503 and why: `recovering`, `disk full`, `not ready` |
//! | `/metrics` | the counters, for Prometheus |
//! | `/queue` | what waits, as JSON |
//! | `/consumers` | every consumer, as JSON: what it took, missed and has yet to take |
//! | `/producers` | every producer, as JSON |
//! | `/topics` | every topic, as JSON |
//! | `/topics/T` | a topic with its groups and their members, as JSON |
//! | `/` | this list |
//! | `DELETE /connections/N` | ends a connection; for admins |
//! | `DELETE /topics/T/groups/G` | ends a named group; for admins |
//! | `POST /queue/purge` | empties the queue; for admins |
//!
//! An admin has a token, or is on the same machine (`guard.rs`).
//!
//! It has a thread of its own (`thread.rs`), so that it answers however busy the broker is, and
//! never takes the core's lock (`view.rs`). `orders.rs`: what changes something.

pub(crate) mod guard;
mod orders;
mod pages;
mod server;
mod stats;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
mod topics;
pub(crate) mod view;

pub(crate) use stats::{Closed, HttpCounts, HttpStats};

use super::metrics::{Format, Metrics};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use guard::Guard;
use std::collections::BTreeMap;
use std::sync::Arc;
use view::{Unanswered, View};

/// What can be asked for, as the index lists it.
const PATHS: [(&str, &str); 8] = [
    ("/healthz", "200 while the broker runs"),
    (
        "/ready",
        "200 while new connections are taken, otherwise 503",
    ),
    ("/metrics", "what has been counted, for Prometheus"),
    ("/queue", "what waits, as JSON"),
    ("/consumers", "every consumer, as JSON"),
    ("/producers", "every producer, as JSON"),
    ("/topics", "every topic, as JSON"),
    (
        "/topics/T",
        "the topic of this name, its groups and their members, as JSON",
    ),
];

/// What can be done, as the index lists it.
const ORDERS: [(&str, &str); 3] = [
    (
        "DELETE /connections/N",
        "ends the connection with this number; for admins, or from the same machine",
    ),
    (
        "DELETE /topics/T/groups/G",
        "ends a named group and drops what waits in it; for admins, or from the same machine",
    ),
    (
        "POST /queue/purge",
        "drops what waits in the queue; for admins, or from the same machine",
    ),
];

/// Answers what there is to see, and does what there is to do.
fn router(view: Arc<View>, guard: Guard, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .with_state((Arc::clone(&view), metrics))
        .route("/healthz", get(healthz))
        .route("/ready", get(ready))
        .route("/queue", get(queue))
        .route("/consumers", get(consumers))
        .route("/producers", get(producers))
        .route("/topics", get(topics::all))
        .route("/topics/{topic}", get(topics::one))
        .route("/topics/{topic}/groups/{group}", delete(orders::end_group))
        .route("/connections/{number}", delete(orders::end))
        .route("/queue/purge", post(orders::purge))
        .route("/", get(index))
        .with_state(view)
        .layer(from_fn_with_state(guard, guard::check))
}

async fn healthz(State(view): State<Arc<View>>) -> (StatusCode, &'static str) {
    if view.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        let why = "the loop that serves connections has not come round for 30 s\n";
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

async fn ready(State(view): State<Arc<View>>) -> (StatusCode, String) {
    match view.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn consumers(
    State(view): State<Arc<View>>,
) -> Result<Json<Vec<pages::Consumer>>, Unanswered> {
    let overview = view.overview().await?;
    let consumers = overview.consumers.into_iter();
    Ok(Json(consumers.map(pages::Consumer::from).collect()))
}

async fn producers(
    State(view): State<Arc<View>>,
) -> Result<Json<Vec<pages::Producer>>, Unanswered> {
    let overview = view.overview().await?;
    let producers = overview.producers.into_iter();
    Ok(Json(producers.map(pages::Producer::from).collect()))
}

async fn queue(State(view): State<Arc<View>>) -> Result<Json<pages::Queue>, Unanswered> {
    let (snapshot, _) = view.snapshot().await?;
    Ok(Json(snapshot.into()))
}

/// As text, or as JSON for those who ask for it.
async fn index(headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/json")) {
        let paths: BTreeMap<_, _> = PATHS.into_iter().chain(ORDERS).collect();
        return ([(VARY, ACCEPT.as_str())], Json(paths)).into_response();
    }
    let mut text = String::from("message-queue\n\n");
    for (path, what) in PATHS.into_iter().chain(ORDERS) {
        text.push_str(&format!("{path:<25} {what}\n"));
    }
    ([(VARY, ACCEPT.as_str())], text).into_response()
}

async fn scrape(
    State((view, metrics)): State<(Arc<View>, Arc<Metrics>)>,
    headers: HeaderMap,
) -> Result<Response, Unanswered> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    let about = [(CONTENT_TYPE, format.media_type()), (VARY, ACCEPT.as_str())];
    let (snapshot, age) = view.snapshot().await?;
    Ok(match metrics.encode(snapshot, age, format) {
        Ok(text) => (about, text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    })
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}
