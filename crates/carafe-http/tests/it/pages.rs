//! Pages of history of topics that have ended, and of an app around the hub.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use carafe_http::{Options, metrics_router, router};
use carafe_hub::Hub;
use carafe_log::{MemoryLog, Outcome, Publication};
use carafe_protocol::Topic;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

fn topic() -> Topic {
    Topic::new("chat/1").unwrap()
}

/// The status, the value of `Cache-Control`, and the page.
async fn get(app: &Router, target: &str) -> (StatusCode, String, Value) {
    let request = Request::get(target).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let caching = response.headers()["cache-control"].to_str().unwrap().to_owned();
    let status = response.status();
    let is_page = response.headers().get("content-type").is_some_and(|it| it == "application/json");
    let body = match is_page {
        true => response.into_body().collect().await.unwrap().to_bytes(),
        false => "null".into(),
    };
    (status, caching, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_topic_that_has_ended_is_nothing_for_clients_who_say_so_and_have_no_position() {
    let hub = Hub::new(MemoryLog::default());
    let app = router(hub.clone(), Options::default());
    let first = hub.publish(Publication::new(topic(), "1")).await.unwrap().position;
    hub.publish(Publication::new(topic(), "2")).await.unwrap();
    let ended = "/events/chat/1?earliest&absent=204&ended=204";
    assert_eq!(get(&app, ended).await.0, StatusCode::OK, "there is something to resume");
    hub.stop(topic()).await.unwrap();
    assert_eq!(get(&app, ended).await.0, StatusCode::OK, "a stop is no end");
    hub.end(topic(), Outcome::Done).await.unwrap();
    assert_eq!(get(&app, ended).await.0, StatusCode::NO_CONTENT);
    let absent = "/events/chat/1?earliest&absent=204";
    assert_eq!(get(&app, absent).await.0, StatusCode::OK, "the text is in history");
    let (status, _, page) = get(&app, &format!("{ended}&format=json&last_event_id={first}")).await;
    assert_eq!((status, page["events"].as_array().unwrap().len()), (StatusCode::OK, 1), "the rest");
    hub.publish(Publication::new(topic(), "3").with_reopening(true)).await.unwrap();
    assert_eq!(get(&app, ended).await.0, StatusCode::OK, "a new life");
}

#[tokio::test]
async fn a_page_says_how_its_topic_has_ended_and_a_long_poll_ends_with_it() {
    let hub = Hub::new(MemoryLog::default());
    let app = router(hub.clone(), Options::default());
    let last = hub.publish(Publication::new(topic(), "1")).await.unwrap().position;
    assert_eq!(get(&app, "/events/chat/1?format=json").await.2["ended"], Value::Null);
    let target = format!("/events/chat/1?format=json&wait=60s&last_event_id={last}");
    let poll = get(&app, &target);
    let end = async {
        while hub.subscriptions() == 0 {
            tokio::task::yield_now().await;
        }
        hub.end(topic(), Outcome::Cancelled).await.unwrap().position
    };
    let ((status, _, page), end) = tokio::join!(poll, end);
    let position = end.to_string();
    let ended =
        json!({"topic": "chat/1", "outcome": "cancelled", "reason": null, "position": position});
    assert_eq!((status, &page["ended"], &page["events"]), (StatusCode::OK, &ended, &json!([])));
    let next = page["next"].as_str().unwrap();
    let (status, _, page) =
        get(&app, &format!("/events/chat/1?format=json&wait=60s&last_event_id={next}")).await;
    assert_eq!((status, &page["ended"]), (StatusCode::OK, &ended), "nothing more to wait for");
}

#[tokio::test]
async fn an_app_has_to_allow_shared_caches() {
    let hub = Hub::new(MemoryLog::default());
    let app = router(hub.clone(), Options::default());
    let first = hub.publish(Publication::new(topic(), "1")).await.unwrap().position;
    hub.publish(Publication::new(topic(), "2")).await.unwrap();
    let target = format!("/events/chat/1?format=json&limit=1&last_event_id={first}");
    assert_eq!(get(&app, &target).await.1, "private, no-cache");
}

#[tokio::test]
async fn pages_are_counted_also_for_clients_that_have_them() {
    let (hub, options) = (Hub::new(MemoryLog::default()), Options::default());
    let metrics = metrics_router(&options, hub.clone());
    let app = router(hub.clone(), options);
    let first = hub.publish(Publication::new(topic(), "1")).await.unwrap().position;
    hub.publish(Publication::new(topic(), "2")).await.unwrap();
    assert_eq!(get(&app, "/events/chat/1?format=json").await.0, StatusCode::OK);
    let target = format!("/events/chat/1?format=json&limit=1&last_event_id={first}");
    let known = Request::get(target).header("if-none-match", "*").body(Body::empty()).unwrap();
    assert_eq!(app.clone().oneshot(known).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let refused = get(&app, "/events/chat/1?format=json&limit=0").await.0;
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    let scrape = Request::get("/metrics").body(Body::empty()).unwrap();
    let scraped = metrics.oneshot(scrape).await.unwrap().into_body().collect().await.unwrap();
    let text = String::from_utf8(scraped.to_bytes().to_vec()).unwrap();
    assert!(text.contains("\ncarafe_pages_total 2\n"), "{text}");
}
