//! What a server says when it has started.

use std::io::Write as _;

/// Prints it at once. A server whose output nobody reads any more goes on serving.
pub fn print(lines: &[String]) {
    let mut text = lines.join("\n");
    text.push('\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
