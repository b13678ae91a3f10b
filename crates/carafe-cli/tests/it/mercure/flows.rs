//! Clients as they are deployed, in a browser.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::clients::{is_here, next_shown, node};
use crate::mercure::fixture::{Hub, bearer, claims, detail, form, pattern_detail, sign_one, zero};
use crate::process::Process;
use crate::proxy::{Cut, Proxy};

/// A page that reads a stream by a cookie, and then publishes by it.
fn page(base: &str, cookie: &str, query: &[(&str, &str)], count: usize, topic: &str) -> Process {
    let script = "tests/browser/mercure.mjs";
    Process::start(node(script).args([base, cookie, &form(query), &count.to_string(), topic]))
}

#[track_caller]
fn next(page: &Process, key: &str) -> Value {
    let line = page.next_line(|line| line.contains(&format!("\"{key}\"")));
    serde_json::from_str(&line).unwrap()
}

/// What an application publishes: for its user, for another, and for all.
fn publish(number: usize, post: &impl Fn(&[(&str, &str)])) {
    let [mine, others, all] = [
        format!("https://example.com/users/1/messages/{number}"),
        format!("https://example.com/users/2/messages/{number}"),
        format!("https://example.com/users/1/messages/all-{number}"),
    ];
    let id = |of: &str| format!("urn:{of}:{number}");
    post(&[
        ("topic", &others),
        ("private", "on"),
        ("data", "not for this user"),
        ("id", &id("others")),
    ]);
    post(&[
        ("topic", &mine),
        ("private", "on"),
        ("data", "for you"),
        ("id", &id("mine")),
        ("type", "greeting"),
    ]);
    post(&[("topic", &all), ("data", "for all"), ("id", &id("all")), ("retry", "50")]);
}

/// The page shows what is its user's, in order, though its connection may be cut after each.
#[track_caller]
fn shows_its_own(page: &Process, updates: usize, post: impl Fn(&[(&str, &str)]), cut: impl Fn()) {
    next(page, "state");
    for number in 0..updates {
        publish(number, &post);
        let [mine, all] = [(); 2].map(|()| next_shown(page));
        assert_eq!((mine.event_type.as_str(), mine.data.as_str()), ("greeting", "for you"));
        assert_eq!((all.event_type.as_str(), all.data.as_str()), ("message", "for all"));
        assert_eq!([mine.id, all.id], ["mine", "all"].map(|of| format!("urn:{of}:{number}")));
        cut();
    }
}

/// As Symfony does it: the application sets a cookie that grants its user a URI Template, and
/// publishes by a token.
#[test]
fn in_0_a_page_reads_private_updates_by_its_cookie_and_resumes() {
    if !is_here("browser", "in_0_a_page_reads_private_updates_by_its_cookie_and_resumes") {
        return;
    }
    let hub = Hub::closed(&[]);
    let proxy = Proxy::start(hub.server.address, 0, Cut::InBody);
    let mine = "https://example.com/users/1/messages/{id}";
    let token = zero(&json!({"subscribe": [mine], "publish": [mine]}));
    let base = url("http", proxy.address);
    let topic = "https://example.com/users/1/messages/x";
    let page = page(&base, &format!("mercureAuthorization={token}"), &[("topic", mine)], 8, topic);
    shows_its_own(&page, 4, |update| drop(hub.publish(update)), || proxy.cut());

    let published = next(&page, "published");
    assert_eq!(published["published"], 200, "its origin is the hub's own");
    assert!(published["id"].as_str().unwrap().starts_with("urn:uuid:"));
    assert_eq!(next(&page, "cursor")["cursor"], "urn:mine:0");
    assert_eq!(next(&page, "query")["query"], 401, "the cookie is none of 1.0");
}

fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://{address}/")
}

/// Over TLS, which the cookie's name asks for, and HTTP/2.
#[test]
fn in_1_a_page_reads_private_updates_by_its_cookie() {
    let test = "in_1_a_page_reads_private_updates_by_its_cookie";
    if !is_here("browser", test) || !is_here("curl", test) {
        return;
    }
    let certificate = Certificate::new();
    let options = certificate.options();
    let hub = Hub::closed(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let mine = "https://example.com/users/1/messages/:id";
    let topic = "https://example.com/users/1/messages/x";
    let details = json!([pattern_detail(&["subscribe"], &[mine]), detail(&["publish"], &[topic])]);
    let cookie = format!("__Secure-mercure_access_token={}", sign_one(&claims(&details)));
    let base = url("https", hub.server.address);
    let page = page(&base, &cookie, &[("match_urlpattern", mine)], 4, topic);
    let publisher = bearer(&zero(&json!({"publish": ["*"]})));
    let hub_url = format!("{base}.well-known/mercure");
    let post = |update: &[(&str, &str)]| {
        let answer = certificate.curl(&[
            "--fail",
            "--header",
            &publisher,
            "--data",
            &form(update),
            &hub_url,
        ]);
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    };
    shows_its_own(&page, 2, post, || {});

    let published = next(&page, "published");
    assert_eq!(published["published"], 200, "{published}");
    assert_eq!(next(&page, "cursor")["cursor"], "urn:mine:0");
    assert_eq!(next(&page, "query"), json!({"query": 200, "begins": ":\n"}));
}
