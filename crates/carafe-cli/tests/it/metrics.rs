//! The metrics of a hub, on their own listener.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::is_here;
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

#[test]
fn the_build_the_log_and_the_use_of_the_process_have_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--metrics-listen", "127.0.0.1:0", "--segment-bytes", "4KiB"];
    let hub = Server::on_disk(folder.path(), &options);
    let metrics = Metrics::of(&hub);
    let build = format!("carafe_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(metrics.get(&build), 1.0);
    let (bytes, segments) = (metrics.get("carafe_log_bytes"), metrics.get("carafe_log_segments"));
    assert_eq!(segments, 1.0);
    let data = "x".repeat(3000);
    (0..4).for_each(|_| drop(publish(hub.address, "/events/a", &data)));
    assert!(metrics.get("carafe_log_bytes") >= bytes + 12_000.0);
    assert!(metrics.get("carafe_log_segments") >= 3.0);
    let resident = metrics.get("process_resident_memory_bytes");
    assert!(resident > 1e6 && metrics.get("process_virtual_memory_bytes") > resident);
    // It was busy for a tick of the clock at least once while this waits.
    metrics.wait_until(|metrics| metrics.get("process_cpu_seconds_total") > 0.0);
}

#[test]
fn delivered_events_and_bytes_are_counted_on_every_path() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let mut streams = [
        Stream::open(hub.address, "/events/a", &[]),
        // With a body, hyper delivers it.
        Stream::open_by(hub.address, "GET", "/events/a", &["Content-Length: 1"], "x"),
    ];
    publish(hub.address, "/events/a", "four");
    streams.iter_mut().for_each(|stream| assert_eq!(stream.data(1), ["four"]));
    metrics.wait_for("carafe_events_delivered_total", 2.0);
    assert!(metrics.get("carafe_delivered_bytes_total") >= 2.0 * "data: four\n\n".len() as f64);
    assert_eq!(metrics.get("carafe_streams{path=\"hyper\",reason=\"body\"}"), 1.0);
}

/// A hub that has exported everything that exists only after its first use.
fn used() -> (Server, Metrics, Stream, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let hub = Server::on_disk(folder.path(), &["--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&hub);
    let stream = Stream::open(hub.address, "/events/a", &[]);
    drop(Stream::open(hub.address, "/events/a", &[]));
    publish(hub.address, "/events/a", "x");
    assert_eq!(get(hub.address, "/nothing").status, 404);
    metrics.wait_for("carafe_streams_closed_total{path=\"shard\",reason=\"left\"}", 1.0);
    (hub, metrics, stream, folder)
}

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    if !is_here("promtool", "promtool_finds_no_fault_with_the_metrics") {
        return;
    }
    let (_hub, metrics, _stream, _folder) = used();
    let unpacked = repository("target/proxies/usr/bin/promtool");
    let program = if unpacked.exists() { unpacked } else { "promtool".into() };
    let mut promtool = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let exported = get(metrics.address, "/metrics").body;
    promtool.stdin.take().unwrap().write_all(exported.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success() && said.is_empty(), "{said}\n{exported}");
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_exist() {
    let (_hub, metrics, _stream, _folder) = used();
    let exported = get(metrics.address, "/metrics").body;
    let file = fs::read_to_string(repository("deploy/grafana/carafe.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&file).unwrap();
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() > 20, "{queries:?}");
    for query in queries {
        // Those of a cluster are exported by its nodes: see `cluster/command.rs`.
        if query.contains("carafe_cluster_") {
            continue;
        }
        for name in words(&query).filter(|word| is_metric(word)) {
            let is_exported = exported.lines().any(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            assert!(is_exported, "{name} of {query} is not exported:\n{exported}");
        }
        for label in query.split("by (").skip(1).flat_map(|rest| {
            rest.split(')').next().unwrap_or_default().split(", ").collect::<Vec<_>>()
        }) {
            assert!(exported.contains(&format!("{label}=\"")), "no label {label}: {query}");
        }
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let (_hub, metrics, _stream, _folder) = used();
    let exported = get(metrics.address, "/metrics").body;
    let dashboard = fs::read_to_string(repository("deploy/grafana/carafe.json")).unwrap();
    for name in exported.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    {
        assert!(dashboard.contains(name), "{name} is in no panel");
    }
}

fn collect_queries(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == "expr" || name == "query" => queries.push(text.clone()),
            value => collect_queries(value, queries),
        }),
        Value::Array(values) => values.iter().for_each(|value| collect_queries(value, queries)),
        _ => {}
    }
}

fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

fn is_metric(word: &str) -> bool {
    word.starts_with("carafe_") || word.starts_with("process_")
}
