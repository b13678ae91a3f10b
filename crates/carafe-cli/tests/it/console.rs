//! The page at `/`, in Chromium.

use crate::clients::{is_here, node};
use crate::process::{PATIENCE, Process, Server};
use crate::proxy::{Cut, Proxy};

/// Runs a script against a hub for development, and shows what it printed if it fails.
fn passes(test: &str, script: &str, arguments: &[&str]) {
    if !is_here("browser", test) {
        return;
    }
    let hub = Server::dev();
    let page = Process::start(node(script).arg(hub.url("/")).args(arguments));
    let failure = page.stderr.recv_timeout(12 * PATIENCE).unwrap_or_default();
    let seen: Vec<_> = page.stdout.iter().collect();
    assert!(page.wait().success(), "{failure}\n{}", seen.join("\n"));
}

#[test]
fn the_list_of_the_page_holds_its_promises() {
    passes("the_list_of_the_page_holds_its_promises", "tests/browser/console.mjs", &["list"]);
}

#[test]
fn the_stream_of_the_page_holds_its_promises() {
    passes("the_stream_of_the_page_holds_its_promises", "tests/browser/console.mjs", &["stream"]);
}

#[test]
fn the_forms_of_the_page_hold_their_promises() {
    passes("the_forms_of_the_page_hold_their_promises", "tests/browser/console.mjs", &["forms"]);
}

#[test]
fn the_page_is_for_every_eye_ear_and_screen() {
    passes("the_page_is_for_every_eye_ear_and_screen", "tests/browser/console.mjs", &["looks"]);
}

#[test]
fn a_burst_of_events_does_not_block_the_page() {
    passes("a_burst_of_events_does_not_block_the_page", "tests/browser/console-burst.mjs", &[]);
}

#[test]
fn the_page_shows_the_gap_of_a_restart_and_continues() {
    if !is_here("browser", "the_page_shows_the_gap_of_a_restart_and_continues") {
        return;
    }
    let first = Server::dev();
    let proxy = Proxy::start(first.address, 0, Cut::Anywhere);
    let page = Process::start(
        node("tests/browser/console-restart.mjs").arg(format!("http://{}", proxy.address)),
    );
    page.next_line(|line| line.contains("\"ready\""));
    let second = Server::dev();
    proxy.retarget(second.address);
    first.terminate();
    let gap = page.next_line(|line| line.contains("\"gap\""));
    assert!(page.wait().success(), "{gap}");
}
