//! Where the log goes and how it looks.

use std::io::{self, IsTerminal as _, Write};

use auralink_types::FieldError;
use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What is logged, in the words of `tracing_subscriber::EnvFilter`.
const FILTER: &str = "AURALINK_LOG";
/// str0m warns of streams that begin with a high packet number, which is how those look that have slept.
const USUAL: &str = "info,str0m=warn,str0m::streams::send=error,sqlx=warn";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log to standard error.
pub fn start(format: LogFormat) -> Result<(), FieldError> {
    let filter = match std::env::var(FILTER) {
        Ok(filter) => EnvFilter::try_new(&filter)
            .map_err(|error| FieldError::new(FILTER, format!("{error}, got {filter:?}")))?,
        Err(std::env::VarError::NotPresent) => EnvFilter::new(USUAL),
        Err(error) => return Err(FieldError::new(FILTER, error.to_string())),
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Text => log.with_ansi(colours).with_writer(OneLine).init(),
        LogFormat::Json => log.json().flatten_event(true).with_writer(io::stderr).init(),
    }
    Ok(())
}

/// Standard error, an event to a line: what somebody else put into a name cannot begin a line of its own.
struct OneLine;

impl MakeWriter<'_> for OneLine {
    type Writer = Line<io::Stderr>;

    fn make_writer(&self) -> Self::Writer {
        Line(io::stderr())
    }
}

/// Takes one event a call, which is how the subscriber writes.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = match event {
            [text @ .., b'\n'] => (text, &b"\n"[..]),
            text => (text, &b""[..]),
        };
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let mut line = Vec::with_capacity(event.len() + 8);
            for byte in text {
                match byte {
                    b'\n' => line.extend(b"\\n"),
                    b'\r' => line.extend(b"\\r"),
                    byte => line.push(*byte),
                }
            }
            line.extend(end);
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_on_its_line_whatever_a_name_holds() {
        let mut line = Line(Vec::new());
        line.write_all(b"joined room=kitchen\nERROR forged\r\n").unwrap();
        line.write_all(b"plain\n").unwrap();
        let written = String::from_utf8(line.0).unwrap();
        assert_eq!(written, "joined room=kitchen\\nERROR forged\\r\nplain\n");
    }
}
