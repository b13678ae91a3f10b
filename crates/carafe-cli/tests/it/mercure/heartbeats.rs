//! Both versions: the interval of heartbeats that a client requests.

use crate::mercure::fixture::Hub;

/// The hub itself would send the first after an hour.
fn hub() -> Hub {
    Hub::open(&["--heartbeat", "1h", "--heartbeat-range", "100ms..1m"])
}

#[test]
fn a_client_of_either_version_may_request_the_interval() {
    let hub = hub();
    for topic in [("topic", "a"), ("match", "a")] {
        let mut stream = hub.stream(&[topic, ("heartbeat", "100ms")], &[]);
        stream.text_until(":\n");
        for _ in 0..2 {
            assert_eq!(stream.text_until("\n"), ":\n");
        }
    }
}

#[test]
fn a_stream_of_updates_has_no_heartbeat_events() {
    let hub = hub();
    for topic in [("topic", "a"), ("match", "a")] {
        for heartbeat in ["event", "event:1s", "soon"] {
            let answer = hub.refused(&[topic, ("heartbeat", heartbeat)], &[]);
            assert_eq!(answer.status, 400, "{heartbeat}");
            assert!(answer.body.contains("heartbeat=4s"), "{}", answer.body);
        }
    }
}
