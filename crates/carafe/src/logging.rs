//! The program's log on standard error: one line for each record, whatever strangers have put into it.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

use tracing::field::Field;
use tracing::info;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::cli::LogFormat;

/// Begins to log. `RUST_LOG` says how much.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Text => {
            let fields = debug_fn(write_field).delimited(" ");
            log.with_ansi(io::stderr().is_terminal()).fmt_fields(fields).with_writer(io::stderr).init();
        }
        LogFormat::Json => log.json().with_writer(|| JsonLines).init(),
    }
}

/// Says where the hub listens: in a line of its own that scripts wait for, or in the log where each line is JSON.
pub(crate) fn tell_ready(format: LogFormat, scheme: &str, address: SocketAddr) {
    match format {
        LogFormat::Text => eprintln!("listening on {scheme}://{address}"),
        LogFormat::Json => info!("listening on {scheme}://{address}"),
    }
}

/// A line break in a value would begin a line that says what its author likes, and a terminal obeys control characters.
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

/// Standard error for lines of JSON, in which line breaks are escaped already, and the other control characters are here.
struct JsonLines;

impl Write for JsonLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut plain = String::with_capacity(line.len());
        for character in String::from_utf8_lossy(line).chars() {
            if character.is_control() && character != '\n' {
                // Into a text there is no error.
                let _ = write!(plain, "\\u{:04x}", u32::from(character));
            } else {
                plain.push(character);
            }
        }
        io::stderr().lock().write_all(plain.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
