//! The limits of a router in an app, which may provide client addresses or not.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use carafe_http::{
    Metrics, Options, PublishRate, Rights, SubscriberLimits, Subscribers, metrics_router, router,
};
use carafe_hub::Hub;
use carafe_log::MemoryLog;
use http_body_util::BodyExt;
use tower::ServiceExt;

const ANN: Option<&str> = Some("192.0.2.1:1000");
const BEN: Option<&str> = Some("192.0.2.2:1000");

fn app(limits: SubscriberLimits) -> (Router, Options) {
    let mut options = Options::default();
    options.anonymous = Rights::all();
    options.subscribers = Subscribers::new(limits);
    options.publish_rate = PublishRate::new("1/h".parse().ok());
    (router(Hub::new(MemoryLog::default()), options.clone()), options)
}

async fn ask(app: &Router, method: &str, peer: Option<&str>) -> (u16, Body) {
    let mut request =
        Request::builder().method(method).uri("/events/a").body(Body::from("x")).unwrap();
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    }
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status().as_u16(), response.into_body())
}

/// The stream, if it is one that stays open.
async fn stream(app: &Router, peer: Option<&str>) -> Option<Body> {
    let (status, mut body) = ask(app, "GET", peer).await;
    assert_eq!(status, 200);
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"retry: "), "{first:?}");
    let more = tokio::time::timeout(Duration::from_millis(1), body.frame()).await;
    more.map_or(true, |more| more.is_some()).then_some(body)
}

#[tokio::test(start_paused = true)]
async fn an_app_with_client_addresses_has_limits_on_each_client() {
    let (app, _) = app({
        let mut limits = SubscriberLimits::default();
        limits.total = 10;
        limits.per_address = 1;
        limits
    });
    let first = stream(&app, ANN).await;
    assert!(first.is_some() && stream(&app, BEN).await.is_some());
    assert!(stream(&app, ANN).await.is_none());
    drop(first);
    assert!(stream(&app, ANN).await.is_some(), "its place is free when its stream is dropped");
    assert_eq!((ask(&app, "POST", ANN).await.0, ask(&app, "POST", ANN).await.0), (201, 429));
    assert_eq!(ask(&app, "POST", BEN).await.0, 201);
}

#[tokio::test(start_paused = true)]
async fn an_app_without_client_addresses_has_limits_on_all_clients_together() {
    let (app, _) = app({
        let mut limits = SubscriberLimits::default();
        limits.total = 3;
        limits.per_address = 1;
        limits
    });
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(stream(&app, None).await.unwrap());
    }
    assert!(stream(&app, None).await.is_none());
    for _ in 0..3 {
        assert_eq!(ask(&app, "POST", None).await.0, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_are_changed_while_streams_stay_open() {
    let (app, options) = app({
        let mut limits = SubscriberLimits::default();
        limits.total = 1;
        limits.per_address = 1;
        limits
    });
    let _open = stream(&app, ANN).await.unwrap();
    assert!(stream(&app, BEN).await.is_none());
    options.subscribers.set({
        let mut limits = SubscriberLimits::default();
        limits.total = 2;
        limits.per_address = 1;
        limits
    });
    assert!(stream(&app, BEN).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn metrics_are_counted_in_the_counters_of_the_app() {
    let (hub, metrics) = (Hub::new(MemoryLog::default()), Metrics::default());
    let mut options = Options::default();
    options.metrics = metrics.clone();
    let app = router(hub.clone(), options.clone());
    let _open = stream(&app, None).await.unwrap();
    assert_eq!(ask(&app, "POST", None).await.0, 403);
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let exported = metrics_router(&options, hub).oneshot(request).await.unwrap().into_body();
    let exported = String::from_utf8(exported.collect().await.unwrap().to_bytes().into()).unwrap();
    for line in [
        "carafe_streams{path=\"hyper\",reason=\"elsewhere\"} 1\n",
        "carafe_refused_total{request=\"publish\",reason=\"forbidden\"} 1\n",
        "carafe_limited_total{limit=\"subscribers\"} 0\n",
    ] {
        assert!(exported.contains(line), "{line} is not in {exported}");
    }
}
