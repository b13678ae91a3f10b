//! The Express-like example: what its routes, its middleware and its refusals promise.

#[allow(dead_code, reason = "its `main` is for `cargo run --example espresso`")]
#[path = "../../examples/espresso.rs"]
mod example;

use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE};
use axum::http::{Request, Response, StatusCode};
use example::app;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

fn by_barista(method: &str, path: &str) -> Request<Body> {
    let mut request = request(method, path);
    request.headers_mut().insert("barista", "Mia".parse().unwrap());
    request
}

fn post_coffee(coffee: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/coffees").header(CONTENT_TYPE, "application/json");
    request.body(coffee.into()).unwrap()
}

async fn ask(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn menu(app: &Router) -> Vec<String> {
    let coffees: Value =
        serde_json::from_str(&text(ask(app, request("GET", "/coffees")).await).await).unwrap();
    coffees
        .as_array()
        .unwrap()
        .iter()
        .map(|coffee| coffee["name"].as_str().unwrap().into())
        .collect()
}

/// The middleware which the answer came through, in the order in which it did.
fn timed_by(response: &Response<Body>) -> Vec<&str> {
    let timings = response.headers().get_all("server-timing").iter();
    timings.map(|timing| timing.to_str().unwrap().split_once(";dur=").unwrap().0).collect()
}

/// Asserts that a problem document answers the request, and says what its `detail` has to.
async fn check_refusal(request: Request<Body>, status: StatusCode, kind: &str, detail: &str) {
    let response = ask(&app(), request).await;
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&problem["status"], &problem["type"]), (&json!(status.as_u16()), &json!(kind)));
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
}

#[tokio::test]
async fn a_posted_coffee_is_on_the_menu() {
    let app = app();
    assert_eq!(menu(&app).await, ["espresso", "doppio", "bucket"]);
    let response = ask(&app, post_coffee(r#"{ "name": "lungo", "shots": 2 }"#)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(menu(&app).await, ["espresso", "doppio", "bucket", "lungo"]);
}

#[tokio::test]
async fn the_menu_takes_a_coffee_once() {
    let doppio = post_coffee(r#"{ "name": "doppio", "shots": 3 }"#);
    check_refusal(doppio, StatusCode::CONFLICT, "about:blank", "already on the menu").await;
}

#[tokio::test]
async fn the_menu_has_an_end() {
    let app = app();
    let mut last = StatusCode::CREATED;
    for number in 0..10 {
        last =
            ask(&app, post_coffee(json!({ "name": number.to_string(), "shots": 1 }).to_string()))
                .await
                .status();
    }
    assert_eq!((last, menu(&app).await.len()), (StatusCode::CONFLICT, 12));
}

#[tokio::test]
async fn what_is_not_a_coffee_is_refused_with_a_problem_document() {
    check_refusal(post_coffee("{"), StatusCode::BAD_REQUEST, "about:blank", "JSON").await;
    let tea = post_coffee(r#"{ "name": "tea" }"#);
    check_refusal(tea, StatusCode::UNPROCESSABLE_ENTITY, "about:blank", "shots").await;
    let untyped = request("POST", "/coffees");
    check_refusal(untyped, StatusCode::UNSUPPORTED_MEDIA_TYPE, "about:blank", "application/json")
        .await;
}

#[tokio::test]
async fn the_stream_has_the_menu_and_then_each_change() {
    let app = app();
    let mut stream = ask(&app, request("GET", "/events")).await.into_body();
    let mut next = async || stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next().await, "data: espresso, doppio, bucket\n\n");
    ask(&app, post_coffee(r#"{ "name": "lungo", "shots": 2 }"#)).await;
    assert_eq!(next().await, "data: espresso, doppio, bucket, lungo\n\n");
}

#[tokio::test]
async fn an_answer_passes_the_inner_middleware_before_the_outer() {
    let response = ask(&app(), by_barista("POST", "/bar/pour/espresso")).await;
    assert_eq!(timed_by(&response), ["bar", "house"]);
    assert_eq!(text(response).await, "Mia made your espresso\n");
}

#[tokio::test]
async fn a_refusal_by_middleware_goes_no_further_in_and_still_passes_what_is_further_out() {
    let response = ask(&app(), request("POST", "/bar/pour/espresso")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(timed_by(&response), ["house"]);
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let pour = request("POST", "/bar/pour/espresso");
    check_refusal(pour, StatusCode::FORBIDDEN, "about:blank", "header `barista`").await;
}

#[tokio::test]
async fn the_cors_layer_answers_a_preflight_before_any_route() {
    let mut preflight = request("OPTIONS", "/bar/pour/espresso");
    preflight.headers_mut().insert("origin", "https://example.com".parse().unwrap());
    preflight.headers_mut().insert("access-control-request-method", "POST".parse().unwrap());
    let response = ask(&app(), preflight).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-methods"], "*");
    assert_eq!(timed_by(&response), [""; 0]);
}

#[tokio::test]
async fn the_middleware_of_the_bar_is_for_its_routes_alone() {
    for path in ["/", "/coffees", "/nothing", "/bar/nothing", "/pour/espresso"] {
        let response = ask(&app(), request("GET", path)).await;
        assert_ne!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(timed_by(&response), ["house"], "{path}");
    }
}

#[tokio::test]
async fn an_async_error_is_a_problem_document() {
    let kind = "urn:espresso:problem:too-slow";
    let bucket = by_barista("POST", "/bar/pour/bucket");
    check_refusal(bucket, StatusCode::SERVICE_UNAVAILABLE, kind, "200 shots").await;
    let tea = by_barista("POST", "/bar/pour/green%20tea");
    check_refusal(tea, StatusCode::NOT_FOUND, "about:blank", "no green tea today").await;
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_document_in_the_sub_router_too() {
    for path in ["/tea", "/bar/tea", "/pour/espresso"] {
        check_refusal(request("GET", path), StatusCode::NOT_FOUND, "about:blank", path).await;
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_document_that_lists_the_allowed_ones() {
    for (method, path, allow) in
        [("DELETE", "/coffees", "GET,HEAD,POST"), ("GET", "/bar/pour/espresso", "POST")]
    {
        let response = ask(&app(), request(method, path)).await;
        assert_eq!(response.headers()[ALLOW], allow);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        check_refusal(request(method, path), status, "about:blank", method).await;
    }
}

#[tokio::test]
async fn the_page_and_a_refusal_arrive_over_a_real_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(axum::serve(listener, app()).into_future());
    let requests = "GET / HTTP/1.1\r\nHost: bar\r\n\r\nGET /tea HTTP/1.1\r\nHost: bar\r\nConnection: close\r\n\r\n";
    socket.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.unwrap();
    let (page, refusal) = answers.split_once("</html>\n").unwrap();
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("new EventSource('/events')"),
        "{page}"
    );
    assert!(
        refusal.starts_with("HTTP/1.1 404 Not Found\r\n") && refusal.contains("nothing at /tea"),
        "{refusal}"
    );
}
