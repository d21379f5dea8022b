//! AuraLink: one binary, roles are subcommands.
#![deny(unsafe_code)]

mod books;
mod certs;
mod codec;
mod config;
mod control;
mod core;
mod http;
mod join;
mod media;
mod migrate;
#[allow(unsafe_code)]
mod schedule;
mod serve;
mod summary;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

/// A configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_CONFIG: u8 = 64;

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
    let filter = EnvFilter::try_from_env("AURALINK_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,str0m=warn,sqlx=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = match Arguments::parse().command {
        Command::Serve(command) => match command.config() {
            Ok(config) => run(serve::run(config)),
            Err(error) => return misconfigured(&error),
        },
        Command::Media(command) => match command.config() {
            Ok(config) => run(serve::run(config)),
            Err(error) => return misconfigured(&error),
        },
        Command::Core(command) => match command.config() {
            Ok(config) => run_on(&mut core::runtime(), core::run(command, config)),
            Err(error) => return misconfigured(&error),
        },
        Command::Certs(command) => certs::run(&command),
        Command::Join(command) => run(join::run(command)),
        Command::Migrate(command) => run(migrate::run(command)),
        Command::Token(command) => token::run(command),
        Command::Openapi => {
            print!("{}", auralink_control::openapi_document());
            Ok(())
        }
        Command::Codec(command) => codec::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn misconfigured(error: &auralink_types::FieldError) -> ExitCode {
    eprintln!("configuration: {error}");
    ExitCode::from(EXIT_CONFIG)
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    run_on(&mut Builder::new_multi_thread(), work)
}

fn run_on(runtime: &mut Builder, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime.enable_all().build()?.block_on(work)
}
