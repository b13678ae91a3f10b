//! Each way for a node to sign in.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use carafe_cluster::{ClusterUrl, Created, Credentials, EngineError};
use carafe_testing::nats::{self, NatsServers};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::servers::{append, requirements, start};

/// Creates a stream and uses it.
async fn works(url: ClusterUrl) {
    let engine = carafe_cluster::open(url).await.unwrap();
    assert_eq!(engine.create(requirements()).await, Ok(Created::New));
    assert_eq!(append(&engine, "first").await, 1);
}

async fn is_refused(url: ClusterUrl) {
    let refused = carafe_cluster::open(url).await.map(drop);
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
}

fn url(servers: &NatsServers) -> ClusterUrl {
    format!("{}/EVENTS", servers.url()).parse().unwrap()
}

fn with_user_info(servers: &NatsServers, user: &str) -> ClusterUrl {
    let url = servers.url().replace("nats://", &format!("nats://{user}@"));
    format!("{url}/EVENTS").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_with_a_password_in_the_url_or_beside_it() {
    if !nats::is_here("a_user_signs_in_with_a_password_in_the_url_or_beside_it") {
        return;
    }
    let servers = start(1, r#"authorization { user: hub, password: "s3:c/ret" }"#).await;
    works(with_user_info(&servers, "hub:s3%3Ac%2Fret")).await;
    let beside = url(&servers).with_credentials(Credentials::parse("hub:s3:c/ret").unwrap());
    let engine = carafe_cluster::open(beside).await.unwrap();
    assert_eq!(engine.state().await.unwrap().last, 1);
    is_refused(with_user_info(&servers, "hub:wrong")).await;
    is_refused(url(&servers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_in() {
    if !nats::is_here("a_token_signs_in") {
        return;
    }
    let servers = start(1, r#"authorization { token: "t0ken" }"#).await;
    works(with_user_info(&servers, "t0ken")).await;
    is_refused(with_user_info(&servers, "wrong")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_signs_in() {
    if !nats::is_here("an_nkey_signs_in") {
        return;
    }
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let users = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key());
    let servers = start(1, users).await;
    let seed = |key: &KeyPair| Credentials::parse(&key.seed().unwrap()).unwrap();
    works(url(&servers).with_credentials(seed(&user))).await;
    is_refused(url(&servers).with_credentials(seed(&stranger))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creds_file_signs_in() {
    if !nats::is_here("a_creds_file_signs_in") {
        return;
    }
    let operator = Operator::new();
    let servers = start(1, operator.configuration()).await;
    let user = KeyPair::new_user();
    let creds = |issuer: &KeyPair| Credentials::parse(&creds_file(&user, issuer)).unwrap();
    works(url(&servers).with_credentials(creds(&operator.account))).await;
    let stranger = KeyPair::new_account();
    is_refused(url(&servers).with_credentials(creds(&stranger))).await;
}

struct Operator {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Operator {
    fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
        }
    }

    fn configuration(&self) -> String {
        let operator = jwt(&self.operator, &self.operator, json!({ "type": "operator" }));
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
            "consumer": -1,
        });
        let of_account = json!({ "type": "account", "limits": unlimited });
        let of_system = json!({ "type": "account" });
        let (account, system) = (self.account.public_key(), self.system.public_key());
        format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{ {account}: {}, {system}: {} }}",
            jwt(&self.account, &self.operator, of_account),
            jwt(&self.system, &self.operator, of_system),
        )
    }
}

/// What `nsc` writes.
fn creds_file(user: &KeyPair, issuer: &KeyPair) -> String {
    let limits = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
    let (jwt, seed) = (jwt(user, issuer, limits), user.seed().unwrap());
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// A claim about a key, signed by another.
fn jwt(subject: &KeyPair, issuer: &KeyPair, mut claim: Value) -> String {
    claim["version"] = 2.into();
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "name": "test", "nats": claim,
        "iss": issuer.public_key(), "sub": subject.public_key(),
    });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let encoded = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_nodes_prove_themselves_by_certificates() {
    if !nats::is_here("servers_and_nodes_prove_themselves_by_certificates") {
        return;
    }
    let (server, node) = (Certificate::new(), Certificate::new());
    let shown = |path: &Path| path.display().to_string();
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        shown(&server.certificate),
        shown(&server.key),
        shown(&node.certificate),
    );
    let servers = start(1, tls).await;
    let trusting = url(&servers).with_ca(server.certificate.clone());
    let proven =
        trusting.clone().with_client_certificate(node.certificate.clone(), node.key.clone());
    works(proven).await;

    let distrusting = url(&servers)
        .with_ca(node.certificate.clone())
        .with_client_certificate(node.certificate.clone(), node.key.clone());
    for url in [trusting, distrusting] {
        let fails = carafe_cluster::open(url).await.map(drop);
        assert!(matches!(fails, Err(EngineError::Unavailable(_))), "{fails:?}");
    }
}

/// A certificate of this machine, signed by itself, and its key.
struct Certificate {
    _folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
        let folder = TempDir::new().unwrap();
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|it| folder.path().join(it));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { _folder: folder, certificate, key }
    }
}
