//! A hub that serves no clients yet, one that other nodes should stand in for, and the figures that
//! a program adds to the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use carafe_http::{Figure, Mercure, Options, Readiness, Rights, metrics_router, router};
use carafe_hub::Hub;
use carafe_log::MemoryLog;
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn ask(app: &Router, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).body(Body::from("x")).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn text(answer: Response<Body>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

/// The hub's router and that of its metrics, where clients without a token may do everything.
fn hub(readiness: Readiness) -> (Router, Router) {
    let hub = Hub::new(MemoryLog::default());
    let mut options = Options::default();
    options.anonymous = Rights::all();
    options.mercure = Some(Mercure::default());
    options.readiness = readiness;
    let metrics = metrics_router(&options, hub.clone());
    (router(hub, options), metrics)
}

#[tokio::test(start_paused = true)]
async fn a_closed_hub_answers_only_health_checks_and_metrics() {
    let readiness = Readiness::closed().with_reason(|| Some("3 of 10 read".into()));
    let (app, metrics) = hub(readiness.clone());
    for (method, path) in [
        ("POST", "/events/a"),
        ("DELETE", "/events/a"),
        ("HEAD", "/events/a"),
        ("GET", "/events/a?format=json"),
        ("POST", "/.well-known/mercure"),
        ("GET", "/revocations"),
    ] {
        let answer = ask(&app, method, path).await;
        assert_eq!(answer.status(), 503, "{method} {path}");
        assert_eq!(answer.headers()["retry-after"], "1");
        assert!(method == "HEAD" || text(answer).await.contains("3 of 10 read: try again"));
    }
    for router in [&app, &metrics] {
        assert_eq!(ask(router, "GET", "/healthz").await.status(), 200);
        let answer = ask(router, "GET", "/readyz").await;
        assert_eq!(answer.status(), 503);
        assert!(text(answer).await.contains("3 of 10 read: send requests to another node"));
    }
    let exported = text(ask(&metrics, "GET", "/metrics").await).await;
    let counted = "carafe_refused_total{request=\"publish\",reason=\"unavailable\"} 2\n";
    assert!(exported.contains(counted), "{exported}");
}

#[tokio::test(start_paused = true)]
async fn streams_of_a_closed_hub_are_told_to_come_back_and_find_it_open() {
    let readiness = Readiness::closed();
    let (app, metrics) = hub(readiness.clone());
    for path in ["/events/a", "/events?topic=a", "/.well-known/mercure?topic=a"] {
        let answer = ask(&app, "GET", path).await;
        // `EventSource` never retries after 5xx.
        assert_eq!(answer.status(), 200, "{path}");
        let body = text(answer).await;
        assert!(body.starts_with("retry: ") && !body.contains("data:"), "{body}");
    }
    let exported = text(ask(&metrics, "GET", "/metrics").await).await;
    let counted = "carafe_refused_total{request=\"subscribe\",reason=\"starting\"} 3\n";
    assert!(exported.contains(counted), "{exported}");
    readiness.open();
    assert_eq!(ask(&app, "POST", "/events/a").await.status(), 201);
    assert_eq!(ask(&app, "GET", "/readyz").await.status(), 200);
    let mut stream = ask(&app, "GET", "/events/a?earliest").await.into_body();
    assert!(stream.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"retry: "));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_not_ready_serves_the_clients_that_come_all_the_same() {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let reason = move || away.load(Ordering::Relaxed).then(|| "the engine is away".into());
    let (app, _) = hub(Readiness::default().with_reason(reason));
    assert_eq!(ask(&app, "GET", "/readyz").await.status(), 503);
    assert_eq!(ask(&app, "POST", "/events/a").await.status(), 201);
    is_away.store(false, Ordering::Relaxed);
    assert_eq!(ask(&app, "GET", "/readyz").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn figures_of_the_program_are_exported_as_they_are_at_the_scrape() {
    let options = Options::default();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let counted = Arc::clone(&count);
    options.metrics.add_figures(move || {
        let count = counted.load(Ordering::Relaxed);
        vec![
            Figure::counter("app_orders", "Orders that were taken", count),
            Figure::gauge("app_queue_seconds", "Age of the oldest order", 0.5),
        ]
    });
    let metrics = metrics_router(&options, Hub::new(MemoryLog::default()));
    for number in 1..=2 {
        count.store(number, Ordering::Relaxed);
        let exported = text(ask(&metrics, "GET", "/metrics").await).await;
        for line in [
            "# TYPE app_orders_total counter\n",
            &format!("app_orders_total {number}\n"),
            "app_queue_seconds 0.5\n",
        ] {
            assert!(exported.contains(line), "{line} is not in {exported}");
        }
    }
}
