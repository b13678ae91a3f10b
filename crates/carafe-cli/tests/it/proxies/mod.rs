//! The hub behind proxies, with the configurations that the documentation shows.

mod compression;
mod configuration;
mod forwarding;
mod front;
mod ingest;
mod kind;
mod unavailable;
mod under_a_path;

use std::fs;

use crate::process::repository;
pub(crate) use front::Front;
pub(crate) use kind::Kind;

/// A test of each function behind each proxy. The function receives the proxy and the name of the
/// test.
macro_rules! behind_each_proxy {
    ($($check:ident),+ $(,)?) => {$(
        mod $check {
            use crate::proxies::kind::Kind;

            fn check(kind: Kind) {
                let test = format!("{}_behind_{}", stringify!($check), kind.name());
                if kind.is_here(&test) {
                    super::$check(kind, &test);
                }
            }

            #[test]
            fn behind_nginx() {
                check(Kind::Nginx);
            }

            #[test]
            fn behind_caddy() {
                check(Kind::Caddy);
            }

            #[test]
            fn behind_apache() {
                check(Kind::Apache);
            }

            #[test]
            fn behind_haproxy() {
                check(Kind::Haproxy);
            }
        }
    )+};
}
use behind_each_proxy;

#[test]
fn the_documentation_shows_the_configurations_that_are_tested() {
    let page = fs::read_to_string(repository("docs/PROXIES.md")).unwrap();
    let files = fs::read_dir(repository("docs/proxies")).unwrap().map(|file| file.unwrap().path());
    for file in files {
        let shown = fs::read_to_string(&file).unwrap();
        assert!(
            page.contains(&format!("\n{shown}```\n")),
            "{} is not in docs/PROXIES.md as it is",
            file.display()
        );
    }
}
