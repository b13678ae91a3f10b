//! What a source sends.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};

use carafe_client::{Error, Method};

use crate::script::{Script, answer, stream};
use crate::source::{all, losses, source};

#[tokio::test]
async fn a_request_has_the_headers_of_browsers_and_asks_caches_for_nothing() {
    let script = Script::play(&[&answer("204 No Content", "", "")]).await;
    all(source(&script).connect()).await;
    assert!(script.requests()[0].starts_with("GET / HTTP/1.1\r\n"));
    assert_eq!(script.header(0, "accept").unwrap(), "text/event-stream");
    assert_eq!(script.header(0, "cache-control").unwrap(), "no-cache");
    assert_eq!(script.header(0, "last-event-id"), None);
}

#[tokio::test]
async fn any_method_headers_and_body_are_sent_with_each_connection() {
    let script = Script::play(&[&stream("id: 1\n\n"), &answer("204 No Content", "", "")]).await;
    let options = source(&script)
        .method(Method::from_bytes(b"QUERY").unwrap())
        .header("content-type", "application/json")
        .header("X-Tenant", "6")
        .header("x-tenant", "7")
        .body("{}");
    all(options.connect()).await;
    for request in [0, 1] {
        let text = &script.requests()[request];
        assert!(text.starts_with("QUERY / HTTP/1.1\r\n") && text.ends_with("\r\n\r\n{}"), "{text}");
        assert_eq!(script.header(request, "x-tenant").unwrap(), "7");
        assert_eq!(script.header(request, "content-type").unwrap(), "application/json");
    }
    assert_eq!(script.header(1, "last-event-id").unwrap(), "1");
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_ends_it() {
    let script = Script::play(&[]).await;
    for (name, value) in [("x y", "1"), ("x-y", "1\r\nz: 2"), ("", "1")] {
        let (_, error) = all(source(&script).header(name, value).connect()).await;
        assert_eq!(error, Some(Error::UnsendableHeader(name.into())));
    }
}

#[tokio::test]
async fn the_token_is_requested_before_each_connection() {
    let script = Script::play(&[&stream("data: one\n\n"), &stream("data: two\n\n")]).await;
    let mut number = 0;
    let mut events = source(&script)
        .bearer_from(move |_| {
            number += 1;
            // Takes its time, as a request to a login service does.
            async move {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(format!("token-{number}"))
            }
        })
        .connect();
    for data in ["one", "two"] {
        assert_eq!(events.next().await.unwrap().unwrap().data, data);
    }
    let sent = [0, 1].map(|request| script.header(request, "authorization").unwrap());
    assert_eq!(sent, ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_now_is_fetched_again() {
    let script = Script::play(&[&stream("data: one\n\n")]).await;
    let mut tokens = [Err(io::Error::other("the login service is down")), Ok("token")].into_iter();
    let options =
        source(&script).bearer_from(move |_| ready(tokens.next().unwrap().map(String::from)));
    let (options, mut lost) = losses(options);
    let mut events = options.connect();
    assert_eq!(events.next().await.unwrap().unwrap().data, "one");
    let reason = lost.recv().await.unwrap().to_string();
    assert_eq!(reason, "cannot get a token: the login service is down");
    assert_eq!(script.header(0, "authorization").unwrap(), "Bearer token");
}

#[tokio::test]
async fn after_a_401_a_token_is_fetched_once_more_at_once_and_then_it_gives_up() {
    let unauthorized = answer("401 Unauthorized", "", "");
    let script =
        Script::play(&[&unauthorized, &stream("data: a\n\n"), &unauthorized, &unauthorized]).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let options = source(&script).bearer_from(move |request| {
        kept.lock().unwrap().push(request.refused);
        ready(Ok::<_, Infallible>("token".into()))
    });
    let (options, mut lost) = losses(options);
    let (data, error) = all(options.connect()).await;
    assert_eq!(data, ["a"]);
    assert!(matches!(error, Some(Error::Refused { status: 401, .. })), "{error:?}");
    assert_eq!(*asked.lock().unwrap(), [false, true, false, true]);
    assert!(lost.recv().await.is_some(), "the stream that ended");
    assert!(lost.recv().await.is_none(), "a refused token is no lost connection");
}

#[tokio::test]
async fn a_fixed_token_is_sent_and_not_repeated_after_a_401() {
    let script = Script::play(&[&answer("401 Unauthorized", "", "")]).await;
    let (_, error) = all(source(&script).bearer("a.b.c").connect()).await;
    assert!(matches!(error, Some(Error::Refused { status: 401, .. })), "{error:?}");
    assert_eq!(script.header(0, "authorization").unwrap(), "Bearer a.b.c");
    let (_, error) = all(source(&script).bearer("a\nb").connect()).await;
    assert_eq!(error, Some(Error::UnsendableToken));
}

#[tokio::test]
async fn a_token_may_end_with_the_line_break_of_its_file() {
    let script = Script::play(&[&answer("204 No Content", "", "")]).await;
    all(source(&script).bearer("a.b.c\r\n").connect()).await;
    assert_eq!(script.header(0, "authorization").unwrap(), "Bearer a.b.c");
}
