//! The page at `/`, in Chromium.

use crate::clients::{is_here, node};
use crate::process::{PATIENCE, Process, Server};
use crate::proxy::{Cut, Proxy};

#[test]
fn the_page_holds_its_promises() {
    if !is_here("browser", "the_page_holds_its_promises") {
        return;
    }
    let hub = Server::dev();
    let page = Process::start(node("tests/browser/console.mjs").arg(hub.url("/")));
    let failure = page.stderr.recv_timeout(4 * PATIENCE).unwrap_or_default();
    let seen: Vec<_> = page.stdout.iter().collect();
    assert!(page.wait().success(), "{failure}\n{}", seen.join("\n"));
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
