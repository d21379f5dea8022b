//! Participants by the hundred in one process, cheap enough to load a server: each joins by real signalling, connects by
//! ICE, DTLS and SRTP, sends packets made beforehand and counts what comes.
//!
//! Owns what is sent ([`Clip`]), who takes part ([`Plan`], [`Person`]), the one thread that drives them all ([`Crowd`]) and
//! what they found ([`Report`]). Must never know the server's insides: of the server's process it reads only what Linux
//! tells everybody ([`ServerProcess`]). Another server's signalling can take LiveKit's place behind [`Call`].
//!
//! ```no_run
//! use auralink_load::{Plan, run};
//!
//! # async fn example() -> Result<(), auralink_load::LoadError> {
//! let plan = Plan { subscribers: 100, ..Plan::default() };
//! let report = run(plan, |_progress| true).await?;
//! print!("{}", report.table());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod call;
mod crowd;
mod error;
mod histogram;
mod incoming;
mod person;
mod picture;
mod plan;
mod policy;
mod process;
mod report;
mod run;
mod seat;
mod sender;
mod signalling;
mod stream;
mod turns;
mod wire;

pub use call::{Call, Camera, Media, Microphone};
pub use crowd::{Crowd, Door, Messages, Sends, Voice};
pub use error::LoadError;
pub use histogram::Histogram;
pub use person::{Person, Seating};
pub use picture::{LAYERS, Pictures};
pub use plan::{Aic, Plan};
pub use process::ServerProcess;
pub use report::{Flow, Found, Joins, Report, ServerUse};
pub use run::{Progress, run};
pub use stream::{Clip, Clips, Packet};
pub use turns::Turns;
