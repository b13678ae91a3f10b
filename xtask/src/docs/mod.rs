//! `cargo xtask docs`: runs the commands that the documents show, in the order in which they show
//! them.

mod command;
mod markdown;
mod page;
mod place;
mod shell;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use crate::docs::command::CheckTask;
use crate::docs::markdown::Block;
use crate::docs::page::{Count, Page};
use crate::docs::place::Place;
use crate::step::Step;

const BUILD: &str = "cargo build --quiet --workspace --all-features --bin carafe";
const PROGRAM: &str = "target/debug/carafe";

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Pages whose commands are run, such as docs/ACCESS.md [default: README.md, CONTRIBUTING.md
    /// and docs/*.md]
    pages: Vec<PathBuf>,
    /// Run this program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Run the first commands of README instead, unchanged, in a new clone of the last commit with
    /// an empty target folder: about an hour, and port 3000
    #[arg(long, conflicts_with_all = ["pages", "program"])]
    clean_clone: bool,
}

pub(crate) fn run(options: &Options, check_task: CheckTask) -> Result<(), String> {
    if options.clean_clone {
        return run_in_a_clean_clone(check_task);
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let pages = if options.pages.is_empty() { all_pages()? } else { options.pages.clone() };
    let mut total = Count::default();
    for path in &pages {
        let blocks = blocks_of(path)?;
        let place = Place::new(&program)?;
        total.add(&Page::run(path, &blocks, &place, check_task)?);
    }
    println!("docs: {} commands run, {} skipped", total.run, total.skipped);
    Ok(())
}

fn build() -> Result<PathBuf, String> {
    Step::new("docs", BUILD).run()?;
    Ok(PathBuf::from(PROGRAM))
}

fn all_pages() -> Result<Vec<PathBuf>, String> {
    let folder = fs::read_dir("docs").map_err(|error| format!("docs: {error}"))?;
    let files = folder.flatten().map(|entry| entry.path());
    let mut pages: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    Ok([vec!["README.md".into(), "CONTRIBUTING.md".into()], pages].concat())
}

fn blocks_of(path: &Path) -> Result<Vec<Block>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    markdown::blocks(&text).map_err(|error| format!("{}:{error}", path.display()))
}

/// The first two blocks of README: the two commands, a subscriber and a publisher.
fn run_in_a_clean_clone(check_task: CheckTask) -> Result<(), String> {
    let place = Place::clean_clone()?;
    let path = Path::new("README.md");
    let count = Page::run(path, &blocks_of(path)?[..2], &place, check_task)?;
    println!("docs: {} commands run in a clean clone", count.run);
    Ok(())
}
