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

/// Whether subscription events are published to this topic. The hub has its usual path, and the
/// same below `prefix`.
pub(crate) fn is_of_subscriptions(topic: &Topic, prefix: &str) -> bool {
    below_hub(topic, prefix).is_some_and(|rest| is_or_is_below(&rest, "/subscriptions"))
}

/// Whether the topic is the URL of the hub, or below it.
pub(crate) fn is_hubs_own(topic: &Topic, prefix: &str) -> bool {
    below_hub(topic, prefix).is_some()
}

/// What follows the hub's path if the topic is a URL below it, on whatever host. A relative topic,
/// or one with escapes or dots, may name the hub as well.
fn below_hub(topic: &Topic, prefix: &str) -> Option<String> {
    static BASE: LazyLock<Url> = LazyLock::new(|| {
        Url::parse(&format!("https://hub.invalid{PATH}")).expect("the constant is a URL")
    });
    let url = BASE.join(topic.as_str()).ok()?;
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    let prefix = percent_decode_str(prefix).decode_utf8_lossy();
    let below_prefix = || path.strip_prefix(&*prefix)?.strip_prefix(PATH);
    let rest = path.strip_prefix(PATH).or_else(below_prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
}

fn is_or_is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_of(topic: &str, prefix: &str) -> bool {
        is_hubs_own(&Topic::new(topic).unwrap(), prefix)
    }

    fn of_subscriptions(topic: &str, prefix: &str) -> bool {
        is_of_subscriptions(&Topic::new(topic).unwrap(), prefix)
    }

    #[test]
    fn a_hub_below_a_prefix_has_both_paths() {
        for own in [
            "/sse/.well-known/mercure/subscriptions/a",
            "https://other.example/ss%65/.well-known/mercure/subscriptions",
            "/.well-known/mercure/subscriptions/a",
        ] {
            assert!(of_subscriptions(own, "/sse") && own_of(own, "/s%73e"), "{own}");
        }
        assert!(!own_of("/sse/.well-known/mercure", ""));
        assert!(!own_of("/live/.well-known/mercure", "/sse"));
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
            assert!(own_of(own, "") && !of_subscriptions(own, ""), "{own}");
        }
        for own in [
            "/.well-known/mercure/subscriptions",
            "/.well-known/mercure/subscriptions/a/b",
            "https://other.example/.well-known/%6Dercure/%73ubscriptions/x",
            "mercure/subscriptions/a",
        ] {
            assert!(own_of(own, "") && of_subscriptions(own, ""), "{own}");
        }
        for other in
            ["https://hub.example/.well-known/mercure2", "/a", "urn:a", "orders/subscriptions/1"]
        {
            assert!(!own_of(other, ""), "{other}");
        }
    }
}
