//! Session descriptions as text: a line model, what an offer says, and how an answer is rewritten per media line.
//!
//! str0m answers whole sessions; which track sits on a line, its codec order, RED, packet time and header
//! extensions are decided per line, so its answer is the base and is rewritten here.

mod answer;
mod answered;
mod legible;
mod lines;
mod offer;
#[cfg(test)]
mod rules;

pub use answer::{ReceiveTerms, SendTerms, Ssrcs, Terms, rewrite};
pub use answered::Answered;
pub use legible::LegibleOffer;
pub use lines::Description;
#[cfg(test)]
pub use lines::Direction;
pub use offer::{LineKind, OfferedLine, leave_only_mid, read_offer};
