use super::orders::Operator;
use super::pages::Consumer;
use super::*;
use crate::access::{Digest, Gate, Policy};
use crate::serve::survey::ConsumerStatus;
use crate::settings::HttpAuth;
use crate::{Handle, Server};
use axum::body::{Body, to_bytes};
use axum::http::{Request, request};
use message_queue_core::access::Rights;
use message_queue_core::names::{Name, Pattern};
use message_queue_core::{ConnId, Count, DropReason};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// A broker that serves.
async fn broker() -> Handle {
    let server = Server::new(Default::default(), Default::default());
    let broker = server.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tokio::spawn(server.serve(listener));
    broker
}

/// Status, media type and body of the answer.
async fn answer(
    request: request::Builder,
    broker: &Handle,
) -> (StatusCode, Option<String>, String) {
    guarded(Guard::default(), request, broker).await
}

/// The same, where not everybody is answered.
async fn guarded(
    guard: Guard,
    request: request::Builder,
    broker: &Handle,
) -> (StatusCode, Option<String>, String) {
    let request = request.body(Body::empty()).unwrap();
    let view = Arc::new(View::new(Arc::default()));
    view.show(broker.clone());
    let router = router(view, guard, Arc::default());
    let answer = router.oneshot(request).await.unwrap();
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
    let broker = broker().await;
    assert_eq!(
        code("/ready", &broker).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(code("/healthz", &broker).await, StatusCode::OK);
    while !broker.is_ready() {
        tokio::task::yield_now().await;
    }
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
        let (code, kind, body) = answer(request, &broker().await).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(kind.as_deref(), Some(media_type));
        assert!(body.contains("\nmessage_queue_consumers 0\n"), "{body}");
        assert!(body.ends_with(end), "{body}");
    }
}

#[tokio::test]
async fn consumers_are_a_json_list() {
    let (code, kind, body) = answer(Request::get("/consumers"), &broker().await).await;
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
        principal: Some(Name::new("worker").unwrap()),
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
            "principal": "worker",
            "connected_seconds": 3.5,
            "delivered": { "messages": 1, "bytes": 5 },
            "dropped": { "backlog_bytes": { "messages": 2, "bytes": 12 } },
            "backlog": { "messages": 4, "bytes": 20 },
            "in_flight": { "messages": 3, "bytes": 15 },
        })
    );
}

#[tokio::test]
async fn the_index_lists_what_is_answered_in_the_form_that_is_asked_for() {
    let broker = broker().await;
    while !broker.is_ready() {
        tokio::task::yield_now().await;
    }
    let (status, kind, text) = answer(Request::get("/"), &broker).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(kind.as_deref(), Some("text/plain; charset=utf-8"));
    for (path, _) in PATHS {
        assert!(text.contains(&format!("\n{path} ")), "{text}");
        let path = path.replace("/T", "/default");
        assert_eq!(code(&path, &broker).await, StatusCode::OK, "{path}");
    }
    let request = Request::get("/").header(ACCEPT, "application/json");
    let (_, kind, json) = answer(request, &broker).await;
    assert_eq!(kind.as_deref(), Some("application/json"));
    let paths: BTreeMap<String, String> = serde_json::from_str(&json).unwrap();
    assert!(
        paths.keys().eq(PATHS
            .into_iter()
            .chain(ORDERS)
            .collect::<BTreeMap<_, _>>()
            .keys())
    );
}

#[tokio::test]
async fn the_queue_is_shown_while_nobody_consumes() {
    let (code, _, body) = answer(Request::get("/queue"), &broker().await).await;
    assert_eq!(code, StatusCode::OK);
    let nothing = serde_json::json!({ "messages": 0, "bytes": 0 });
    let queue: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(queue["delivery_mode"], "broadcast");
    assert_eq!(queue["waiting"], nothing);
    assert_eq!(queue["oldest_age_seconds"], 0.0);
    assert_eq!(queue["backlog_limit"]["messages"], 10_000);
}

#[tokio::test]
async fn whatever_else_is_asked_for_is_refused() {
    assert_eq!(
        code("/nothing", &broker().await).await,
        StatusCode::NOT_FOUND
    );
    let (code, ..) = answer(Request::post("/ready"), &broker().await).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn orders_are_taken_from_the_same_machine_alone() {
    let broker = broker().await;
    let order = |from: &str| {
        let from: IpAddr = from.parse().unwrap();
        Request::delete("/connections/7").extension(Operator((from, 1234).into()))
    };
    for from in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        let (code, _, text) = answer(order(from), &broker).await;
        assert_eq!(code, StatusCode::NOT_FOUND, "{from}");
        assert_eq!(text, "there is no connection 7\n");
    }
    for (from, named) in [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ] {
        let (code, _, text) = answer(order(from), &broker).await;
        assert_eq!(code, StatusCode::FORBIDDEN, "{from}");
        assert!(text.ends_with(&format!("comes from {named}\n")), "{text}");
        let purge =
            Request::post("/queue/purge").extension(Operator((Ipv4Addr::BROADCAST, 1).into()));
        assert_eq!(answer(purge, &broker).await.0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn no_order_is_taken_from_a_web_page_or_through_a_proxy() {
    let broker = broker().await;
    for header in ["origin", "forwarded", "x-forwarded-for"] {
        let order = Request::post("/queue/purge")
            .extension(Operator((Ipv4Addr::LOCALHOST, 1234).into()))
            .header(header, "http://example.com");
        let (code, _, text) = answer(order, &broker).await;
        assert_eq!(code, StatusCode::FORBIDDEN);
        assert!(text.contains(&format!("the header {header}")), "{text}");
    }
}

/// The token `root` is of an admin of everything, `jobs` of one of the topic jobs, `none` of somebody else.
fn gate() -> Gate {
    let mut policy = Policy::new();
    let admin = |topics: &str| Rights {
        admin: vec![Pattern::new(topics).unwrap()],
        ..Rights::default()
    };
    for (token, rights) in [
        ("root", admin(">")),
        ("jobs", admin("jobs")),
        ("none", Rights::default()),
    ] {
        let name = Name::new(token).unwrap();
        policy.add_token(Digest::of(token), name, rights).unwrap();
    }
    Gate::new(policy)
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_to_whom_is_as_it_was_set() {
    let broker = broker().await;
    while !broker.is_ready() {
        tokio::task::yield_now().await;
    }
    use HttpAuth::{All, Metrics, Open};
    use StatusCode as Code;
    for (shown, path, token, code) in [
        (Open, "/topics", None, Code::OK),
        (Open, "/topics", Some("none"), Code::OK),
        (Open, "/topics", Some("wrong"), Code::UNAUTHORIZED),
        (Metrics, "/metrics", None, Code::OK),
        (Metrics, "/topics", None, Code::UNAUTHORIZED),
        (Metrics, "/", None, Code::UNAUTHORIZED),
        (Metrics, "/topics", Some("none"), Code::FORBIDDEN),
        (Metrics, "/topics", Some("jobs"), Code::OK),
        (All, "/metrics", None, Code::UNAUTHORIZED),
        (All, "/metrics", Some("wrong"), Code::UNAUTHORIZED),
        (All, "/metrics", Some("root"), Code::OK),
        (All, "/healthz", None, Code::OK),
        (All, "/ready", Some("wrong"), Code::OK),
    ] {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let guard = Guard::new(Some(gate()), shown);
        let (got, _, text) = guarded(guard, request, &broker).await;
        assert_eq!(got, code, "{shown:?} {path} {token:?}: {text}");
        assert!(!text.contains("wrong"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn orders_need_the_right_admin_wherever_there_are_tokens() {
    let broker = broker().await;
    use StatusCode as Code;
    let order = |path: &str, scheme: &str, token: &str| {
        // From the same machine that does not help.
        Request::delete(path)
            .extension(Operator((Ipv4Addr::LOCALHOST, 1).into()))
            .header("authorization", format!("{scheme} {token}"))
    };
    let (connection, group) = ("/connections/7", "/topics/jobs/groups/g");
    for (path, scheme, token, code) in [
        // There is none: it was looked for.
        (connection, "Bearer", "root", Code::NOT_FOUND),
        (connection, "bearer", "root", Code::NOT_FOUND),
        (connection, "Bearer", "jobs", Code::FORBIDDEN),
        (connection, "Bearer", "none", Code::FORBIDDEN),
        (connection, "Bearer", "wrong", Code::UNAUTHORIZED),
        (connection, "Basic", "root", Code::UNAUTHORIZED),
        (group, "Bearer", "jobs", Code::NOT_FOUND),
        ("/topics/other/groups/g", "Bearer", "jobs", Code::FORBIDDEN),
    ] {
        let guard = Guard::new(Some(gate()), HttpAuth::Open);
        let (got, _, text) = guarded(guard, order(path, scheme, token), &broker).await;
        assert_eq!(got, code, "{path} {scheme} {token}: {text}");
    }
    let local = Request::delete(connection).extension(Operator((Ipv4Addr::LOCALHOST, 1).into()));
    let guard = Guard::new(Some(gate()), HttpAuth::Open);
    assert_eq!(guarded(guard, local, &broker).await.0, Code::UNAUTHORIZED);
}

#[tokio::test]
async fn orders_that_cannot_be_carried_out_say_why() {
    let broker = broker().await;
    let operator = Operator((Ipv4Addr::LOCALHOST, 1234).into());
    let purge = Request::post("/queue/purge").extension(operator);
    let (code, _, text) = answer(purge, &broker).await;
    assert_eq!(code, StatusCode::CONFLICT);
    assert!(text.contains("no queue in broadcast mode"), "{text}");
    for number in ["x", "-1", "99999999999999999999"] {
        let end = Request::delete(format!("/connections/{number}")).extension(operator);
        let (code, _, text) = answer(end, &broker).await;
        assert_eq!(code, StatusCode::NOT_FOUND);
        assert!(
            text.contains(&format!("no connection \"{number}\"")),
            "{text}"
        );
    }
    for wrong in [
        Request::get("/queue/purge"),
        Request::delete("/queue"),
        Request::get("/connections/7"),
        Request::post("/connections/7"),
    ] {
        let (code, ..) = answer(wrong.extension(operator), &broker).await;
        assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn nothing_is_done_by_a_broker_that_does_not_serve() {
    let server = Server::new(Default::default(), Default::default());
    let broker = server.handle();
    drop(server);
    let purge = Request::post("/queue/purge").extension(Operator((Ipv4Addr::LOCALHOST, 1).into()));
    let (code, _, text) = answer(purge, &broker).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text, "the broker does not serve\n");
}
