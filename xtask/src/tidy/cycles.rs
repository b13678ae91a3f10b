//! Import cycles between the files of a crate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::tidy::finding::Finding;
use crate::tidy::imports::{Import, imports, inline_paths};
use crate::tidy::tree::File;

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let crates = crates(files);
    let cycles = crates.values().flat_map(|modules| cycles(&edges(modules)));
    let finding = |cycle: Cycle<'_>| Finding {
        file: cycle.files[0].into(),
        line: 0,
        what: format!(
            "import cycle of {}; the shortest: {}",
            cycle.files.join(", "),
            cycle.shortest.join(" -> ")
        ),
    };
    cycles.map(finding).collect()
}

/// The modules of one crate by their paths, such as `api::publish`; the root's is empty.
type Modules<'a> = BTreeMap<String, &'a File>;

/// The crates by the folders of their roots. A file belongs to the nearest root above it.
fn crates(files: &[File]) -> BTreeMap<&str, Modules<'_>> {
    let sources = files.iter().filter(|file| file.source().is_some());
    let root = |file: &File| {
        let names = ["/lib.rs", "/main.rs"];
        names.iter().find_map(|name| file.path.strip_suffix(name)).map(str::to_owned)
    };
    let roots: BTreeSet<String> = sources.clone().filter_map(root).collect();
    let mut crates = BTreeMap::<_, Modules<'_>>::new();
    for file in sources {
        let above = |root: &&String| file.path.starts_with(&format!("{root}/"));
        let Some(root) = roots.iter().filter(above).max_by_key(|root| root.len()) else { continue };
        let (root, below) = file.path.split_at(root.len());
        crates.entry(root).or_default().insert(module(&below[1..]), file);
    }
    crates
}

/// The path of a module, from that of its file below the root.
fn module(file: &str) -> String {
    let mut path: Vec<_> = file.trim_end_matches(".rs").split('/').collect();
    path.pop_if(|last| *last == "mod" || *last == "lib" || *last == "main");
    path.join("::")
}

fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.into() } else { format!("{parent}::{name}") }
}

fn parent(module: &str) -> Option<&str> {
    (!module.is_empty()).then(|| module.rsplit_once("::").map_or("", |(parent, _)| parent))
}

/// Which files each file imports something from.
type Edges<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Files that reach each other by imports, and the shortest way round from the first of them.
struct Cycle<'a> {
    files: Vec<&'a str>,
    shortest: Vec<&'a str>,
}

fn cycles<'a>(edges: &Edges<'a>) -> Vec<Cycle<'a>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|file| (*file, reachable(file, edges))).collect();
    let mut cycles = BTreeSet::new();
    for (file, reached) in &reachable {
        if reached.contains(file) {
            let cycle = reached.iter().filter(|other| reachable[*other].contains(file));
            cycles.insert(cycle.copied().collect::<Vec<_>>());
        }
    }
    let shortest = |files: &[&'a str]| files.first().map_or(Vec::new(), |it| round(it, edges));
    cycles.into_iter().map(|files| Cycle { shortest: shortest(&files), files }).collect()
}

fn reachable<'a>(start: &str, edges: &Edges<'a>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut to_visit: Vec<&str> = edges[start].iter().copied().collect();
    while let Some(file) = to_visit.pop() {
        if found.insert(file) {
            to_visit.extend(&edges[file]);
        }
    }
    found
}

/// The shortest way from a file back to itself.
fn round<'a>(start: &'a str, edges: &Edges<'a>) -> Vec<&'a str> {
    let mut paths = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        let last = path.last().copied().unwrap_or(start);
        for next in &edges[last] {
            let path = [&path[..], &[*next]].concat();
            if *next == start {
                return path;
            }
            if seen.insert(*next) {
                paths.push_back(path);
            }
        }
    }
    Vec::new()
}

/// Which files each file imports something from.
fn edges<'a>(modules: &Modules<'a>) -> Edges<'a> {
    let of_file = |(path, file): (&String, &&'a File)| {
        let children = modules.keys().filter(|other| parent(other) == Some(path));
        let names: Vec<String> =
            children.filter_map(|it| it.rsplit("::").next()).map(Into::into).collect();
        let used = imports(file).into_iter().filter(|import| !import.is_reexport);
        let used = used.chain(inline_paths(file, &names));
        let files = used.filter_map(|import| resolve(modules, path, &import.path, 8));
        (file.path.as_str(), files.filter(|other| *other != file.path).collect())
    };
    modules.iter().map(of_file).collect()
}

/// The file that defines what a module names by this path; re-exports are followed up to a depth.
fn resolve<'a>(
    modules: &Modules<'a>,
    from: &str,
    path: &[String],
    depth: usize,
) -> Option<&'a str> {
    let (mut at, mut rest) = start(modules, from, path)?;
    while let [first, more @ ..] = rest
        && modules.contains_key(&child(&at, first))
    {
        (at, rest) = (child(&at, first), more);
    }
    let file: &'a File = modules.get(&at)?;
    let reexported = rest.first().zip(depth.checked_sub(1)).and_then(|(name, depth)| {
        let names_it = |import: &Import| import.is_reexport && import.path.last() == Some(name);
        let import = imports(file).into_iter().find(names_it)?;
        resolve(modules, &at, &import.path, depth)
    });
    Some(reexported.unwrap_or(&file.path))
}

/// The module that a path starts from, and what follows.
fn start<'p>(
    modules: &Modules<'_>,
    from: &str,
    path: &'p [String],
) -> Option<(String, &'p [String])> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some((String::new(), rest)),
        "self" => Some((from.into(), rest)),
        "super" if rest.first().is_some_and(|next| next == "super") => {
            start(modules, parent(from)?, rest)
        }
        "super" => Some((parent(from)?.into(), rest)),
        name => modules.contains_key(&child(from, name)).then(|| (from.into(), path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_texts(texts: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File::of(&format!("crates/x/src/{path}"), text);
        let files: Vec<_> = texts.iter().map(file).collect();
        check(&files).into_iter().map(|finding| finding.what).collect()
    }

    const CYCLE: [(&str, &str); 4] = [
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "use crate::b::B;\n"),
        ("b.rs", "use crate::c::{self, C};\n"),
        ("c.rs", "use super::a::A;\n"),
    ];
    const FILES: [&str; 3] = ["crates/x/src/a.rs", "crates/x/src/b.rs", "crates/x/src/c.rs"];

    #[test]
    fn files_that_import_each_other_are_found() {
        let found = check_texts(&CYCLE);
        let [a, b, c] = FILES;
        let shortest = format!("the shortest: {a} -> {b} -> {c} -> {a}");
        assert_eq!(found, [format!("import cycle of {}; {shortest}", FILES.join(", "))]);
        assert_eq!(check_texts(&CYCLE[..3]), [""; 0]);
    }

    #[test]
    fn re_exports_lead_to_the_file_that_defines_the_name() {
        let through = [
            ("lib.rs", "mod auth;\n"),
            ("auth/mod.rs", "mod key;\nmod keys;\npub use key::Key;\npub use keys::Keys;\n"),
            ("auth/key.rs", "use crate::auth::Keys;\n"),
            ("auth/keys.rs", "use crate::auth::Key;\n"),
        ];
        assert_eq!(check_texts(&through).len(), 1);
        let one_way = [through[0], through[1], through[2], ("auth/keys.rs", "")];
        assert_eq!(check_texts(&one_way), [""; 0]);
    }

    #[test]
    fn a_parent_that_uses_its_child_and_defines_what_the_child_uses_is_a_cycle() {
        let texts = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a/mod.rs", "mod c;\nfn f() { c::g(); }\nstruct S;\n"),
            ("a/c.rs", "use crate::a::S;\n"),
        ];
        assert_eq!(check_texts(&texts).len(), 1);
    }

    #[test]
    fn tests_at_the_end_of_a_file_may_import_anything() {
        let a = "struct A;\n\n#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}\n";
        let texts = [("lib.rs", "mod a;\nmod b;\n"), ("a.rs", a), ("b.rs", "use crate::a::A;\n")];
        assert_eq!(check_texts(&texts), [""; 0]);
    }
}
