//! Who may see and publish what, by tokens.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carafe_http::auth::{Algorithm, Signer};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::fails;
use crate::http::{Answer, Stream, request};
use crate::metrics::Metrics;
use crate::process::{PATIENCE, Process, Server, carafe};

const SECRET: &str = "a secret of more than thirty-two bytes";
const OTHER: &str = "another secret of thirty-two bytes or more";

/// A folder with the files of keys.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file that only its owner may read, as one with a secret should be: the hub warns of
    /// others.
    fn write(&self, name: &str, text: &str) -> String {
        let mut file = File::options();
        let mut file =
            file.write(true).create(true).truncate(true).mode(0o600).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// A hub that trusts the secret, and what is beside it.
struct Guarded {
    hub: Server,
    folder: Folder,
}

impl Guarded {
    fn start(options: &[&str]) -> Self {
        let folder = Folder::new();
        // With the line break that editors put there.
        let secret = folder.write("secret", &format!("{SECRET}\n"));
        Self { hub: serve(&[&["--secret-file", &secret], options].concat(), &[]), folder }
    }

    fn address(&self) -> SocketAddr {
        self.hub.address
    }
}

/// A hub in memory that clients without a token may not use unless `options` say so.
fn serve(options: &[&str], variables: &[(&str, &str)]) -> Server {
    let mut command = carafe();
    command.args(["serve", "--log", "memory:", "--listen", "127.0.0.1:0"]).args(options);
    Server::of(Process::start(command.envs(variables.iter().copied())))
}

/// The time `seconds` from now.
fn at(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(seconds).unwrap()
}

fn signed(signer: &Signer, mut claims: Value) -> String {
    let expires = json!(at(3600));
    claims.as_object_mut().unwrap().entry("exp").or_insert(expires);
    signer.sign(&claims).unwrap()
}

fn token(claims: Value) -> String {
    signed(&Signer::secret(SECRET.as_bytes()).unwrap(), claims)
}

/// A token that may do everything.
fn all() -> Value {
    json!({"publish": ["*"], "subscribe": ["*"]})
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn ask(address: SocketAddr, method: &str, target: &str, token: &str) -> Answer {
    request(address, method, target, &[&bearer(token)], b"data")
}

#[track_caller]
fn publish(hub: &Guarded, target: &str, data: &str) -> String {
    let answer = request(hub.address(), "POST", target, &[&bearer(&token(all()))], data.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().into()
}

fn open(hub: &Guarded, target: &str, token: &str) -> Stream {
    Stream::open(hub.address(), target, &[&bearer(token)])
}

/// The answer is a problem document of this kind that asks for a token so.
#[track_caller]
fn check(answer: &Answer, status: u16, kind: &str, challenge: Option<&str>) {
    assert_eq!(answer.status, status, "{}{}", answer.head, answer.body);
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    if !answer.body.is_empty() {
        assert_eq!(answer.json()["type"], format!("urn:carafe:problem:{kind}"), "{}", answer.body);
    }
}

#[track_caller]
fn is_bad(answer: &Answer) {
    check(answer, 401, "bad-token", Some("Bearer error=\"invalid_token\""));
}

#[track_caller]
fn is_forbidden(answer: &Answer) {
    check(answer, 403, "forbidden", Some("Bearer error=\"insufficient_scope\""));
}

/// The token is refused for publishing, subscribing and asking for the position, where clients
/// without a token may do all of it.
#[track_caller]
fn is_refused_by(address: SocketAddr, token: &str, what: &str) {
    for (method, target) in
        [("GET", "/events/a"), ("GET", "/events"), ("HEAD", "/events/a"), ("POST", "/events/a")]
    {
        let answer = ask(address, method, target, token);
        is_bad(&answer);
        if method != "HEAD" {
            let problem = answer.json();
            assert!(problem["detail"].as_str().unwrap().contains(what), "{problem}");
        }
    }
}

const ANONYMOUS: &[&str] = &["--anonymous", "subscribe,publish"];

#[track_caller]
fn is_refused(token: &str, what: &str) {
    is_refused_by(Guarded::start(ANONYMOUS).address(), token, what);
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let whole = token(all());
    let claims = whole.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    is_refused(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}."), "not a JSON Web Token");
}

#[test]
fn a_token_of_another_secret_is_refused() {
    let other = signed(&Signer::secret(OTHER.as_bytes()).unwrap(), all());
    is_refused(&other, "not signed by a key");
}

#[test]
fn a_public_key_used_as_a_secret_is_refused() {
    let folder = Folder::new();
    let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    folder.write("public.pem", &pair.public_key_pem());
    let keys = folder.write("keys.toml", "[[key]]\npublic-key = \"public.pem\"\n");
    let hub = serve(&["--keys", &keys, "--anonymous", "subscribe,publish"], &[]);
    let forger = Signer::secret(pair.public_key_pem().as_bytes()).unwrap();
    is_refused_by(hub.address, &signed(&forger, all()), "not signed by a key");
    let honest = signed(&Signer::pem(pair.serialize_pem().as_bytes()).unwrap(), all());
    assert_eq!(ask(hub.address, "POST", "/events/a", &honest).status, 201);
}

#[test]
fn an_end_that_is_no_number_is_refused() {
    for wrong in [json!("9999999999"), json!(null), json!(true)] {
        is_refused(&token(json!({"publish": ["*"], "exp": wrong})), "`exp`");
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    is_refused(
        &Signer::secret(SECRET.as_bytes()).unwrap().sign(&all()).unwrap(),
        "`exp` is missing",
    );
}

#[test]
fn an_expired_token_is_refused() {
    is_refused(&token(json!({"publish": ["*"], "exp": at(-1)})), "expired");
}

#[test]
fn a_token_that_is_not_valid_yet_is_refused() {
    is_refused(&token(json!({"publish": ["*"], "nbf": at(3600)})), "not valid yet");
}

#[test]
fn a_token_for_another_audience_is_rejected() {
    let hub = Guarded::start(&[ANONYMOUS, &["--audience", "https://hub.example"]].concat());
    for wrong in [all(), json!({"publish": ["*"], "aud": "https://other.example"})] {
        is_refused_by(hub.address(), &token(wrong), "`aud`");
    }
    let right = token(json!({"publish": ["a"], "aud": ["https://hub.example"]}));
    assert_eq!(ask(hub.address(), "POST", "/events/a", &right).status, 201);
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let hub = Guarded::start(&[ANONYMOUS, &["--issuer", "https://one.example"]].concat());
    for wrong in [all(), json!({"publish": ["*"], "iss": "https://two.example"})] {
        is_refused_by(hub.address(), &token(wrong), "`iss`");
    }
    let right = token(json!({"publish": ["a"], "iss": "https://one.example"}));
    assert_eq!(ask(hub.address(), "POST", "/events/a", &right).status, 201);
}

#[test]
fn a_token_of_another_kind_is_refused() {
    let signer = Signer::secret(SECRET.as_bytes()).unwrap().with_type("logout+jwt");
    is_refused(&signed(&signer, all()), "`typ`");
}

#[test]
fn a_key_id_is_no_path_and_one_at_two_issuers_is_two_keys() {
    let folder = Folder::new();
    let pairs = ["one", "two"].map(|issuer| {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]});
        folder.write(&format!("{issuer}.json"), &set.to_string());
        Signer::pem(pair.serialize_pem().as_bytes()).unwrap()
    });
    let text = ["one", "two"]
        .map(|issuer| format!("[[key]]\njwk-set = \"{issuer}.json\"\nissuer = \"{issuer}\"\n"));
    let keys = folder.write("keys.toml", &text.concat());
    let hub = serve(&["--keys", &keys, "--anonymous", "subscribe,publish"], &[]);
    let named = |signer: &Signer, id: &str, issuer: &str| {
        signed(&signer.clone().with_key_id(id), json!({"publish": ["*"], "iss": issuer}))
    };
    for (signer, issuer, other) in [(&pairs[0], "one", "two"), (&pairs[1], "two", "one")] {
        assert_eq!(ask(hub.address, "POST", "/events/a", &named(signer, "k1", issuer)).status, 201);
        is_refused_by(hub.address, &named(signer, "k1", other), "`iss`");
        for path in ["../one.json", "/dev/null", "two.json", "k1/../k1"] {
            is_refused_by(hub.address, &named(signer, path, issuer), "not signed by a key");
        }
    }
}

#[test]
fn a_token_that_is_too_long_is_refused_unread_and_one_of_a_megabyte_with_its_head() {
    let hub = Guarded::start(ANONYMOUS);
    let long = token(json!({"publish": ["*"], "pad": "x".repeat(6200)}));
    assert!(long.len() > 8192 && long.len() < 9000);
    is_refused_by(hub.address(), &long, "more than 8192 bytes");
    let huge = token(json!({"publish": ["*"], "pad": "x".repeat(1 << 20)}));
    assert_eq!(ask(hub.address(), "GET", "/events/a", &huge).status, 431);
    assert_eq!(
        ask(hub.address(), "POST", "/events/a", &token(all())).status,
        201,
        "others do not notice"
    );
}

#[test]
fn an_authorization_that_is_not_one_bearer_token_is_refused() {
    let hub = Guarded::start(ANONYMOUS);
    let good = bearer(&token(all()));
    for headers in [
        &["Authorization: Basic dXNlcjpwYXNz"][..],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &["Authorization: "],
        &["Authorization: Bearer a b"],
        &[&good, &good],
        &[&good, "Authorization: Basic dXNlcjpwYXNz"],
    ] {
        is_bad(&request(hub.address(), "POST", "/events/a", headers, b"x"));
        is_bad(&request(hub.address(), "GET", "/events/a", headers, b""));
    }
    let lower = good.replace("Bearer", "bearer");
    assert_eq!(request(hub.address(), "POST", "/events/a", &[&lower], b"x").status, 201);
}

#[test]
fn a_missing_token_is_401_and_a_wrong_one_is_reported_as_such() {
    let hub = Guarded::start(&[]);
    let narrow = token(json!({"publish": ["a"], "subscribe": ["a", "users/:id"]}));
    for (method, target) in [
        ("GET", "/events/b"),
        ("HEAD", "/events/b"),
        ("POST", "/events/b"),
        ("GET", "/events?topic=a&topic=b"),
    ] {
        check(&request(hub.address(), method, target, &[], b"x"), 401, "no-token", Some("Bearer"));
        is_forbidden(&ask(hub.address(), method, target, &narrow));
    }
    check(&request(hub.address(), "GET", "/events", &[], b""), 401, "no-token", Some("Bearer"));
    is_forbidden(&ask(hub.address(), "GET", "/events", &token(json!({"publish": ["*"]}))));
    is_forbidden(&ask(hub.address(), "POST", "/events/a?topic=b", &narrow));
    let batch = "{\"topic\":\"a\",\"data\":\"x\"}\n{\"topic\":\"b\",\"data\":\"x\"}\n";
    let headers = ["Content-Type: application/x-ndjson", &bearer(&narrow)];
    let answer = request(hub.address(), "POST", "/events", &headers, batch.as_bytes());
    is_forbidden(&answer);
    assert_eq!(answer.json()["line"], 2);
    assert_eq!(ask(hub.address(), "POST", "/events/a", &narrow).status, 201);
}

#[test]
fn topics_that_exist_and_those_that_do_not_answer_alike() {
    let hub = Guarded::start(&[]);
    publish(&hub, "/events/there?private", "x");
    let narrow = token(json!({"publish": ["a"], "subscribe": ["a"]}));
    let date_off = |answer: &Answer| -> String {
        let lines =
            answer.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    for (method, token) in [("GET", &narrow), ("HEAD", &narrow), ("POST", &narrow)] {
        let [there, gone] = ["there", "never"]
            .map(|topic| ask(hub.address(), method, &format!("/events/{topic}"), token));
        assert_eq!(there.body.replace("there", "never"), gone.body);
        assert_eq!(date_off(&there), date_off(&gone));
    }
}

#[test]
fn a_private_event_reaches_only_holders_of_a_grant_for_its_topic() {
    let hub = Guarded::start(&["--anonymous", "subscribe"]);
    let holder = token(json!({"subscribe": ["users/1/*"]}));
    let mut live = [
        open(&hub, "/events", &holder),
        open(&hub, "/events?pattern=*", &holder),
        open(&hub, "/events?pattern=users/:id/:what", &holder),
        Stream::open(hub.address(), "/events?pattern=users/*", &[]),
        Stream::open(hub.address(), "/events", &[]),
    ];
    publish(&hub, "/events/users/1/mail?private", "for one");
    publish(&hub, "/events/users/2/mail?private", "for two");
    publish(&hub, "/events/users/2/mail?private&topic=users/1/mail", "for both");
    publish(&hub, "/events/users/2/mail", "for all");
    let granted = ["for one", "for both", "for all"];
    for stream in &mut live[..3] {
        assert_eq!(stream.data(3), granted);
    }
    for stream in &mut live[3..] {
        assert_eq!(stream.data(1), ["for all"]);
    }
    for target in
        ["/events?earliest", "/events?pattern=users/*&last=3", "/events?earliest&envelope=json"]
    {
        let data = open(&hub, target, &holder).data(3);
        let last = data.last().unwrap();
        assert!(data[0].contains("for one") && last.contains("for all"), "{target}: {data:?}");
        let data = Stream::open(hub.address(), target, &[]).data(1);
        assert!(data[0].contains("for all"), "{target}: {data:?}");
    }
}

#[test]
fn where_anonymous_clients_may_do_nothing_a_token_sees_only_its_topics() {
    let hub = Guarded::start(&[]);
    let holder = token(json!({"subscribe": ["a"]}));
    let mut everything = open(&hub, "/events?earliest", &holder);
    let mut pattern = open(&hub, "/events?pattern=*&earliest", &holder);
    publish(&hub, "/events/b", "not for it");
    publish(&hub, "/events/a", "public");
    publish(&hub, "/events/a?private", "private");
    assert_eq!(everything.data(2), ["public", "private"]);
    assert_eq!(pattern.data(2), ["public", "private"]);
}

#[test]
fn an_idempotency_key_works_within_its_topic_and_reveals_nothing_to_other_topics() {
    let hub = Guarded::start(&[]);
    let [one, two] = ["a", "b"].map(|topic| token(json!({"publish": [topic]})));
    assert_eq!(ask(hub.address(), "POST", "/events/a?id=k", &one).status, 201);
    assert_eq!(ask(hub.address(), "POST", "/events/a?id=k", &one).status, 200);
    assert_eq!(
        ask(hub.address(), "POST", "/events/b?id=k", &two).status,
        201,
        "it is not squatted"
    );
    let [used, unused] =
        ["k", "unused"].map(|key| ask(hub.address(), "POST", &format!("/events/a?id={key}"), &two));
    is_forbidden(&used);
    assert_eq!(used.body, unused.body, "nor can it be probed");
}

#[test]
fn a_stream_ends_with_its_token_and_resumes_with_another_token_without_loss() {
    let hub = Guarded::start(&["--retry", "50ms"]);
    let mut stream = open(&hub, "/events/a", &token(json!({"subscribe": ["a"], "exp": at(2)})));
    publish(&hub, "/events/a", "before");
    let events: Vec<_> = std::iter::from_fn(|| stream.next()).collect();
    let seen: Vec<_> =
        events.iter().map(|event| (event.event_type.as_str(), event.data.as_str())).collect();
    let at = |event: usize| format!("{{\"position\":\"{}\"}}", events[event].last_event_id);
    let expected =
        [("carafe.position", &*at(0)), ("message", "before"), ("carafe.expired", &*at(2))];
    assert_eq!(seen, expected);
    publish(&hub, "/events/a", "between");
    let last = format!("Last-Event-ID: {}", events[2].last_event_id);
    let another = bearer(&token(json!({"subscribe": ["a"]})));
    let mut stream = Stream::open(hub.address(), "/events/a", &[&last, &another]);
    publish(&hub, "/events/a", "after");
    assert_eq!(stream.data(2), ["between", "after"]);
}

#[test]
fn a_cookie_subscribes_and_publishes_for_pages_of_the_hubs_own_host_alone() {
    let hub = Guarded::start(&[]);
    let cookie = format!("Cookie: theme=dark; carafe_token={}; x=y", token(all()));
    Stream::open(hub.address(), "/events/a", &[&cookie]);
    Stream::open(hub.address(), "/events/a", &[&cookie, "Origin: https://foreign.example"]);
    let publish = |headers: &[&str]| request(hub.address(), "POST", "/events/a", headers, b"x");
    let own = format!("Origin: http://{}", hub.address());
    assert_eq!(publish(&[&cookie, &own]).status, 201);
    let own_name = format!("Origin: http://{}.foreign.example", hub.address());
    for origin in
        ["Origin: https://foreign.example", "Origin: null", "Origin: ", "X: no origin", &own_name]
    {
        check(&publish(&[&cookie, origin]), 403, "foreign-origin", None);
    }
    check(
        &publish(&[&cookie, &own, "Origin: https://foreign.example"]),
        403,
        "foreign-origin",
        None,
    );
    // The header is no browser's doing, and wins.
    assert_eq!(
        publish(&[&cookie, &bearer(&token(all())), "Origin: https://foreign.example"]).status,
        201
    );
    is_bad(&publish(&["Cookie: carafe_token=x", &own]));
    is_bad(&publish(&[&cookie, "Cookie: carafe_token=x", &own]));
}

#[test]
fn a_cookie_publishes_for_pages_of_the_origins_that_are_listed_too() {
    let options =
        ["--cookie", "session", "--allow-origin", "https://one.example,https://two.example,*"];
    let hub = Guarded::start(&options);
    let cookie = format!("Cookie: session={}", token(all()));
    let publish =
        |origin: &str| request(hub.address(), "POST", "/events/a", &[&cookie, origin], b"x");
    let own = format!("Origin: http://{}", hub.address());
    for origin in ["Origin: https://one.example", "Origin: https://two.example", &own] {
        assert_eq!(publish(origin).status, 201, "{origin}");
    }
    for origin in [
        "Origin: http://one.example",
        "Origin: https://one.example:444",
        "Origin: https://three.example",
    ] {
        check(&publish(origin), 403, "foreign-origin", None);
    }
    let other = format!("Cookie: carafe_token={}", token(all()));
    check(
        &request(hub.address(), "GET", "/events", &[&other], b""),
        401,
        "no-token",
        Some("Bearer"),
    );
}

#[test]
fn a_token_in_the_query_is_taken_only_where_it_is_switched_on() {
    let hub = Guarded::start(ANONYMOUS);
    let token = token(json!({"publish": ["a"], "subscribe": ["a"]}));
    let target = format!("/events/a?access_token={token}");
    for method in ["GET", "POST"] {
        let answer = request(hub.address(), method, &target, &[], b"x");
        check(&answer, 400, "bad-parameter", None);
        assert!(!answer.body.contains(&token));
    }
    let hub = Guarded::start(&["--token-in-query"]);
    assert_eq!(request(hub.address(), "POST", &target, &[], b"x").status, 201);
    let mut stream = Stream::open(hub.address(), &format!("{target}&earliest"), &[]);
    assert_eq!(stream.data(1), ["x"]);
    is_bad(&request(hub.address(), "GET", "/events/a?access_token=x", &[], b""));
    is_bad(&request(hub.address(), "GET", &format!("{target}&access_token={token}"), &[], b""));
    let folder = Folder::new();
    let file = folder.write("carafe.toml", "token-in-query = true\n");
    let hub = Guarded::start(&["--config", &file]);
    assert_eq!(request(hub.address(), "POST", &target, &[], b"x").status, 201);
}

#[test]
fn no_token_and_no_secret_is_ever_in_a_log() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let options = [
        "serve",
        "--log",
        "memory:",
        "--listen",
        "127.0.0.1:0",
        "--secret-file",
        &secret,
        "--token-in-query",
    ];
    let process = Process::start(carafe().args(options).env("RUST_LOG", "trace"));
    let mut printed = String::new();
    let ready = lines_up_to(&process.stderr, &mut printed, |line| line.starts_with("listening on"));
    let (_, address) = ready.split_once("://").unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let [good, bad] = [token(all()), signed(&Signer::secret(OTHER.as_bytes()).unwrap(), all())];
    for (token, status) in [(&good, 201), (&bad, 401)] {
        let own = format!("Origin: http://{address}");
        let cookie = format!("Cookie: carafe_token={token}");
        let in_query = format!("/events/a?access_token={token}");
        let post =
            |target: &str, headers: &[&str]| request(address, "POST", target, headers, b"x").status;
        assert_eq!(post("/events/a", &[&bearer(token)]), status);
        assert_eq!(post("/events/a", &[&cookie, &own]), status);
        assert_eq!(post(&in_query, &[]), status);
        if crate::clients::is_here("curl", "no_token_and_no_secret_is_ever_in_a_log over HTTP/2") {
            let url = format!("http://{address}{in_query}");
            let header = bearer(token);
            let arguments = [
                "--http2-prior-knowledge",
                "--head",
                "--header",
                &header,
                "--header",
                &cookie,
                &url,
            ];
            let answer = crate::certificate::curl(&arguments);
            assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        }
    }
    process.signal(Signal::HUP);
    lines_up_to(&process.stderr, &mut printed, |line| line.contains("reloaded the keys"));
    process.signal(Signal::TERM);
    lines_up_to(&process.stderr, &mut printed, |_| false);
    assert!(printed.contains("TRACE"), "{printed}");
    for token in [&good, &bad] {
        for part in token.split('.').skip(1) {
            assert!(!printed.contains(part), "{}", line_with(&printed, part));
        }
    }
    assert!(!printed.contains(SECRET), "{}", line_with(&printed, SECRET));
}

/// Appends lines to `printed`, up to the line that is `wanted`, which it returns, or to the end.
fn lines_up_to(
    stderr: &Receiver<String>,
    printed: &mut String,
    wanted: impl Fn(&str) -> bool,
) -> String {
    while let Ok(line) = stderr.recv_timeout(PATIENCE) {
        printed.push_str(&line);
        printed.push('\n');
        if wanted(&line) {
            return line;
        }
    }
    String::new()
}

fn line_with<'a>(printed: &'a str, part: &str) -> &'a str {
    printed.lines().find(|line| line.contains(part)).unwrap_or_default()
}

#[test]
fn a_new_secret_is_taken_after_sighup_and_a_stream_stays_open() {
    rotates(Server::hang_up);
}

#[test]
fn a_new_secret_is_taken_when_its_file_changes_and_a_stream_stays_open() {
    rotates(|_| {});
}

#[track_caller]
fn rotates(tell: impl Fn(&Server)) {
    let guarded = Guarded::start(&[]);
    let old = token(all());
    let new = signed(&Signer::secret(OTHER.as_bytes()).unwrap(), all());
    let mut stream = open(&guarded, "/events/a", &old);
    is_bad(&ask(guarded.address(), "POST", "/events/a", &new));
    guarded.folder.write("secret", OTHER);
    tell(&guarded.hub);
    guarded.hub.next_record(|line| line.contains("reloaded the keys"));
    is_bad(&ask(guarded.address(), "POST", "/events/a", &old));
    assert_eq!(ask(guarded.address(), "POST", "/events/a", &new).status, 201);
    assert_eq!(stream.data(1), ["data"]);
}

#[test]
fn bad_new_keys_are_reported_and_the_old_ones_stay_in_use() {
    let folder = Folder::new();
    folder.write("secret", SECRET);
    let whole = "[[key]]\nsecret-file = \"secret\"\n";
    let keys = folder.write("keys.toml", whole);
    let hub = serve(&["--keys", &keys], &[]);
    for (file, text) in
        [("secret", "short"), ("keys.toml", ""), ("keys.toml", "[[key]]"), ("keys.toml", "[[")]
    {
        folder.write(file, text);
        hub.hang_up();
        let seen = hub.next_record(|line| line.contains("cannot reload the keys"));
        assert!(seen.contains("ERROR") && !seen.contains("short\""), "{seen}");
        assert_eq!(ask(hub.address, "POST", "/events/a", &token(all())).status, 201);
    }
    // Another file is named, and then looked after.
    folder.write("secret", SECRET);
    folder.write("other", SECRET);
    folder.write("keys.toml", "[[key]]\nsecret-file = \"other\"\n");
    hub.hang_up();
    hub.next_record(|line| line.contains("reloaded the keys"));
    folder.write("other", OTHER);
    hub.next_record(|line| line.contains("reloaded the keys"));
    let new = signed(&Signer::secret(OTHER.as_bytes()).unwrap(), all());
    assert_eq!(ask(hub.address, "POST", "/events/a", &new).status, 201);
}

#[test]
fn keys_that_cannot_be_used_are_refused_at_the_start_with_exit_2() {
    let folder = Folder::new();
    let short = folder.write("short", "a secret of thirty-one bytes...");
    let serve = |options: &[&str], sentence: &str| {
        fails(&[&["serve", "--log", "memory:"], options].concat(), 2, sentence);
    };
    serve(&[], "--secret-file");
    serve(&["--secret-file", &short], "fewer than 32 bytes");
    serve(&["--secret-file", "nowhere"], "cannot read nowhere");
    serve(&["--keys", "nowhere"], "cannot read nowhere");
    serve(&["--issuer", "x"], "apply to a secret");
    folder.write("secret", SECRET);
    folder.write("public.pem", &KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_pem());
    for (text, sentence) in [
        ("", "has 0 keys"),
        ("[[key]]\n", "key 1: expected exactly one of secret-file"),
        ("[[key]]\nsecret = \"x\"\n", "unknown field `secret`"),
        (
            "[[key]]\nsecret-file = \"secret\"\n[[key]]\nsecret-file = \"short\"\n",
            "key 2: the secret has fewer",
        ),
        (
            "[[key]]\nsecret-file = \"secret\"\npublic-key = \"public.pem\"\n",
            "expected exactly one of secret-file",
        ),
        (
            "[[key]]\nsecret-file = \"secret\"\nalgorithms = [\"RS256\"]\n",
            "none of the algorithms fits",
        ),
        (
            "[[key]]\npublic-key = \"public.pem\"\nalgorithms = [\"HS256\"]\n",
            "none of the algorithms fits",
        ),
        ("[[key]]\nsecret-file = \"secret\"\nalgorithms = [\"none\"]\n", "none"),
        ("[[key]]\nsecret-file = \"secret\"\nrefresh = \"1m\"\n", "refresh applies to"),
        ("[[key]]\npublic-key = \"secret\"\n", "contains no public key"),
        ("[[key]]\njwk-set = \"secret\"\n", "not a JWK Set"),
        ("[[key]]\njwk-set = \"http://issuer.example/keys\"\n", "use https"),
        ("[[key]]\nsecret-file = \"secret\"\ndialect = \"esperanto\"\n", "esperanto"),
        (
            "[[key]]\nsecret-file = \"secret\"\ndialect = \"mercure-1\"\nissuer = \"x\"\n",
            "give both",
        ),
        (&"[[key]]\nsecret-file = \"secret\"\n".repeat(33), "has 33 keys"),
    ] {
        let keys = folder.write("keys.toml", text);
        serve(&["--keys", &keys], sentence);
    }
}

#[test]
fn a_secret_may_stand_in_the_environment_and_is_nowhere_printed() {
    let hub = serve(&[], &[("CARAFE_SECRET", SECRET)]);
    assert_eq!(ask(hub.address, "POST", "/events/a", &token(all())).status, 201);
    let help = carafe().args(["serve", "--help"]).env("CARAFE_SECRET", SECRET).output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains(SECRET));
    fails(&["token", "--publish", "a"], 2, "CARAFE_SECRET");
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// A token that the program makes; it prints nothing else.
#[track_caller]
fn made(arguments: &[&str]) -> String {
    let output = run(carafe().arg("token").args(arguments));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!(token.matches(['\n', '.']).count(), 3, "{token}");
    token.trim_end().into()
}

#[test]
fn the_program_makes_tokens_and_publishes_and_subscribes_with_them() {
    let guarded = Guarded::start(&["--issuer", "me", "--audience", "hub"]);
    let url = guarded.hub.url("");
    let secret = guarded.folder.path("secret");
    let secret = secret.to_str().unwrap();
    let common = [
        "--secret-file",
        secret,
        "--issuer",
        "me",
        "--audience",
        "hub",
        "--subject",
        "ann",
        "--ttl",
        "1m",
    ];
    let publisher = made(&[&common[..], &["--publish", "orders/*", "--publish", "log"]].concat());
    let subscriber = made(&[&common[..], &["--subscribe", "orders/:id"]].concat());
    let file = guarded.folder.write("token", &format!("{subscriber}\n"));

    let publish = |token: &str, topic: &str| {
        let token = (!token.is_empty()).then_some(("CARAFE_TOKEN", token));
        run(carafe()
            .args(["publish", topic, "one flat white", "--private", "--url", &url])
            .envs(token))
    };
    for topic in ["orders/1", "log"] {
        assert!(publish(&publisher, topic).status.success(), "{topic}");
    }
    for (token, topic, words) in [
        (&*publisher, "other", "(403)"),
        (&*subscriber, "log", "(403)"),
        ("", "log", "(401)"),
        ("x", "log", "(401)"),
    ] {
        let refused = publish(token, topic);
        let printed = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && printed.contains(words), "{printed}");
    }
    let subscribe = |arguments: &[&str]| {
        run(carafe().args(["subscribe", "-n", "1", "--earliest", "--url", &url]).args(arguments))
    };
    let read = subscribe(&["orders/1", "--token-file", &file]);
    assert_eq!(String::from_utf8(read.stdout).unwrap(), "one flat white\n");
    let refused = subscribe(&["log", "--token-file", &file]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("(403)"));
}

#[test]
fn the_program_makes_tokens_with_private_keys_of_each_kind() {
    let folder = Folder::new();
    for (kind, algorithms) in [
        (&PKCS_RSA_SHA256, &["RS256", "PS512"][..]),
        (&PKCS_ECDSA_P256_SHA256, &["ES256"]),
        (&PKCS_ECDSA_P384_SHA384, &["ES384"]),
        (&PKCS_ED25519, &["EdDSA"]),
    ] {
        let pair = KeyPair::generate_for(kind).unwrap();
        let private = folder.write("private.pem", &pair.serialize_pem());
        folder.write("public.pem", &pair.public_key_pem());
        let keys = folder.write("keys.toml", "[[key]]\npublic-key = \"public.pem\"\n");
        let hub = serve(&["--keys", &keys], &[]);
        let common = ["--private-key", &private, "--publish", "a"];
        let mut tokens = vec![made(&common)];
        tokens.extend(
            algorithms.iter().map(|name| made(&[&common[..], &["--algorithm", name]].concat())),
        );
        for token in tokens {
            assert_eq!(ask(hub.address, "POST", "/events/a", &token).status, 201, "{algorithms:?}");
        }
        let wrong = if algorithms == ["EdDSA"] { "ES256" } else { "EdDSA" };
        fails(
            &[&["token", "--algorithm", wrong], &common[..]].concat(),
            2,
            "none of the algorithms fits",
        );
    }
}

#[test]
fn a_token_that_would_be_of_no_use_is_not_made() {
    let folder = Folder::new();
    let secret = folder.write("secret", SECRET);
    let token = |arguments: &[&str], sentence: &str| {
        fails(&[&["token", "--secret-file", &secret], arguments].concat(), 2, sentence);
    };
    token(&[], "would grant nothing");
    token(&["--publish", "orders/("], "`orders/(`");
    token(&["--publish", "a", "--ttl", "0s"], "above zero");
    let topics: Vec<_> = (0..20).map(|number| format!("{number}{}", "x".repeat(400))).collect();
    let many: Vec<_> = topics.iter().flat_map(|topic| ["--publish", topic]).collect();
    token(&many, "more than the 8192 that hubs accept");
    fails(&["token", "--publish", "a", "--secret-file", "nowhere"], 2, "cannot read nowhere");
    fails(&["token", "--publish", "a", "--private-key", &secret], 2, "contains no private key");
}

#[test]
fn keys_of_several_kinds_stand_side_by_side_each_with_its_own_rules() {
    let folder = Folder::new();
    folder.write("secret", SECRET);
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    folder.write("public.pem", &pair.public_key_pem());
    let keys = folder.write(
        "keys.toml",
        r#"
        [[key]]
        secret-file = "secret"
        algorithms = ["HS512"]

        [[key]]
        public-key = "public.pem"
        issuer = "https://issuer.example"
        audience = ["https://hub.example"]

        [[key]]
        secret-file = "secret"
        dialect = "mercure-0"
        "#,
    );
    let hub = serve(&["--keys", &keys], &[]);
    let secret = Signer::secret(SECRET.as_bytes()).unwrap();
    let longer = secret.clone().with_algorithm(Algorithm::HS512).unwrap();
    assert_eq!(ask(hub.address, "POST", "/events/a", &signed(&longer, all())).status, 201);
    is_bad(&ask(hub.address, "POST", "/events/a", &signed(&secret, all())));
    let signer = Signer::pem(pair.serialize_pem().as_bytes()).unwrap();
    let full =
        json!({"publish": ["a"], "iss": "https://issuer.example", "aud": "https://hub.example"});
    assert_eq!(ask(hub.address, "POST", "/events/a", &signed(&signer, full)).status, 201);
    is_bad(&ask(hub.address, "POST", "/events/a", &signed(&signer, all())));
}

/// An issuer's web server, which answers with what it is to say now.
struct Issuer {
    url: String,
    says: Arc<Mutex<String>>,
}

impl Issuer {
    fn start(says: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new(says.to_string()));
        let answer = Arc::clone(&says);
        thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let _ = socket.read(&mut [0; 4096]);
                let body = answer.lock().unwrap().clone();
                let _ = write!(
                    socket,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { url, says }
    }
}

/// Asks until the answer has this status.
#[track_caller]
fn becomes(hub: &Server, token: &str, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    while ask(hub.address, "POST", "/events/a", token).status != status {
        assert!(Instant::now() < deadline, "it is not answered {status} within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_issuer_that_changes_its_keys_under_a_url_is_followed_while_a_stream_stays_open() {
    let pairs = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let key = |number: usize| {
        let x = URL_SAFE_NO_PAD.encode(pairs[number].public_key_raw());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("k{number}"), "x": x})
    };
    let [old, new] = [0, 1].map(|number| {
        let signer = Signer::pem(pairs[number].serialize_pem().as_bytes()).unwrap();
        signed(&signer.with_key_id(format!("k{number}")), all())
    });
    let issuer = Issuer::start(&json!({"keys": [key(0)]}));
    let folder = Folder::new();
    let text = format!("[[key]]\njwk-set = \"{}\"\nrefresh = \"1s\"\n", issuer.url);
    let hub = serve(&["--keys", &folder.write("keys.toml", &text)], &[]);
    let mut stream = Stream::open(hub.address, "/events/b", &[&bearer(&old)]);
    is_bad(&ask(hub.address, "POST", "/events/a", &new));
    *issuer.says.lock().unwrap() = json!({"keys": [key(0), key(1)]}).to_string();
    becomes(&hub, &new, 201);
    assert_eq!(ask(hub.address, "POST", "/events/a", &old).status, 201);
    *issuer.says.lock().unwrap() = json!({"keys": [key(1)]}).to_string();
    becomes(&hub, &old, 401);
    // What is no set changes nothing.
    *issuer.says.lock().unwrap() = "<html>".into();
    hub.next_record(|line| line.contains("cannot fetch the JWK Set"));
    assert_eq!(ask(hub.address, "POST", "/events/b", &new).status, 201);
    assert_eq!(stream.data(1), ["data"]);
}

#[test]
fn a_hub_without_keys_does_not_look_at_tokens() {
    let hub = Server::start(&[]);
    assert_eq!(ask(hub.address, "POST", "/events/a", "whatever").status, 201);
}

#[test]
fn a_holder_of_a_token_may_do_what_anonymous_clients_may() {
    let hub = Guarded::start(&["--anonymous", "publish"]);
    let narrow = token(json!({"subscribe": ["a"]}));
    assert_eq!(ask(hub.address(), "POST", "/events/b", &narrow).status, 201);
    is_forbidden(&ask(hub.address(), "GET", "/events/b", &narrow));
}

#[test]
fn a_holder_publishes_at_its_own_rate_with_any_of_its_tokens() {
    let hub = Guarded::start(&["--anonymous", "publish", "--publish-rate", "1/h"]);
    let of = |subject: &str, seconds: i64| {
        token(json!({"publish": ["*"], "sub": subject, "exp": at(seconds)}))
    };
    let status = |token: &str| ask(hub.address(), "POST", "/events/a", token).status;
    assert_eq!((status(&of("one", 3600)), status(&of("one", 1800))), (201, 429));
    assert_eq!((status(&of("two", 3600)), status(&of("two", 3600))), (201, 429));
    let anonymous = || request(hub.address(), "POST", "/events/a", &[], b"data").status;
    assert_eq!((anonymous(), anonymous()), (201, 429));
}

#[test]
fn a_token_that_is_too_long_is_counted() {
    let hub = Guarded::start(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&hub.hub);
    let long = token(json!({"publish": ["*"], "pad": "x".repeat(6200)}));
    assert_eq!(
        (ask(hub.address(), "POST", "/events/a", &long).status, metrics.limited("token-bytes")),
        (401, 1.0)
    );
}
