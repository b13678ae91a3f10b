//! Topics that only the hub publishes to: those of Mercure's subscription events.
//!
//! A client that subscribes to them trusts that an event says who is connected. So no publisher may
//! forge one, on any path and in any version, and however the topic is written.

use std::sync::LazyLock;

use carafe_protocol::Topic;
use percent_encoding::percent_decode_str;
use url::Url;

/// The path of the hub in Mercure.
const PATH: &str = "/.well-known/mercure";

/// Whether subscription events are published to this topic.
pub(crate) fn is_of_subscriptions(topic: &Topic) -> bool {
    below_hub(topic).is_some_and(|rest| is_or_is_below(&rest, "/subscriptions"))
}

/// Whether the topic is the URL of the hub, or below it.
pub(crate) fn is_hubs_own(topic: &Topic) -> bool {
    below_hub(topic).is_some()
}

/// What follows the hub's path if the topic is a URL below it, on whatever host. A relative topic,
/// or one with escapes or dots, may name the hub as well.
fn below_hub(topic: &Topic) -> Option<String> {
    static BASE: LazyLock<Url> = LazyLock::new(|| {
        Url::parse(&format!("https://hub.invalid{PATH}")).expect("the constant is a URL")
    });
    let url = BASE.join(topic.as_str()).ok()?;
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let rest = path.strip_prefix(PATH)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
}

fn is_or_is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    #[test]
    fn the_hubs_own_url_is_known_however_it_is_written_and_on_any_host() {
        for own in [
            "https://hub.example/.well-known/mercure",
            "https://HUB.example:443/.well-known/mercure?a#b",
            "http://other.example/.well-known/mercure",
            "/.well-known/mercure",
            "mercure",
            "?",
            "//hub.example/.well-known/%6dercure",
        ] {
            assert!(is_hubs_own(&topic(own)) && !is_of_subscriptions(&topic(own)), "{own}");
        }
        for own in [
            "/.well-known/mercure/subscriptions",
            "/.well-known/mercure/subscriptions/a/b",
            "https://other.example/.well-known/%6Dercure/%73ubscriptions/x",
            "mercure/subscriptions/a",
        ] {
            assert!(is_hubs_own(&topic(own)) && is_of_subscriptions(&topic(own)), "{own}");
        }
        for other in
            ["https://hub.example/.well-known/mercure2", "/a", "urn:a", "orders/subscriptions/1"]
        {
            assert!(!is_hubs_own(&topic(other)), "{other}");
        }
    }
}
