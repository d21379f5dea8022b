//! AuraLink: one binary, roles are subcommands.
#![deny(unsafe_code)]

mod books;
mod certs;
mod codec;
mod config;
mod control;
mod core;
mod development;
mod figures;
mod http;
mod join;
mod load;
mod logging;
mod media;
mod migrate;
mod report;
#[allow(unsafe_code)]
mod schedule;
mod serve;
mod signals;
mod summary;
mod tls;
mod token;
mod udp;

use std::ffi::OsString;
use std::process::ExitCode;

use auralink_types::FieldError;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::config::ServeConfig;
use crate::logging::LogFormat;

/// Gives memory back to the system a while after it was freed, from threads of its own; glibc's allocator keeps what a
/// flood took (docs/benchmarks/memory.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_CONFIG: u8 = 64;

/// Options of the program itself.
const OWN_OPTIONS: [&str; 4] = ["-h", "--help", "-V", "--version"];

/// A self-hosted WebRTC media server that saves what calls cost in bandwidth.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: media, AI core, REST and store in one process
    Serve(serve::ServeCommand),
    /// Run signalling, media, REST and store, with the AI core in another process
    Media(media::MediaCommand),
    /// Run the AI core alone, as a gRPC service
    Core(core::CoreCommand),
    /// Make a development CA with certificates for gRPC
    Certs(certs::CertsCommand),
    /// Join a room, publish a WAV file, record what is heard
    Join(join::JoinCommand),
    /// Let people join by the hundred and count what the server makes of it
    Load(load::LoadCommand),
    /// Bring a database up to date, or say what it lacks
    Migrate(migrate::MigrateCommand),
    /// Mint an access token
    Token(token::TokenCommand),
    /// Print the REST API's description (OpenAPI 3.1)
    Openapi,
    /// Use the neural speech codec on files
    #[command(subcommand)]
    Codec(codec::CodecCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(with_command(std::env::args_os()));
    match obey(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<FieldError>() {
            Some(error) => {
                eprintln!("configuration: {error}");
                ExitCode::from(EXIT_CONFIG)
            }
            None => {
                eprintln!("error: {}", report::text(&error));
                ExitCode::FAILURE
            }
        },
    }
}

/// Options without a command are the server's: `auralink --dev` is `auralink serve --dev`.
fn with_command(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    let first = arguments.get(1).and_then(|first| first.to_str());
    if first.is_some_and(|first| first.starts_with('-') && !OWN_OPTIONS.contains(&first)) {
        arguments.insert(1, "serve".into());
    }
    arguments
}

fn obey(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(command) => serve(command.config()?),
        Command::Media(command) => serve(command.config()?),
        Command::Core(command) => {
            let config = command.config()?;
            logging::start(command.log_format)?;
            run_on(&mut core::runtime(), core::run(command, config))
        }
        Command::Certs(command) => certs::run(&command),
        Command::Join(command) => run(LogFormat::Text, join::run(command)),
        Command::Load(command) => run(LogFormat::Text, load::run(command)),
        Command::Migrate(command) => run(LogFormat::Text, migrate::run(command)),
        Command::Token(command) => token::run(command),
        Command::Openapi => {
            print!("{}", auralink_control::openapi_document());
            Ok(())
        }
        Command::Codec(command) => {
            logging::start(LogFormat::Text)?;
            codec::run(command)
        }
    }
}

fn serve(config: ServeConfig) -> anyhow::Result<()> {
    run(config.log_format, serve::run(config))
}

fn run(log: LogFormat, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    logging::start(log)?;
    run_on(&mut Builder::new_multi_thread(), work)
}

fn run_on(runtime: &mut Builder, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime.enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Vec<String> {
        let arguments = with_command(line.split_whitespace().map(OsString::from));
        arguments
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn options_without_a_command_are_the_servers() {
        assert_eq!(command("auralink --dev"), ["auralink", "serve", "--dev"]);
        assert_eq!(
            command("auralink --config aura.toml"),
            ["auralink", "serve", "--config", "aura.toml"]
        );
        for line in [
            "auralink",
            "auralink --help",
            "auralink -V",
            "auralink core --dev",
            "auralink serve",
        ] {
            assert_eq!(command(line).join(" "), line);
        }
    }

    #[test]
    fn every_command_line_is_well_made() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
