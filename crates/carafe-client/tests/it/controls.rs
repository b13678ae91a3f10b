//! What a hub reports in a stream.

use std::sync::{Arc, Mutex};

use carafe_client::{Control, Item};

use crate::script::{Script, answer, stream};
use crate::source::{all, source};

const STREAM: &str = "event: carafe.position\ndata: {\"position\":\"7\"}\nid: 7\n\ndata: one\n\n\
    event: carafe.gap\ndata: {\"requested\":\"7\",\"oldest\":\"9\",\"reason\":\"trimmed\"}\nid: 8\n\n";

fn script_of_two() -> [String; 2] {
    [stream(STREAM), answer("204 No Content", "", "")]
}

#[tokio::test]
async fn reports_of_the_hub_are_no_events_and_their_ids_count() {
    let [first, second] = script_of_two();
    let script = Script::play(&[&first, &second]).await;
    let reports = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&reports);
    let source = source(&script)
        .on_control(move |control| kept.lock().unwrap().push(control.clone()))
        .connect();
    assert_eq!(all(source).await, (vec!["one".into()], None));
    let reports = reports.lock().unwrap();
    assert!(matches!(&reports[..], [Control::Position(at), Control::Gap(_)] if at == "7"));
    assert_eq!(script.header(1, "last-event-id").unwrap(), "8");
}

#[tokio::test]
async fn items_are_events_and_reports_in_their_order() {
    let [first, second] = script_of_two();
    let script = Script::play(&[&first, &second]).await;
    let mut source = source(&script).connect();
    let mut items = Vec::new();
    while let Some(item) = source.next_item().await {
        items.push((item.unwrap(), source.last_event_id().to_owned()));
    }
    let [
        (Item::Control(Control::Position(_)), a),
        (Item::Event(event), b),
        (Item::Control(Control::Gap(gap)), c),
    ] = &items[..]
    else {
        panic!("{items:?}");
    };
    assert_eq!([&**a, b, c], ["7", "7", "8"]);
    assert_eq!((&*event.data, &*gap.requested, &*gap.reason), ("one", "7", "trimmed"));
}
