//! The order of the crates, and of the folders of carafe-http: dependencies point one way.

use crate::tidy::finding::Finding;
use crate::tidy::imports::{imports, inline_paths};
use crate::tidy::tree::File;

/// Each crate, and the crates of the workspace that it may name.
const CRATES: [(&str, &[&str]); 11] = [
    ("carafe-protocol", &[]),
    ("carafe-log", &["protocol"]),
    ("carafe-hub", &["protocol", "log"]),
    ("carafe-fanout", &["hub"]),
    ("carafe-http", &["protocol", "log", "hub", "fanout"]),
    ("carafe-client", &["protocol"]),
    ("carafe", &["protocol", "log", "hub", "http", "client"]),
    ("carafe-cluster", &["protocol", "log"]),
    ("carafe-bench", &["protocol", "log", "hub"]),
    ("carafe-cli", &["protocol", "log", "hub", "http", "client", "cluster", "bench"]),
    ("carafe-testing", &["protocol"]),
];

/// The folders of carafe-http: each may use those after it.
const FOLDERS: [&str; 7] = ["mercure", "api", "server", "observe", "policy", "auth", "answer"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let sources = files.iter().filter_map(|file| Some((file, file.source()?)));
    let checked = sources.flat_map(|(file, (folder, below))| {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let mut findings = check_crate(file, name);
        if name == "carafe-http" {
            findings.extend(check_folder(file, below));
        }
        findings
    });
    checked.collect()
}

fn check_crate(file: &File, name: &str) -> Vec<Finding> {
    if !name.starts_with("carafe") {
        return Vec::new();
    }
    let Some((_, allowed)) = CRATES.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![Finding::new(file, 0, "add this crate to the order of the crates")];
    };
    let names = CRATES.iter().filter_map(|(other, _)| other.strip_prefix("carafe-"));
    let modules: Vec<_> = names.map(|other| format!("carafe_{other}")).collect();
    let paths = imports(file).into_iter().chain(inline_paths(file, &modules));
    let used =
        paths.filter_map(|it| Some((it.line, it.path[0].strip_prefix("carafe_")?.to_owned())));
    used.filter(|(_, other)| !allowed.contains(&other.as_str()) && !is_own(name, other))
        .map(|(line, other)| {
            Finding::new(file, line, format!("{name} must not know carafe-{other}"))
        })
        .collect()
}

/// The measurements use the library of their own package.
fn is_own(name: &str, other: &str) -> bool {
    name.strip_prefix("carafe-") == Some(other)
}

fn check_folder(file: &File, below: &str) -> Vec<Finding> {
    let rank = |folder: &str| FOLDERS.iter().position(|name| *name == folder);
    let own = below.split('/').next().unwrap_or_default();
    let Some(own_rank) = rank(own) else { return Vec::new() };
    let paths = imports(file).into_iter().chain(inline_paths(file, &[]));
    let wrong = paths.filter_map(|import| match import.path.as_slice() {
        [first, other, ..] if first == "crate" && rank(other)? < own_rank => {
            Some((import.line, other.clone()))
        }
        _ => None,
    });
    wrong
        .map(|(line, other)| Finding::new(file, line, format!("{own} must not know {other}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(path: &str, text: &str) -> Vec<String> {
        check(&[File::of(path, text)]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_crate_that_knows_one_above_it_is_found() {
        let path = "crates/carafe-log/src/read.rs";
        assert_eq!(check_one(path, "use carafe_protocol::Topic;\nuse carafe_log::A;\n"), [""; 0]);
        let wrong = ["carafe-log must not know carafe-hub"];
        assert_eq!(check_one(path, "use carafe_hub::Hub;\n"), wrong);
        assert_eq!(check_one(path, "fn a() { carafe_hub::b(); }\n"), wrong);
        assert_eq!(
            check_one("crates/carafe-new/src/lib.rs", ""),
            ["add this crate to the order of the crates"]
        );
    }

    #[test]
    fn a_folder_that_knows_one_above_it_is_found() {
        let path = "crates/carafe-http/src/policy/rights.rs";
        assert_eq!(check_one(path, "use crate::answer::problem::Problem;\n"), [""; 0]);
        assert_eq!(check_one(path, "use crate::api::app::App;\n"), ["policy must not know api"]);
        assert_eq!(
            check_one(path, "fn a(b: crate::server::B) {}\n"),
            ["policy must not know server"]
        );
        assert_eq!(check_one("crates/carafe-http/src/router.rs", "use crate::api::A;\n"), [""; 0]);
    }
}
