//! The demo and the benchmarks. Those about calls start the real server as a child process and place real calls
//! with the native client; what is printed is also written as JSON on request.
//!
//! ```text
//! ./x demo --seconds 20 --json demo.json
//! ./x bench forward --json forward.json
//! ./x bench expected --write
//! ./x bench store --rows 10000000 --database postgres
//! ./x bench network --profile wifi --json network.json
//! ./x bench speech --json speech.json
//! ```
#![forbid(unsafe_code)]

mod access;
mod call;
mod codecs;
mod core_process;
mod cpu;
mod demo;
mod expected;
mod forward;
mod gaps;
mod grpc;
mod join;
mod network;
mod outcome;
mod plan;
mod plot;
mod report;
mod rest;
mod score;
mod server;
mod speech;
mod store;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "auralink-bench",
    about = "The demo and the benchmarks of AuraLink",
    version
)]
struct Cli {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Two people talk: without AIC, in every mode, and while the AI worker is killed. Ends with 0 only if AIC
    /// caused no audible gap.
    Demo(demo::DemoOptions),
    /// What forwarding a packet costs, beside Janus with the same packets in the same run.
    Forward(forward::ForwardOptions),
    /// What one more talker costs the server.
    Join(join::JoinOptions),
    /// What the ladder may expect of each rung, measured on training speakers held back from the model.
    Expected(expected::ExpectedOptions),
    /// How fast metric rows get into the databases, and answers out of them.
    Store(store::StoreOptions),
    /// What one CPU core of AI core serves over gRPC, and what gRPC adds.
    Grpc(grpc::GrpcOptions),
    /// What AIC does on each kind of network: real speech, codecs, tap and receiver over a simulated path, beside a
    /// rung that never moves and beside no AIC. Ends with 0 only if fewer than 1 % of frames fell back on clean, wifi
    /// and 4g.
    Network(network::NetworkOptions),
    /// Our speech codec beside libopus and Lyra V2: quality at every rate and under loss, weak inputs, time per frame.
    Speech(codecs::SpeechOptions),
    /// Codes speech under every condition that the quality estimator is fitted on (crates/quality/fit).
    #[command(hide = true)]
    SpeechCode(codecs::CodeOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    // The HTTP client wants one, though everything it asks is on loopback.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = match Cli::parse().which {
        Which::Demo(options) => demo::run(options).await,
        Which::Forward(options) => forward::run(options).await,
        Which::Join(options) => join::run(options).await,
        Which::Expected(options) => expected::run(options).await,
        Which::Store(options) => store::run(options).await,
        Which::Grpc(options) => grpc::run(options).await,
        Which::Network(options) => network::run(options).await,
        Which::Speech(options) => codecs::run(options),
        Which::SpeechCode(options) => codecs::code_for_fit(options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("auralink-bench: {problem:#}");
            ExitCode::from(2)
        }
    }
}
