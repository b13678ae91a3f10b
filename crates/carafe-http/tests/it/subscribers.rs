//! How many streams request a topic, as the console asks.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use carafe_http::{Mercure, Options, Page, Rights, router};
use carafe_hub::Hub;
use carafe_log::MemoryLog;
use http_body_util::BodyExt;
use tower::ServiceExt;

fn app(page: Page, anonymous: Rights) -> Router {
    let mut options = Options::default();
    options.anonymous = anonymous;
    options.page = page;
    options.mercure = Some(Mercure::default());
    router(Hub::new(MemoryLog::default()), options)
}

async fn ask(app: &Router, method: Method, path: &str) -> (StatusCode, Body) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status(), response.into_body())
}

async fn get(app: &Router, path: &str) -> (StatusCode, String) {
    let (status, body) = ask(app, Method::GET, path).await;
    let body = body.collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[track_caller]
fn check((status, body): &(StatusCode, String), json: &str) {
    assert_eq!((*status, body.as_str()), (StatusCode::OK, json));
}

#[tokio::test]
async fn the_console_is_told_how_many_streams_request_a_topic() {
    let app = app(Page::Console, Rights::all());
    let path = "/console/subscribers?topic=a&topic=b/1&topic=c";
    check(&get(&app, path).await, r#"{"a":0,"b/1":0,"c":0}"#);
    let mut streams = Vec::new();
    for path in [
        "/events/a",
        "/events?topic=a&topic=b/1",
        "/events?pattern=b/*",
        "/events",
        "/.well-known/mercure?topic=a",
    ] {
        let (status, body) = ask(&app, Method::GET, path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        streams.push(body);
    }
    check(&get(&app, path).await, r#"{"a":4,"b/1":3,"c":1}"#);
    assert_eq!(ask(&app, Method::HEAD, "/events/a").await.0, StatusCode::OK);
    drop(streams.split_off(2));
    check(&get(&app, path).await, r#"{"a":2,"b/1":1,"c":0}"#);
}

#[tokio::test]
async fn clients_that_may_not_subscribe_are_not_told_about_subscribers() {
    let app = app(Page::Console, Rights::none());
    assert_eq!(get(&app, "/console/subscribers?topic=a").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn questions_about_subscribers_have_limits() {
    let app = app(Page::Console, Rights::all());
    let many: String = (0..2000).map(|number| format!("topic={number}&")).collect();
    for query in [&many, "topic=", "topic=a/../b"] {
        let (status, body) = get(&app, &format!("/console/subscribers?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn without_the_console_nobody_is_told_about_subscribers() {
    for page in [Page::Plain, Page::None] {
        let app = app(page, Rights::all());
        assert_eq!(get(&app, "/console/subscribers?topic=a").await.0, StatusCode::NOT_FOUND);
    }
}
