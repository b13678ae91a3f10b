//! Everything that a run has found, and the file that keeps it.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::Outcome;
use crate::plot;
use crate::section::Section;

const FILE: &str = "bench/RESULTS.md";
const PLOT: &str = "bench/results.svg";

pub(crate) struct Results {
    sections: Vec<Section>,
    quick: bool,
}

impl Results {
    pub(crate) fn new(quick: bool) -> Self {
        Self { sections: Vec::new(), quick }
    }

    pub(crate) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Keeps what was found if that is wanted, and fails on what was missed if that is.
    pub(crate) fn finish(&self, write: bool, check: bool) -> Outcome {
        if write {
            fs::write(PLOT, plot::draw(&self.sections))?;
            fs::write(FILE, self.to_markdown()?)?;
            println!("written: {FILE}, {PLOT}");
        }
        match self.sections.iter().map(Section::missed).sum() {
            0 => Ok(()),
            missed if check => Err(format!("{missed} of the demands are missed").into()),
            missed => {
                println!("{missed} of the demands are missed; --check would fail");
                Ok(())
            }
        }
    }

    fn to_markdown(&self) -> Outcome<String> {
        let mut text = String::from("# Results\n\n");
        writeln!(
            text,
            "Written by `cargo xtask bench`; [BENCHMARKS](../docs/BENCHMARKS.md) says how to read it.\n"
        )?;
        writeln!(text, "- machine: {}\n- commit: {}", machine()?, commit()?)?;
        if self.quick {
            writeln!(text, "- measured quickly, with a fifth of the connections: these are no figures")?;
        }
        writeln!(text, "\nMedians of the rounds, with the least and the most in brackets.\n")?;
        writeln!(text, "![Processor time of a delivery, and memory of a connection](results.svg)\n")?;
        self.sections.iter().try_for_each(|section| write!(text, "{section}"))?;
        Ok(format!("{}\n", text.trim_end()))
    }
}

/// What it was measured on.
fn machine() -> Outcome<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<_> = processors.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    Ok(format!("{} cores of {model}, {} GiB, Linux {kernel}", models.len(), (memory + (1 << 19)) >> 20))
}

fn commit() -> Outcome<String> {
    let git = |arguments: &[&str]| -> Outcome<String> {
        Ok(String::from_utf8(Command::new("git").args(arguments).output()?.stdout)?.trim().into())
    };
    // But for what this writes.
    let all_else = [".", &format!(":!{PLOT}"), &format!(":!{FILE}")];
    let changed = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &all_else[..]].concat())?;
    let and_more = if changed.is_empty() { "" } else { ", and changes that are not committed" };
    Ok(format!("{}{and_more}", git(&["rev-parse", "--short=12", "HEAD"])?))
}
