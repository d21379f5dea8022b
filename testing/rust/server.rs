//! The server of this build, and a crowd that talks in one of its rooms.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that ends with the test.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn auralink(arguments: &[&str]) -> Command {
    let program = std::env::var("AURALINK_BIN").expect("AURALINK_BIN names the program to be tested");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a server; with its address, `http://…`.
pub fn serve() -> (Running, String) {
    let mut child = auralink(&[
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--database",
        "memory",
    ])
    .stdout(Stdio::piped())
    .spawn()
    .expect("the server starts");
    let lines = BufReader::new(child.stdout.take().expect("its output is ours")).lines();
    let mut lines = lines.map_while(Result::ok);
    let running = Running(child);
    let address = lines
        .find_map(|line| {
            let at = line.find("http://127.0.0.1:")?;
            let address = line[at..].split_whitespace().next()?;
            Some(address.trim_end_matches('/').to_owned())
        })
        .expect("the server names its address");
    // What it says later must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (running, address)
}

/// The room where the crowd is.
pub const ROOM: &str = "room-0";

/// Lets two people talk, and two more listen, in [`ROOM`].
pub fn crowd(address: &str) -> Running {
    let url = address.replacen("http", "ws", 1);
    let arguments = [
        "load",
        "--url",
        &url,
        "--room-name",
        "room",
        "--publishers",
        "2",
        "--subscribers",
        "2",
        "--duration",
        "120",
    ];
    Running(
        auralink(&arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("the crowd starts"),
    )
}
