//! Users who may not do all that a node does.

use std::fs;
use std::sync::Arc;

use carafe_cluster::{ClusterUrl, Created, EngineError, Finding, Setup, Severity};
use carafe_testing::nats::{self, NatsServers};
use carafe_testing::process::repository;
use futures_util::FutureExt;
use serde_json::json;

use crate::servers::{append, connect, message, read, requirements, start, texts, url};

/// What the documentation says that a user needs.
struct Documented {
    publish: Vec<String>,
    subscribe: Vec<String>,
    create: Vec<String>,
}

impl Documented {
    fn read() -> Self {
        let page = fs::read_to_string(repository("docs/CLUSTER.md")).unwrap();
        let subjects = |row: &str| -> Vec<_> {
            let line = page.lines().find(|line| line.starts_with(row)).expect(row);
            line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        Self {
            publish: subjects("| publish |"),
            subscribe: subjects("| subscribe |"),
            create: subjects("| publish, to create the stream |"),
        }
    }
}

/// A server where the user `node` may do this, and others everything.
async fn server_for(publish: &[String], subscribe: &[String]) -> Arc<NatsServers> {
    let permissions = json!({ "publish": publish, "subscribe": subscribe });
    let users = format!(
        "no_auth_user: all\nauthorization {{ users: [ {{ user: all, password: all }}, \
         {{ user: node, password: node, permissions: {permissions} }} ] }}"
    );
    start(1, users).await
}

/// The engine for the user `node`. The stream has the name that the documentation uses.
async fn node(servers: &NatsServers) -> Arc<dyn Setup> {
    let url = servers.url().replace("nats://", "nats://node:node@");
    let url: ClusterUrl = format!("{url}/STREAM").parse().unwrap();
    carafe_cluster::open(url).await.unwrap()
}

async fn create(servers: &NatsServers) {
    let anybody = connect(url(servers, "STREAM")).await;
    assert_eq!(anybody.create(requirements()).await, Ok(Created::New));
}

async fn permissions(engine: &Arc<dyn Setup>) -> Finding {
    let findings = engine.check(requirements()).await.unwrap();
    findings.into_iter().find(|finding| finding.setting == "permissions").unwrap()
}

/// Denied, which was said at once, with what to change.
#[track_caller]
fn is_denied<T: std::fmt::Debug>(answer: Result<T, EngineError>, permission: &str) {
    let Err(EngineError::Refused(why)) = answer else { panic!("{answer:?}") };
    let wanted = format!("lacks the permission {permission}: grant it");
    assert!(why.contains(&wanted), "{why}");
}

/// On one thread, so that no answer comes while a request is sent.
#[tokio::test]
async fn the_permissions_of_the_documentation_are_enough() {
    if !nats::is_here("the_permissions_of_the_documentation_are_enough") {
        return;
    }
    let Documented { publish, subscribe, create } = Documented::read();
    let servers = server_for(&[publish, create].concat(), &subscribe).await;
    let engine = node(&servers).await;
    assert_eq!(engine.create(requirements()).await, Ok(Created::New));
    let found = permissions(&engine).await;
    assert_eq!(found.severity, Severity::Right, "{found}");
    append(&engine, "first").await;
    // Nobody knows its outcome: before the next one, the server has to show that it goes on.
    assert_eq!(engine.append(message("second")).now_or_never(), None);
    assert_eq!(engine.append(message("third")).await, Ok(3));
    assert_eq!(engine.get(1).await.unwrap().unwrap().sequence, 1);
    assert_eq!(texts(&read(&engine, 1, 3).await), ["first", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_each_permission_that_is_missing() {
    if !nats::is_here("a_check_names_each_permission_that_is_missing") {
        return;
    }
    let Documented { publish, subscribe, .. } = Documented::read();
    let is_asked = |subject: &&String| subject.contains("INFO");
    let (asked, others): (Vec<_>, Vec<_>) = publish.iter().partition(is_asked);
    let asked: Vec<_> = asked.into_iter().cloned().collect();
    let servers = server_for(&asked, &subscribe).await;
    create(&servers).await;
    let found = permissions(&node(&servers).await).await;
    assert_eq!(found.severity, Severity::Refusal, "{found}");
    for subject in others {
        assert!(found.text.contains(&format!("to publish to {subject}")), "{subject}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_may_not_do_is_refused_by_its_name() {
    if !nats::is_here("what_a_user_may_not_do_is_refused_by_its_name") {
        return;
    }
    let Documented { publish, subscribe, .. } = Documented::read();
    for subject in publish.iter().filter(|subject| !subject.contains("FC")) {
        let others: Vec<_> = publish.iter().filter(|other| *other != subject).cloned().collect();
        let servers = server_for(&others, &subscribe).await;
        let (engine, permission) = (node(&servers).await, format!("to publish to {subject}"));
        if subject.contains("INFO") {
            is_denied(engine.state().await, &permission);
            is_denied(engine.create(requirements()).await, &permission);
            continue;
        }
        is_denied(
            engine.create(requirements()).await,
            "to publish to $JS.API.STREAM.CREATE.STREAM",
        );
        create(&servers).await;
        let appended = engine.append(message("first")).await;
        let (got, tail) = (engine.get(1).await, engine.tail(1).await);
        match &**subject {
            "carafe.STREAM" => {
                is_denied(appended, &permission);
                is_denied(engine.append(message("again")).await, &permission);
                assert_eq!(engine.state().await.unwrap().last, 0);
            }
            subject if subject.contains("GET") => is_denied(got, &permission),
            _ => is_denied(tail.map(drop), &permission),
        }
    }
}

/// A client subscribes once for all answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_receive_no_answers_is_told_so_each_time() {
    if !nats::is_here("a_user_who_may_receive_no_answers_is_told_so_each_time") {
        return;
    }
    let publish = Documented::read().publish;
    let servers = server_for(&publish, &["carafe.STREAM".into()]).await;
    let engine = node(&servers).await;
    for _ in 0..3 {
        is_denied(engine.state().await, "to subscribe to _INBOX.>");
    }
}
