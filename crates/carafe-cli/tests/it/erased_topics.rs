//! Producers that erase topics while the program is killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::ending_topics::{FEWEST, acknowledged, answered, send};

/// What the names of these topics begin with.
pub(crate) const ERASING: &str = "erasing/";

/// What all data has that is erased.
pub(crate) const ERASED: &str = "erased-secret-";

/// A topic whose erasure was acknowledged, and what it has since.
pub(crate) struct ErasedTopic {
    topic: String,
    has_ended: bool,
}

/// Feeds a topic, ends every second, and erases it, each until that is acknowledged.
pub(crate) async fn erase_topics(
    address: SocketAddr,
    number: usize,
    stop: Arc<AtomicBool>,
) -> Vec<ErasedTopic> {
    let mut topics = Vec::new();
    while !stop.load(Ordering::Relaxed) || topics.len() < FEWEST {
        let topic = format!("{ERASING}{number}/{}", topics.len());
        let target = format!("/events/{topic}");
        for key in 0..3 {
            let secret = format!("{ERASED}{key}-{}", "x".repeat(200));
            acknowledged(address, "POST", &format!("{target}?id={key}"), &secret).await;
        }
        let has_ended = topics.len() % 2 == 1;
        if has_ended {
            let end = format!("{target}?end=failed&reason={ERASED}reason");
            acknowledged(address, "POST", &end, "").await;
        }
        acknowledged(address, "DELETE", &target, "").await;
        assert_eq!(data(address, &target).await, [""; 0], "{topic}");
        if !has_ended {
            acknowledged(address, "POST", &format!("{target}?id=later"), "later").await;
        }
        topics.push(ErasedTopic { topic, has_ended });
        sleep(Duration::from_millis(100)).await;
    }
    topics
}

impl ErasedTopic {
    /// It has what was published after the erasure, and its end.
    pub(crate) async fn check(&self, address: SocketAddr) {
        let target = format!("/events/{}", self.topic);
        let later: &[&str] = if self.has_ended { &[] } else { &["later"] };
        assert_eq!(data(address, &target).await, later, "{}", self.topic);
        let status = send(address, "POST", &target, "late").await.unwrap().status;
        assert_eq!(status, if self.has_ended { 409 } else { 201 }, "{}", self.topic);
    }
}

/// The data of all events of a topic.
async fn data(address: SocketAddr, target: &str) -> Vec<String> {
    let page = answered(address, "GET", &format!("{target}?format=json&earliest"), "").await;
    assert!(!page.to_string().contains(ERASED), "{page}");
    let data = |event: &Value| event["data"].as_str().unwrap().to_owned();
    page["events"].as_array().unwrap().iter().map(data).collect()
}
