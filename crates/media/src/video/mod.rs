//! What of a published video goes out on a leg: which simulcast layer, which pictures of it, and under which numbers.
//!
//! A packet is read once, into a [`Picture`](picture::Picture). [`select`] decides what a leg should carry, and nothing else does;
//! a [`VideoLeg`] gets there without a broken picture and without a hole in its numbers.

mod cadence;
mod demand;
mod layer;
mod leg;
mod numbers;
mod picture;
mod select;
#[cfg(test)]
mod tests;
mod thinning;
mod vp8;

pub use demand::{Demand, Wanted};
pub use layer::{Layer, layers_of};
pub use leg::{Incoming, KEYFRAME_REQUEST_PAUSE, VideoLeg};
pub use picture::VideoFormat;
pub use select::{Selection, Wish, select};
