//! Clients in Rust: `carafe-client`, and the crate `eventsource-stream`, which decodes one response
//! of reqwest: its caller reconnects.
//!
//! `reqwest-eventsource`, which wraps it, needs an older version of reqwest, and so a second HTTP
//! client in the lock file.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use carafe_client::EventSource;
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use reqwest::Client;

use crate::clients::Shown;

/// Reads with `carafe-client` on a thread, which ends after `count` events.
pub(super) fn read_with_carafe_client(url: String, count: usize) -> Receiver<Shown> {
    let (sender, shown) = channel();
    on_a_thread(async move {
        let mut source = EventSource::new(url);
        for _ in 0..count {
            let event = source.next().await.expect("there is more").unwrap();
            let (event_type, id) = (event.event_type, event.last_event_id);
            // The test may have failed meanwhile.
            if sender.send(Shown { event_type, id, data: event.data }).is_err() {
                return;
            }
        }
    });
    shown
}

fn on_a_thread(read: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(read);
    });
}

/// Reads on a thread, which ends after `count` ordinary events.
pub(super) fn read(url: String, count: usize) -> Receiver<Shown> {
    let (sender, shown) = channel();
    on_a_thread(async move { read_all(&url, count, &sender).await });
    shown
}

/// An HTTP client.
pub(crate) fn client() -> Client {
    // The workspace's reqwest leaves the choice of a TLS provider to the program, and insists on
    // one. Another test may have made it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::new()
}

async fn read_all(url: &str, mut left: usize, sender: &Sender<Shown>) {
    let (client, mut last_id) = (client(), String::new());
    while left > 0 {
        let request = client.get(url).header("last-event-id", &last_id);
        if let Ok(answer) = request.send().await {
            let mut events = answer.bytes_stream().eventsource();
            // An error stands for a connection that broke.
            while left > 0
                && let Some(Ok(event)) = events.next().await
            {
                last_id.clone_from(&event.id);
                left -= usize::from(!event.event.starts_with("carafe."));
                let shown = Shown { event_type: event.event, id: event.id, data: event.data };
                // The test may have failed meanwhile.
                if sender.send(shown).is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
