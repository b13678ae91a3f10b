//! The features of the library: each builds alone, all build together, and the smallest library
//! stays small.

use std::collections::BTreeSet;

use crate::step::{Step, output};

const FEATURES: [&str; 6] = ["hub", "disk", "server", "auth", "mercure", "client"];

/// The crates that `EventStream` alone may add to those of axum.
const MOST_ADDED: usize = 10;

/// The crates that the client may add to those of reqwest with the same features.
const MOST_ADDED_BY_CLIENT: usize = 10;

pub(crate) fn run() -> Result<(), String> {
    check("")?;
    FEATURES.into_iter().try_for_each(|feature| check(&format!("--features {feature}")))?;
    check("--all-features")?;
    check_size()?;
    check_client_size()
}

fn check(features: &str) -> Result<(), String> {
    let clippy = format!("cargo clippy --quiet -p carafe --no-default-features {features}");
    Step::new("features", &format!("{clippy} -- -D warnings")).run()
}

/// Applications depend on axum with its default features, so crates of those are not counted.
fn check_size() -> Result<(), String> {
    let tree = |edges: &str| {
        let arguments = ["tree", "--package", "carafe", "--no-default-features", "--no-dedupe"];
        output("cargo", &[&arguments[..], &["--prefix", "depth", "--edges", edges]].concat())
            .ok_or("features: cargo tree failed")
    };
    let normal = tree("normal")?;
    let added = added_to_axum(&normal, &tree("normal,dev")?);
    let names = added.iter().copied().collect::<Vec<_>>().join(", ");
    println!("features: EventStream adds {} crates to those of axum: {names}", added.len());
    if added.len() > MOST_ADDED {
        return Err(format!("features: EventStream may add at most {MOST_ADDED} crates"));
    }
    Ok(())
}

/// reqwest has the features that the client asks for.
fn check_client_size() -> Result<(), String> {
    let tree = output(
        "cargo",
        &[
            "tree",
            "--package",
            "carafe-client",
            "--no-dedupe",
            "--prefix",
            "depth",
            "--edges",
            "normal",
        ],
    )
    .ok_or("features: cargo tree failed")?;
    let added = added_to(&below(&tree, "reqwest"), &tree);
    let names = added.iter().copied().collect::<Vec<_>>().join(", ");
    println!("features: carafe-client adds {} crates to those of reqwest: {names}", added.len());
    if added.len() > MOST_ADDED_BY_CLIENT {
        return Err(format!(
            "features: carafe-client may add at most {MOST_ADDED_BY_CLIENT} crates"
        ));
    }
    Ok(())
}

/// The crates of `tree` that are not below axum in `with_dev`, the tree with the dependencies of
/// tests, which use axum with its default features.
fn added_to_axum<'a>(tree: &'a str, with_dev: &str) -> BTreeSet<&'a str> {
    added_to(&below(with_dev, "axum"), tree)
}

fn added_to<'a>(known: &BTreeSet<&str>, tree: &'a str) -> BTreeSet<&'a str> {
    lines(tree).map(|(_, name)| name).filter(|name| !known.contains(name)).collect()
}

/// A crate and its dependencies, in a tree whose lines begin with their depth.
fn below<'a>(tree: &'a str, root: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut inside = None;
    for (depth, name) in lines(tree) {
        if inside.is_some_and(|root_depth| depth <= root_depth) {
            inside = None;
        }
        if inside.is_none() && name == root {
            inside = Some(depth);
        }
        if inside.is_some() {
            found.insert(name);
        }
    }
    found
}

/// Depth and name of each crate, of lines such as `2tokio v1.54.0`.
fn lines(tree: &str) -> impl Iterator<Item = (usize, &str)> {
    tree.lines().filter_map(|line| {
        let digits = line.find(|character: char| !character.is_ascii_digit())?;
        let name = line[digits..].split(' ').next()?;
        Some((line[..digits].parse().ok()?, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_that_axum_has_too_are_not_counted() {
        let tree = "0carafe v0.1.0 (/carafe)\n1axum v0.8.9\n2tokio v1.54.0\n1jsonwebtoken v11.1.0\n2serde v1.0.0";
        let with_dev = "0carafe v0.1.0 (/carafe)\n1axum v0.8.9\n2serde v1.0.0\n2tokio v1.54.0\n3mio v1.2.0\n1tempfile v3.27.0\n[dev-dependencies]\n1axum v0.8.9\n2tokio v1.54.0";
        let added = added_to_axum(tree, with_dev);
        assert_eq!(added, ["carafe", "jsonwebtoken"].into());
    }
}
