//! The examples of docs/RUST-CLIENT.md, as they are printed, over a hub.
//!
//! They name the hub's documented address. This process runs itself with the hub as its HTTP proxy,
//! so their requests arrive there.

#![allow(unreachable_pub, clippy::missing_errors_doc, reason = "as users write it")]

mod feed;
mod gaps;
mod publish;
mod read;
mod resume;
mod states;
mod tokens;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use crate::http::publish as publish_once;
use crate::process::{Process, Server, eventually, repository};

const EXAMPLE: &str = "CARAFE_TEST_EXAMPLE";

/// The name of each example in the order of the page, its text, and what it prints.
const EXAMPLES: [(&str, &str, &str); 7] = [
    ("read", include_str!("read.rs"), "message: order"),
    ("resume", include_str!("resume.rs"), "order"),
    ("gaps", include_str!("gaps.rs"), "load everything again: foreign"),
    ("states", include_str!("states.rs"), "open: http://127.0.0.1:3000/events/orders"),
    ("tokens", include_str!("tokens.rs"), "order"),
    ("publish", include_str!("publish.rs"), "2 more"),
    ("feed", include_str!("feed.rs"), "3 events are stored"),
];

#[test]
fn the_guide_has_these_examples() {
    let page = fs::read_to_string(repository("docs/RUST-CLIENT.md")).unwrap();
    let blocks = page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Without the header of the module.
    let examples = EXAMPLES.map(|(_, text, _)| text.split_once("\n\n").unwrap().1);
    assert_eq!(blocks.collect::<Vec<_>>(), examples);
}

#[test]
fn each_example_of_the_guide_does_what_it_says() {
    let hub = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.token"), "unused\n").unwrap();
    for (name, _, expected) in EXAMPLES {
        let example = start(name, &hub, folder.path());
        wait_for(&example, expected, &hub);
        if name == "resume" {
            let position = folder.path().join("orders.position");
            eventually("the position is saved", || position.exists());
        }
    }
}

/// Publishes until the example has printed this.
#[track_caller]
fn wait_for(example: &Process, expected: &str, hub: &Server) {
    loop {
        publish_once(hub.address, "/events/orders", "order");
        match example.stdout.recv_timeout(Duration::from_millis(100)) {
            Ok(line) if line.contains(expected) => return,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(ended) => {
                let said: Vec<_> = example.stderr.try_iter().collect();
                panic!("{expected}: {ended}: {said:?}");
            }
        }
    }
}

fn start(name: &str, hub: &Server, folder: &Path) -> Process {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["rust_guide::runs_an_example", "--exact", "--ignored", "--nocapture"]);
    program.current_dir(folder).env(EXAMPLE, name).env("HTTP_PROXY", hub.url(""));
    for name in ["NO_PROXY", "no_proxy", "http_proxy"] {
        program.env_remove(name);
    }
    Process::start(&mut program)
}

#[tokio::test]
#[ignore = "the test above runs it in a process of its own"]
async fn runs_an_example() {
    let name = std::env::var(EXAMPLE).expect("the test above names the example");
    match name.as_str() {
        "read" => read::read().await.unwrap(),
        "resume" => resume::resume().await.unwrap(),
        "gaps" => gaps::gaps().await.unwrap(),
        "states" => states::states().await.unwrap(),
        "tokens" => tokens::tokens().await.unwrap(),
        "publish" => publish::publish().await.unwrap(),
        "feed" => feed::feed().await.unwrap(),
        name => panic!("there is no example {name}"),
    }
}
