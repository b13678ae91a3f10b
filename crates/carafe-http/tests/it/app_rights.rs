//! Rights that a middleware of the app decides on.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{Request, Response};
use axum::{Extension, Router};
use carafe_http::auth::{Key, Keys};
use carafe_http::{Mercure, Options, Origins, PublishRate, Rate, Rights, router};
use carafe_hub::{Access, Grant, Hub};
use carafe_log::MemoryLog;
use carafe_protocol::TopicMatcher;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

const MERCURE: &str = "/.well-known/mercure";

/// To the app's users; clients without a token may do nothing.
fn options() -> Options {
    let mut options = Options::default();
    options.anonymous = Rights::none();
    options.keys = Keys::new([Key::secret(b"a secret of more than thirty-two bytes").unwrap()]);
    options.mercure = Some(Mercure::default());
    options
}

fn app(options: Options, rights: Rights) -> Router {
    router(Hub::new(MemoryLog::default()), options).layer(Extension(rights))
}

fn grant(matcher: &str) -> Grant {
    Grant::to([TopicMatcher::parse(matcher).unwrap()])
}

fn user() -> Rights {
    let own = Rights::none().with_publish(grant("users/7/*"));
    own.with_subscribe(Access::to(grant("users/7/*"))).with_identity("7")
}

fn get(target: &str) -> Request<Body> {
    Request::get(target).header("host", "app.example").body(Body::empty()).unwrap()
}

fn publish(target: &str, origin: Option<&str>) -> Request<Body> {
    let request = Request::post(target).header("host", "app.example");
    let request = origin.into_iter().fold(request, |it, origin| it.header("origin", origin));
    match target {
        MERCURE => request
            .header("content-type", "application/x-www-form-urlencoded")
            .body("topic=users/7/orders&data=x".into()),
        _ => request.body("x".into()),
    }
    .unwrap()
}

async fn ask(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

#[track_caller]
fn check_forbidden(response: &Response<Body>) {
    assert_eq!(response.status(), 403);
    assert!(!response.headers().contains_key("www-authenticate"), "it is not about tokens");
}

#[tokio::test]
async fn an_app_decides_what_a_request_may_do() {
    let app = app(options(), user());
    for granted in [get("/events/users/7/orders"), get("/.well-known/mercure?topic=users/7/orders")]
    {
        assert_eq!(ask(&app, granted).await.status(), 200);
    }
    check_forbidden(&ask(&app, get("/events/users/8/orders")).await);
    assert_eq!(ask(&app, publish("/events/users/7/orders", None)).await.status(), 201);
    check_forbidden(&ask(&app, publish("/events/users/8/orders", None)).await);
    assert_eq!(ask(&app, publish(MERCURE, None)).await.status(), 200);
}

#[tokio::test]
async fn rights_of_an_app_replace_those_of_tokens_and_of_anonymous_clients() {
    let mut options = options();
    options.anonymous = Rights::all();
    let app = app(options, user());
    check_forbidden(&ask(&app, publish("/events/users/8/orders", None)).await);
    // The router does not look at it: it may be meant for the app.
    let mut with_token = get("/events/users/7/orders");
    with_token.headers_mut().insert("authorization", "Bearer of bad news".parse().unwrap());
    assert_eq!(ask(&app, with_token).await.status(), 200);
}

#[tokio::test]
async fn a_request_whose_rights_have_ended_is_rejected() {
    let app = app(options(), user().with_expiry(SystemTime::now()));
    for request in [
        get("/events/users/7/orders"),
        get("/.well-known/mercure?topic=users/7/orders"),
        publish("/events/users/7/orders", None),
    ] {
        check_forbidden(&ask(&app, request).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_rights_of_its_user() {
    let expiry = SystemTime::now() + Duration::from_secs(60);
    let app = app(options(), user().with_expiry(expiry));
    let response = ask(&app, get("/events/users/7/orders")).await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(str::from_utf8(&text).unwrap().contains("event: carafe.expired\n"), "{text:?}");
}

#[tokio::test]
async fn only_the_apps_own_and_listed_pages_publish_in_a_users_name() {
    let mut options = options();
    options.origins = Origins::new(&["https://partner.example".parse().unwrap()]);
    let app = app(options, user());
    for target in ["/events/users/7/orders", MERCURE] {
        for origin in [None, Some("https://app.example"), Some("https://partner.example")] {
            let response = ask(&app, publish(target, origin)).await;
            assert!(response.status().is_success(), "{target} from {origin:?}");
        }
        for origin in ["https://evil.example", "null"] {
            let response = ask(&app, publish(target, Some(origin))).await;
            check_forbidden(&response);
            let problem = response.into_body().collect().await.unwrap().to_bytes();
            let problem: Value = serde_json::from_slice(&problem).unwrap();
            assert_eq!(problem["type"], "urn:carafe:problem:foreign-origin", "{target}");
        }
    }
}

#[tokio::test]
async fn limits_distinguish_the_users_of_an_app() {
    let mut options = options();
    options.publish_rate =
        PublishRate::new(Some(Rate::new(NonZeroU32::MIN, Duration::from_secs(3600))));
    let hub = router(Hub::new(MemoryLog::default()), options);
    for (name, status) in [("7", 201), ("7", 429), ("8", 201), ("8", 429)] {
        let app = hub.clone().layer(Extension(Rights::all().with_identity(name)));
        assert_eq!(ask(&app, publish("/events/a", None)).await.status(), status, "{name}");
    }
}
