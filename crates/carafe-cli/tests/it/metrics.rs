//! The metrics of a hub, on their own listener.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Stream, get, post, publish, request};
use crate::process::{PATIENCE, Server, repository};

/// The metrics listener of a hub.
#[derive(Clone, Copy)]
pub(crate) struct Metrics {
    pub(crate) address: SocketAddr,
}

impl Metrics {
    /// Where its log says.
    #[track_caller]
    pub(crate) fn of(hub: &Server) -> Self {
        let line = hub.next_record(|line| line.contains("metrics on http://"));
        let (_, address) = line.split_once("metrics on http://").unwrap();
        Self { address: address.strip_suffix("/metrics").unwrap().parse().unwrap() }
    }

    /// The value of the metric with these labels; zero where there is none.
    #[track_caller]
    pub(crate) fn get(self, metric: &str) -> f64 {
        let answer = get(self.address, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let found =
            answer.body.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// How often this limit was met.
    #[track_caller]
    pub(crate) fn limited(self, limit: &str) -> f64 {
        self.get(&format!("carafe_limited_total{{limit=\"{limit}\"}}"))
    }

    /// Waits until the metric has this value.
    #[track_caller]
    pub(crate) fn wait_for(self, metric: &str, value: f64) {
        self.wait_until(|metrics| (metrics.get(metric) - value).abs() < f64::EPSILON);
    }

    /// Waits until this is true.
    #[track_caller]
    pub(crate) fn wait_until(self, is_true: impl Fn(Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_true(self) {
            assert!(Instant::now() < deadline, "{}", get(self.address, "/metrics").body);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn metrics_are_served_on_their_own_listener_only() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let answer = get(metrics.address, "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(get(hub.address, "/metrics").status, 404);
    for (method, path, status) in
        [("GET", "/events", 404), ("GET", "/", 404), ("POST", "/metrics", 405)]
    {
        assert_eq!(
            request(metrics.address, method, path, &[], b"").status,
            status,
            "{method} {path}"
        );
    }
}

/// Each line is a comment, or a name with labels and a number.
#[test]
fn metrics_are_what_prometheus_reads() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let _stream = Stream::open(hub.address, "/events/a", &[]);
    publish(hub.address, "/events/a", "x");
    let exported = get(metrics.address, "/metrics").body;
    let mut described = "";
    for line in exported.lines() {
        if let Some(description) = line.strip_prefix("# TYPE ") {
            described = description.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(name.starts_with(described), "{line} after the type of {described}");
        }
    }
    for kind in [
        "carafe_streams gauge",
        "carafe_events_published_total counter",
        "carafe_publish_seconds histogram",
    ] {
        assert!(exported.contains(&format!("# TYPE {kind}\n")), "{exported}");
    }
}

#[test]
fn the_documentation_names_every_metric_and_every_limit() {
    let (hub, metrics) = Server::with_metrics(&[]);
    // Some exist only after the first event.
    publish(hub.address, "/events/a", "x");
    let page = fs::read_to_string(repository("docs/OPERATIONS.md")).unwrap();
    let exported = get(metrics.address, "/metrics").body;
    let names = exported.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let limits = exported
        .lines()
        .filter_map(|line| line.strip_prefix("carafe_limited_total{limit=\"")?.split('"').next());
    let (names, limits): (Vec<_>, Vec<_>) = (names.collect(), limits.collect());
    assert!(names.len() > 15 && limits.len() > 15, "{exported}");
    for name in names.iter().chain(&limits) {
        assert!(page.contains(&format!("`{name}")), "{name} is not in docs/OPERATIONS.md");
    }
}

#[test]
fn streams_and_events_are_counted() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let streams = "carafe_streams{path=\"shard\",reason=\"\"}";
    let mut first = Stream::open(hub.address, "/events/a", &[]);
    let second = Stream::open(hub.address, "/events/b", &[]);
    publish(hub.address, "/events/a?id=k", "four");
    publish(hub.address, "/events/a?id=k", "four");
    assert_eq!(first.data(1), ["four"]);
    assert_eq!((metrics.get(streams), metrics.get("carafe_subscriptions")), (2.0, 2.0));
    assert_eq!(metrics.get("carafe_events_published_total"), 1.0);
    assert_eq!(metrics.get("carafe_published_bytes_total"), 4.0);
    assert_eq!(metrics.get("carafe_publications_repeated_total"), 1.0);
    assert_eq!(metrics.get("carafe_publish_seconds_count"), 2.0);
    drop(second);
    metrics.wait_for(streams, 1.0);
    assert_eq!(metrics.get("carafe_streams_opened_total{path=\"shard\",reason=\"\"}"), 2.0);
    assert_eq!(metrics.get("carafe_streams_closed_total{path=\"shard\",reason=\"left\"}"), 1.0);
}

#[test]
fn what_is_refused_is_counted_by_its_reason() {
    let (hub, metrics) = Server::with_metrics(&["--anonymous", "subscribe"]);
    assert_eq!(post(hub.address, "/events/a/../b", "x").status, 400);
    assert_eq!(get(hub.address, "/events?topics=1").status, 400);
    assert_eq!(get(hub.address, "/events?topics=2").status, 400);
    assert_eq!(get(hub.address, "/nope").status, 404);
    let refused = |request: &str, reason: &str| {
        metrics.get(&format!("carafe_refused_total{{request=\"{request}\",reason=\"{reason}\"}}"))
    };
    assert_eq!(refused("publish", "bad-topic"), 1.0);
    assert_eq!(refused("subscribe", "bad-parameter"), 2.0);
    assert_eq!(refused("other", "not-found"), 1.0);
}

#[test]
fn history_and_gaps_have_metrics() {
    let (hub, metrics) = Server::with_metrics(&["--history-events", "2"]);
    let ids: Vec<_> = (0..4).map(|_| publish(hub.address, "/events/a", "x")).collect();
    let after = format!("/events/a?last_event_id={}", ids[0]);
    let mut stream = Stream::open(hub.address, &after, &[]);
    assert_eq!(stream.next().unwrap().event_type, "carafe.gap");
    assert_eq!(metrics.get("carafe_gaps_total"), 1.0);
    assert_eq!(metrics.get("carafe_history_oldest_offset"), 3.0);
    assert_eq!(metrics.get("carafe_history_newest_offset"), 4.0);
}

#[test]
fn the_process_has_metrics_with_the_usual_names() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let before = metrics.get("process_open_fds");
    let _streams: Vec<_> = (0..20).map(|_| Stream::open(hub.address, "/events/a", &[])).collect();
    assert!(metrics.get("process_open_fds") >= before + 20.0);
    assert!(metrics.get("process_max_fds") > before);
    assert!(metrics.get("process_start_time_seconds") > 1_600_000_000.0);
}
