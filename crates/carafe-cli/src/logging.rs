//! Log lines on standard error: one line per record, also when values contain line breaks or
//! control characters.

use std::env;
use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal, Write};

use tracing::field::Field;
use tracing::{Subscriber, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;

/// Installs the global subscriber. `RUST_LOG` sets the level; the default is `info`.
pub(crate) fn start(format: LogFormat) {
    let (filter, error) = match level() {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(LEVEL), Some(error)),
    };
    match format {
        LogFormat::Text => text(filter, has_colors(), io::stderr).init(),
        LogFormat::Json => json(filter, || JsonLines(io::stderr())).init(),
    }
    if let Some(error) = error {
        warn!(%error, "the variable {VARIABLE} is not used");
    }
}

const VARIABLE: &str = EnvFilter::DEFAULT_ENV;
/// The engine of a cluster is reported by its nodes, not by the library that reaches it.
const LEVEL: &str = "info,async_nats=off";

/// An empty variable counts as unset.
fn level() -> Result<EnvFilter, ParseError> {
    let level = env::var(VARIABLE).unwrap_or_default();
    EnvFilter::builder().parse(if level.is_empty() { LEVEL } else { &level })
}

/// Whether standard error shows colors, and the user wants them: <https://no-color.org>.
fn has_colors() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn text<W>(filter: EnvFilter, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let fields = debug_fn(write_field).delimited(" ");
    let log = tracing_subscriber::fmt().with_ansi(colours).fmt_fields(fields);
    log.with_env_filter(filter).with_writer(writer).finish()
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(writer).finish()
}

/// Escapes line breaks, with which a client could forge a log line, and control characters, which
/// terminals execute.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    format!("{value:?}").chars().try_for_each(|character| match character {
        '\u{2028}' | '\u{2029}' => write!(writer, "{}", character.escape_unicode()),
        _ if character.is_control() => write!(writer, "{}", character.escape_default()),
        _ => writer.write_char(character),
    })
}

/// Escapes the control characters that JSON allows in strings. The lines that it receives have
/// their line breaks escaped already.
struct JsonLines<W>(W);

impl<W: Write> Write for JsonLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut plain = String::with_capacity(line.len());
        for character in String::from_utf8_lossy(line).chars() {
            if character.is_control() && character != '\n' {
                // Writing to a String does not fail.
                let _ = write!(plain, "\\u{:04x}", u32::from(character));
            } else {
                plain.push(character);
            }
        }
        self.0.write_all(plain.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::error;
    use tracing::subscriber::with_default;

    use super::*;

    const EVIL: &str = "a\r\nb\0c\u{1b}[31md\u{9b}2Je\u{2028}f\u{7f}\"g\\h";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of records that have hostile text in every part.
    fn written(log: impl Subscriber + Send + Sync + 'static, to: &Written) -> String {
        with_default(log, || {
            error!(%EVIL, quoted = EVIL, debug = ?EVIL, "{EVIL}");
            error!(error = %io::Error::other(EVIL), "again");
        });
        String::from_utf8(to.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_record_is_always_one_line_without_control_characters() {
        let to = Written::default();
        let writer = to.clone();
        let log = written(text(EnvFilter::new("info"), false, move || writer.clone()), &to);
        assert_eq!(log.lines().count(), 2, "{log:?}");
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{2028}';
        assert!(!log.contains(odd), "{log:?}");
        assert!(log.contains("EVIL=a\\r\\nb"), "{log}");
    }

    #[test]
    fn a_record_in_json_is_one_line_with_all_fields() {
        let to = Written::default();
        let writer = to.clone();
        let log = written(json(EnvFilter::new("info"), move || JsonLines(writer.clone())), &to);
        assert_eq!(log.lines().count(), 2, "{log:?}");
        assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
        let records: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&records[0]["fields"]["message"], &records[0]["level"]),
            (&EVIL.into(), &"ERROR".into())
        );
        assert_eq!(
            (&records[0]["fields"]["EVIL"], &records[1]["fields"]["error"]),
            (&EVIL.into(), &EVIL.into())
        );
    }
}
