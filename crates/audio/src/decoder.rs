//! What every decoder gives: interleaved samples, a piece at a time.

use crate::error::Problem;
use crate::flac::Flac;
use crate::input::Input;
use crate::kind::{self, Kind};
use crate::layout::Layout;
use crate::mp3::Mp3;
use crate::{ogg, wav};

/// What a file holds.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    /// For people: "WAV, 16 bit".
    pub name: String,
    /// Hz.
    pub rate: u32,
    /// Where each channel stands; as many as there are channels.
    pub layout: Layout,
    /// Samples of a channel, where the file says so.
    pub frames: Option<u64>,
    /// Whether a sample may be what no sound has: NaN or infinite.
    pub floats: bool,
}

/// A file that is being decoded.
pub(crate) trait Decoder: Send {
    fn format(&self) -> &Format;

    /// Appends the next frames, interleaved; `false` at the end. A call that appends nothing is not the end.
    fn more(&mut self, out: &mut Vec<f32>) -> Result<bool, Problem>;
}

/// The decoder for whatever `input` is.
pub(crate) fn open(mut input: Input) -> Result<Box<dyn Decoder>, Problem> {
    match kind::tell(&mut input)? {
        Kind::Wav => wav::open(input),
        Kind::Flac => Ok(Box::new(Flac::open(input)?)),
        Kind::Ogg => ogg::open(input),
        Kind::Mp3 => Ok(Box::new(Mp3::open(input, "MP3")?)),
    }
}
