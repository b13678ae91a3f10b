//! `carafe config`: prints the settings of a hub as a TOML file with comments.

use std::fmt::Write;

use crate::cli::{GROUPS, Kind, Setting, Settings};
use crate::failure::Failure;
use crate::output::Output;

/// The width of comments.
const WIDTH: usize = 78;

pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    Ok(Output::new().line(file(settings).trim_end())?)
}

/// The file. Settings that have their default value are comments.
fn file(settings: &Settings) -> String {
    let mut file = String::from(
        "# Settings of carafe serve: see carafe serve --help. Lines that begin with #\n\
         # and a key show defaults. An option or a variable overrides this file.\n",
    );
    for group in GROUPS {
        let _ = writeln!(file, "\n#\n# {}\n#", group.heading);
        for setting in group.options.iter().filter_map(|key| settings.get(key)) {
            let _ = write!(file, "\n{}{}\n", comment(&setting.help), line(setting));
        }
    }
    file
}

fn line(setting: &Setting) -> String {
    let key = &setting.key;
    if setting.value != setting.default {
        return format!("{key} = {}", value(setting, &setting.value));
    }
    match setting.kind {
        Kind::Many => format!("# {key} = {}", value(setting, &setting.default)),
        _ if setting.default.is_empty() => format!("# {key} = <{}>", setting.value_name),
        Kind::One | Kind::Switch => format!("# {key} = {}", value(setting, &setting.default)),
    }
}

fn value(setting: &Setting, values: &[String]) -> String {
    let one = values.first().map(String::as_str).unwrap_or_default();
    match setting.kind {
        Kind::Many => {
            let quoted: Vec<_> = values.iter().map(|value| quoted(value)).collect();
            format!("[{}]", quoted.join(", "))
        }
        Kind::Switch => one.into(),
        Kind::One if one.parse::<u32>().is_ok_and(|number| number.to_string() == one) => one.into(),
        Kind::One => quoted(one),
    }
}

/// A basic string of TOML, whose escapes are those of JSON. U+007F has to be escaped, too.
fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a text is always JSON");
    json.replace('\u{7f}', "\\u007f")
}

/// The text as lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = String::from("#");
    let mut width = 1;
    for word in text.split_whitespace() {
        if width + 1 + word.len() > WIDTH {
            lines.push_str("\n#");
            width = 1;
        }
        lines.push(' ');
        lines.push_str(word);
        width += 1 + word.len();
    }
    lines.push('\n');
    lines
}
