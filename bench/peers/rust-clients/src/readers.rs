//! The clients, each as a function that completes when it has seen all events of a URL.

use std::pin::Pin;

use carafe_client::EventSource;
use carafe_protocol::{Decoder, Received};
use eventsource_client::{Client as _, ClientBuilder, SSE};
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;

type Read = fn(String, usize) -> Pin<Box<dyn Future<Output = ()>>>;

pub(crate) const READERS: [(&str, Read); 5] = [
    ("carafe-client", |url, events| Box::pin(carafe_client(url, events))),
    ("reqwest-eventsource", |url, events| Box::pin(reqwest_eventsource(url, events))),
    ("eventsource-client", |url, events| Box::pin(eventsource_client(url, events))),
    ("carafe-protocol's decoder", |url, events| Box::pin(decoder(url, events))),
    ("eventsource-stream", |url, events| Box::pin(eventsource_stream(url, events))),
];

async fn carafe_client(url: String, events: usize) {
    let mut source = EventSource::new(url);
    for _ in 0..events {
        source.next().await.expect("an event").expect("no error");
    }
}

async fn reqwest_eventsource(url: String, mut events: usize) {
    let mut source = reqwest_eventsource::EventSource::get(url);
    while events > 0 {
        let item = source.next().await.expect("an event").expect("no error");
        events -= usize::from(matches!(item, reqwest_eventsource::Event::Message(_)));
    }
}

async fn eventsource_client(url: String, mut events: usize) {
    let transport = HyperTransport::builder().build_http().expect("a transport");
    let client = ClientBuilder::for_url(&url).expect("a URL").build_with_transport(transport);
    let mut stream = client.stream();
    while events > 0 {
        let item = stream.next().await.expect("an event").expect("no error");
        events -= usize::from(matches!(item, SSE::Event(_)));
    }
}

/// Without a client.
async fn decoder(url: String, mut events: usize) {
    let response = reqwest::get(url).await.expect("a response");
    let (mut bytes, mut decoder) = (response.bytes_stream(), Decoder::new());
    while events > 0 {
        let chunk = bytes.next().await.expect("bytes").expect("no error");
        let mut input = &chunk[..];
        while let Some(received) = decoder.decode(&mut input).expect("no limit") {
            events -= usize::from(matches!(received, Received::Event(_)));
        }
    }
}

/// Without a client.
async fn eventsource_stream(url: String, events: usize) {
    let response = reqwest::get(url).await.expect("a response");
    let mut stream = response.bytes_stream().eventsource();
    for _ in 0..events {
        stream.next().await.expect("an event").expect("no error");
    }
}
