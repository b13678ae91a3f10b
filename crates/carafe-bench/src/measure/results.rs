//! Everything that a run has found.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use clap::ValueEnum;

use crate::document::Part;
use crate::outcome::Outcome;
use crate::plot;
use crate::section::Section;

pub(crate) struct Results {
    sections: Vec<Section>,
    quick: bool,
}

impl Results {
    pub(crate) fn new(quick: bool) -> Self {
        Self { sections: Vec::new(), quick }
    }

    /// Measures the parts that were asked for, or all of them if none was.
    pub(crate) fn measure<P: ValueEnum + PartialEq>(
        &mut self,
        asked: &[P],
        measure: impl Fn(&P) -> Outcome<Section>,
    ) -> Outcome {
        let is_asked = |part: &&P| asked.is_empty() || asked.contains(part);
        for part in P::value_variants().iter().filter(is_asked) {
            self.add(measure(part)?);
        }
        Ok(())
    }

    /// Prints a section and keeps it.
    pub(crate) fn add(&mut self, section: Section) {
        println!("{section}");
        self.sections.push(section);
    }

    /// Keeps what was found as a part of the results, if that is wanted, and fails on what was
    /// missed if that is.
    pub(crate) fn finish(&self, write: Option<Part>, check: bool) -> Outcome {
        if let Some(part) = write {
            part.write(&self.to_markdown(part)?, &plot::draw(&self.sections))?;
        }
        let missed: Vec<_> = self.sections.iter().flat_map(Section::missed).collect();
        if missed.is_empty() {
            return Ok(());
        }
        let missed = format!("missed: {}", missed.join("; "));
        if check {
            return Err(missed.into());
        }
        println!("{missed}; --check would fail");
        Ok(())
    }

    fn to_markdown(&self, part: Part) -> Outcome<String> {
        let mut text = String::new();
        writeln!(text, "`cargo xtask bench {part}`\n")?;
        writeln!(text, "- machine: {}\n- commit: {}", machine()?, commit(part)?)?;
        if self.quick {
            writeln!(text, "- measured quickly, with small sizes: these are no figures")?;
        }
        writeln!(text, "\n![{}]({})\n", part.caption(), part.plot())?;
        self.sections.iter().try_for_each(|section| write!(text, "{section}"))?;
        Ok(text)
    }
}

/// What it was measured on.
fn machine() -> Outcome<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<_> =
        processors.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model =
        models.first().map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory =
        memory.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    Ok(format!(
        "{} cores of {model}, {} GiB, Linux {kernel}",
        models.len(),
        (memory + (1 << 19)) >> 20
    ))
}

fn commit(part: Part) -> Outcome<String> {
    let git = |arguments: &[&str]| -> Outcome<String> {
        Ok(String::from_utf8(Command::new("git").args(arguments).output()?.stdout)?.trim().into())
    };
    // But for what this writes.
    let [file, plot] = part.files().map(|file| format!(":!{file}"));
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", &file, &plot])?;
    let and_more = if changed.is_empty() { "" } else { ", and changes that are not committed" };
    Ok(format!("{}{and_more}", git(&["rev-parse", "--short=12", "HEAD"])?))
}
