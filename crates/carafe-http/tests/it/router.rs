//! A hub mounted in an app.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use carafe_http::auth::{Key, Keys, Signer};
use carafe_http::{HubExt, Options, Rights, router};
use carafe_hub::{Hub, HubLimits};
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use http_body_util::BodyExt;
use tower::ServiceExt;

fn hub() -> Hub {
    Hub::new(MemoryLog::default())
}

/// Clients without a token may do everything.
fn open() -> Options {
    {
        let mut options = Options::default();
        options.anonymous = Rights::all();
        options
    }
}

async fn publish(hub: &Hub, topic: &str, data: &str) {
    hub.publish(Publication::new(Topic::new(topic).unwrap(), data)).await.unwrap();
}

async fn ask(app: &Router, method: Method, path: &str) -> (StatusCode, Body) {
    let request = Request::builder().method(method).uri(path).body(Body::from("data")).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status(), response.into_body())
}

/// Everything that is there now.
async fn read(body: &mut Body) -> String {
    let mut read = String::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(1), body.frame()).await {
        read += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
    }
    read
}

#[tokio::test(start_paused = true)]
async fn a_hub_is_mounted_under_any_path() {
    let hub = hub();
    let app = Router::new().nest("/live", hub.router());
    let (status, mut body) = ask(&app, Method::GET, "/live/events/orders/1").await;
    assert_eq!(status, StatusCode::OK);
    publish(&hub, "orders/1", "one flat white").await;
    publish(&hub, "orders/2", "not for it").await;
    let read = read(&mut body).await;
    assert!(read.contains("\ndata: one flat white\nid: "), "{read}");
}

#[tokio::test(start_paused = true)]
async fn clients_without_a_token_publish_only_if_the_app_allows_it() {
    let hub = hub();
    assert_eq!(ask(&hub.router(), Method::POST, "/events/a").await.0, StatusCode::FORBIDDEN);
    let app = router(hub.clone(), open());
    assert_eq!(ask(&app, Method::POST, "/events/a").await.0, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn private_events_are_shown_only_if_the_app_allows_it() {
    let hub = hub();
    let secret = Publication::new(Topic::new("a").unwrap(), "secret").with_private(true);
    hub.publish(secret).await.unwrap();
    for (strangers, shown) in [(Rights::subscribe(), false), (Rights::all(), true)] {
        let app = router(hub.clone(), {
            let mut options = Options::default();
            options.anonymous = strangers;
            options
        });
        let (_, mut body) = ask(&app, Method::GET, "/events/a?earliest").await;
        assert_eq!(read(&mut body).await.contains("secret"), shown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_leaves_the_hub() {
    let hub = hub();
    let (_, mut body) = ask(&hub.router(), Method::GET, "/events/a").await;
    read(&mut body).await;
    assert_eq!(hub.subscriptions(), 1);
    drop(body);
    assert_eq!(hub.subscriptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_draining_hub_makes_streams_reconnect_and_publishers_try_again() {
    let hub = hub();
    let app = router(hub.clone(), open());
    let drain = hub.drain();
    let (status, body) = ask(&app, Method::GET, "/events/a").await;
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(status, StatusCode::OK, "EventSource never retries after 5xx");
    assert!(body.starts_with(b"retry: ") && body.ends_with(b"\n\n"), "{body:?}");
    assert_eq!(ask(&app, Method::POST, "/events/a").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&app, Method::GET, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&app, Method::GET, "/healthz").await.0, StatusCode::OK);
    assert_eq!(drain.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_distinct_complex_patterns_than_allowed_reconnect_later_until_one_is_free() {
    let limits = HubLimits::default().with_complex_patterns(1);
    let hub = Hub::with_limits(MemoryLog::default(), limits);
    let (app, complex) =
        (hub.router(), |digits| format!("/events?pattern=orders/(\\d{{{digits}}})"));
    let (first_status, first) = ask(&app, Method::GET, &complex(1)).await;
    assert_eq!(first_status, StatusCode::OK);
    assert_eq!(
        ask(&app, Method::GET, &complex(1)).await.0,
        StatusCode::OK,
        "the same one is shared"
    );
    let (status, body) = ask(&app, Method::GET, &complex(2)).await;
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(status, StatusCode::OK, "EventSource never retries after 5xx");
    assert!(body.starts_with(b"retry: ") && body.ends_with(b"\n\n"), "{body:?}");
    drop(first);
    let (_, mut second) = ask(&app, Method::GET, &complex(2)).await;
    assert!(read(&mut second).await.contains("carafe.position"));
}

/// The app of a hub that requires tokens, and a request for a stream whose token expires in a
/// minute.
async fn for_a_minute(hub: &Hub, target: &str) -> Body {
    let secret = b"a secret of more than thirty-two bytes";
    let app = router(hub.clone(), {
        let mut options = open();
        options.keys = Keys::new([Key::secret(secret).unwrap()]);
        options
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = serde_json::json!({"exp": now + 60});
    let bearer = format!("Bearer {}", Signer::secret(secret).unwrap().sign(&claims).unwrap());
    let request = Request::get(target).header("authorization", bearer).body(Body::empty()).unwrap();
    app.oneshot(request).await.unwrap().into_body()
}

async fn rest(body: Body) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_does_even_while_events_wait() {
    let hub = hub();
    let mut body = for_a_minute(&hub, "/events/a").await;
    publish(&hub, "a", "before").await;
    assert!(read(&mut body).await.contains("data: before\nid: "));
    tokio::time::sleep(Duration::from_secs(61)).await;
    publish(&hub, "a", "after").await;
    let rest = rest(body).await;
    assert!(rest.starts_with("event: carafe.expired\ndata: {\"position\":\""), "{rest}");
    assert!(!rest.contains("after"), "{rest}");
    assert_eq!(hub.subscriptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_reported_even_by_a_stream_whose_token_has_expired() {
    let hub = hub();
    publish(&hub, "a", "x").await;
    let body = for_a_minute(&hub, "/events/a?last_event_id=of-another-hub").await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let rest = rest(body).await;
    let (gap, expired) = (rest.find("event: carafe.gap"), rest.find("event: carafe.expired"));
    assert!(gap.is_some() && gap < expired, "{rest}");
}

#[tokio::test(start_paused = true)]
async fn without_keys_the_header_is_left_to_the_app_around_the_router() {
    let request = Request::get("/events/a").header("authorization", "Basic dXNlcjpwYXNz");
    let response = hub().router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
