//! What each endpoint answers to whom.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use carafe_http::auth::{Key, Keys, Signer};
use carafe_http::{Options, Rights, metrics_router, router};
use carafe_hub::Hub;
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::{Position, Topic};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// The statuses for clients
/// - without a token, where such clients may do nothing,
/// - with a token that grants nothing,
/// - with a token for `a/1` that grants everything but the last of the rights that are needed,
/// - with a token that grants what is needed, but for `b/1`,
/// - with a token that grants what is needed for `a/1`, and nothing else.
///
/// A refusal is a problem document of the kind that `KINDS` has for its status.
const TABLE: &str = "
    POST   /events/a/1                         text    publish          401 403 403 403 201
    POST   /events/a/1?private                 text    publish          401 403 403 403 201
    POST   /events/a/1?topic=b/1               text    publish          401 403 403 403 403
    POST   /events/a/1?split=lines             text    publish          401 403 403 403 201
    POST   /events/a/1                         blocks  publish          401 403 403 403 201
    POST   /events/a/1?on_abort=fail           blocks  publish          401 403 403 403 201
    POST   /events/a/1                         ndjson  publish          401 403 403 403 201
    POST   /events                             batch   publish          401 403 403 403 201
    POST   /events?stream                      batch   publish          401 403 403 403 201

    POST   /events/a/1?end=done                -       publish          401 403 403 403 201
    POST   /events/a/1?end=failed              text    publish          401 403 403 403 201
    POST   /events/a/1?end=done                blocks  publish          401 403 403 403 201
    POST   /events/a/1?reopen                  text    publish,reopen   401 403 403 403 201
    POST   /events/a/1?reopen                  text    reopen,publish   401 403 403 403 201
    POST   /events/a/1?reopen                  blocks  publish,reopen   401 403 403 403 201
    POST   /events/a/1?end=done&reopen         text    publish,reopen   401 403 403 403 201
    POST   /events/a/1?stop                    -       stop             401 403 403 403 201

    DELETE /events/a/1                         -       erase            401 403 403 403 200
    DELETE /events/a/1?id=EVENT                -       erase            401 403 403 403 200
    DELETE /events                             -       erase            405 405 405 405 405

    HEAD   /events/a/1                         -       subscribe        401 403 200 403 200
    HEAD   /events/a/1                         -       publish          401 403 200 403 200
    HEAD   /events?topic=a/1&topic=b/1         -       subscribe        401 403 403 403 403
    HEAD   /events                             -       subscribe        401 403 403 200 200

    GET    /events/a/1                         -       subscribe        401 403 403 403 200
    GET    /events/a/1?earliest                -       subscribe        401 403 403 403 200
    GET    /events/a/1?latest                  -       subscribe        401 403 403 403 200
    GET    /events/a/1?absent=204&ended=204    -       subscribe        401 403 403 403 200
    GET    /events/a/1?last_event_id=EVENT     -       subscribe        401 403 403 403 200
    GET    /events?topic=a/1&topic=b/1         -       subscribe        401 403 403 403 403
    GET    /events?pattern=a/*                 -       subscribe        401 403 403 200 200
    GET    /events                             -       subscribe        401 403 403 200 200
    GET    /events/a/1?format=json             -       subscribe        401 403 403 403 200
    GET    /events/a/1?format=json&latest      -       subscribe        401 403 403 403 200
    GET    /events/a/1?format=json&wait=1ms    -       subscribe        401 403 403 403 200
    GET    /events?pattern=a/*&format=json     -       subscribe        401 403 403 200 200

    GET    /revocations                        -       revoke           401 403 403 403 200
    POST   /revocations                        json    revoke           401 403 403 403 201
    DELETE /revocations?subject=ann            -       revoke           401 403 403 403 404
    PUT    /revocations                        -       revoke           401 403 403 403 405

    PUT    /events/a/1                         text    publish          405 405 405 405 405
    GET    /nothing                            -       subscribe        404 404 404 404 404
    GET    /metrics                            -       subscribe        404 404 404 404 404
    GET    /healthz                            -       subscribe        200 200 200 200 200
";

const KINDS: [(u16, &str); 4] =
    [(401, "no-token"), (403, "forbidden"), (404, "not-found"), (405, "wrong-method")];

const OVER_TOPICS: [&str; 5] = ["publish", "subscribe", "stop", "reopen", "erase"];

/// A row of the table.
struct Row {
    method: &'static str,
    target: &'static str,
    body: &'static str,
    needs: Vec<&'static str>,
    statuses: [u16; 5],
}

impl Row {
    fn parse(line: &'static str) -> Self {
        let mut words = line.split_whitespace();
        let [method, target, body, needs] = [(); 4].map(|()| words.next().unwrap());
        let statuses = [(); 5].map(|()| words.next().unwrap().parse().unwrap());
        assert_eq!(words.next(), None, "{line}");
        Self { method, target, body, needs: needs.split(',').collect(), statuses }
    }

    /// The tokens of the five clients.
    fn tokens(&self) -> [Option<String>; 5] {
        let missing = *self.needs.last().unwrap();
        let others: Vec<_> = OVER_TOPICS.into_iter().chain(["revoke"]).collect();
        let others: Vec<_> = others.into_iter().filter(|right| *right != missing).collect();
        // The right to revoke is of no topic.
        let elsewhere = self.needs.iter().copied().filter(|right| OVER_TOPICS.contains(right));
        let elsewhere: Vec<_> = elsewhere.collect();
        let granted =
            [(&[][..], "a/1"), (&others, "a/1"), (&elsewhere, "b/1"), (&self.needs, "a/1")];
        let [nothing, others, elsewhere, granted] =
            granted.map(|(rights, topic)| Some(token(rights, topic)));
        [None, nothing, others, elsewhere, granted]
    }

    fn request(&self, event: Position, token: Option<&str>) -> Request<Body> {
        let (content_type, body) = match self.body {
            "-" => ("text/plain", ""),
            "text" => ("text/plain", "data"),
            "blocks" => ("text/event-stream", "data: data\n\n"),
            "ndjson" => ("application/x-ndjson", "{\"data\":\"data\"}\n"),
            "batch" => ("application/x-ndjson", "{\"topic\":\"a/1\",\"data\":\"data\"}\n"),
            "json" => ("application/json", "{\"subject\":\"ann\"}"),
            other => panic!("{other}"),
        };
        let target = self.target.replace("EVENT", &event.to_string());
        let request = Request::builder().method(self.method).uri(target);
        let request = request.header("content-type", content_type);
        let bearer = token.map(|token| format!("Bearer {token}"));
        let request =
            bearer.into_iter().fold(request, |it, bearer| it.header("authorization", bearer));
        request.body(body.into()).unwrap()
    }
}

/// A token that grants these rights, those over topics for one.
fn token(rights: &[&str], topic: &str) -> String {
    let mut claims = Map::from_iter([("exp".to_owned(), json!(4_000_000_000_u64))]);
    for right in rights {
        let is_over_topics = OVER_TOPICS.contains(right);
        let value = if is_over_topics { json!([topic]) } else { json!(true) };
        claims.insert((*right).to_owned(), value);
    }
    Signer::secret(SECRET).unwrap().sign(&Value::Object(claims)).unwrap()
}

/// A hub with an event of `a/1`, where clients without a token may do nothing.
async fn hub() -> (Hub, Router, Position) {
    let hub = Hub::new(MemoryLog::default());
    let mut options = Options::default();
    options.anonymous = Rights::none();
    options.keys = Keys::new([Key::secret(SECRET).unwrap()]);
    let event = Publication::new(Topic::new("a/1").unwrap(), "data");
    let event = hub.publish(event).await.unwrap().position;
    (hub.clone(), router(hub, options), event)
}

#[tokio::test]
async fn each_endpoint_refuses_what_is_not_granted() {
    let rows = TABLE.lines().filter(|line| !line.trim().is_empty()).map(Row::parse);
    for row in rows {
        for (token, status) in row.tokens().into_iter().zip(row.statuses) {
            check(&row, token.as_deref(), status).await;
        }
    }
}

async fn check(row: &Row, token: Option<&str>, status: u16) {
    let (hub, app, event) = hub().await;
    let case = format!("{} {} {} with {token:?}", row.method, row.target, row.body);
    let response = app.oneshot(row.request(event, token)).await.unwrap();
    assert_eq!(response.status(), status, "{case}");
    if status < 300 {
        return;
    }
    assert_eq!(hub.position(), event, "something was stored: {case}");
    let challenge = response.headers().contains_key("www-authenticate");
    assert_eq!(challenge, [401, 403].contains(&status), "{case}");
    if row.method == "HEAD" {
        return;
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    let (_, kind) = KINDS.iter().find(|(of, _)| *of == status).unwrap();
    assert_eq!(problem["type"], format!("urn:carafe:problem:{kind}"), "{case}");
    assert_eq!(problem["status"], status, "{case}");
}

/// They are on a listener of their own, which is for the machine or a private network.
#[tokio::test]
async fn metrics_need_no_token_and_are_not_beside_the_events() {
    let hub = Hub::new(MemoryLog::default());
    let app = metrics_router(&Options::default(), hub);
    for (target, status) in [("/metrics", 200), ("/healthz", 200), ("/events/a/1", 404)] {
        let request = Request::get(target).body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{target}");
    }
}
