//! The stream decoders of SDKs that parse the data of every event as JSON.

use serde_json::{Value, json};

use crate::clients::{is_here, node};
use crate::http::publish;
use crate::process::{Process, Server};

/// What each decoder makes of the first `count` events of a stream.
#[track_caller]
fn decoded(hub: &Server, query: &str, count: usize) -> Vec<(String, Vec<Value>)> {
    let url = hub.url(&format!("/events/answers?{query}"));
    let mut program = node("tests/clients/sdk_decoders.mjs");
    let process = Process::start(program.args([&url, &count.to_string()]));
    let decoders = ["openai", "anthropic", "ai-sdk"].map(|decoder| {
        let line: Value = serde_json::from_str(&process.next_line(|_| true)).unwrap();
        assert_eq!(line["decoder"], decoder);
        (decoder.into(), line["values"].as_array().unwrap().clone())
    });
    assert!(process.wait().success());
    decoders.into()
}

#[test]
fn the_decoders_of_llm_sdks_read_a_stream_without_an_error() {
    if !is_here("node", "the_decoders_of_llm_sdks_read_a_stream_without_an_error") {
        return;
    }
    let hub = Server::start(&["--heartbeat-range", "100ms..1m"]);
    let data: Vec<_> =
        (0..3).map(|number| json!({"delta": {"text": format!("{number}\u{2028}")}})).collect();
    let ids: Vec<_> = data
        .iter()
        .map(|data| publish(hub.address, "/events/answers?event=message_delta", &data.to_string()))
        .collect();
    for (decoder, values) in
        decoded(&hub, "last_event_id=0&on_gap=earliest&heartbeat=event:100ms", 6)
    {
        let [gap, position, events @ .., heartbeat] = &values[..] else { panic!("{values:?}") };
        assert_eq!(gap["reason"], "foreign", "{decoder}");
        assert!(position["position"].is_string(), "{decoder}");
        assert_eq!(events, data, "{decoder}");
        assert_eq!(*heartbeat, json!({ "position": ids[2] }), "{decoder}");
    }
    for (decoder, values) in decoded(&hub, "earliest&control=comments", 3) {
        assert_eq!(values, data, "{decoder}");
    }
}
