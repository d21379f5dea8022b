//! Ogg (RFC 3533): pages to packets, and which codec they are of.

use ogg::reading::{BasePacketReader, PageParser};
use ogg::{OggReadError, Packet};

use crate::decoder::Decoder;
use crate::error::Problem;
use crate::input::Input;
use crate::kind;
use crate::opus::Opus;
use crate::vorbis::Vorbis;

/// Bytes of pages that may go by without completing a packet: more than any cover picture.
const MAX_PACKET: usize = 64 << 20;

/// Streams in one file that are looked at.
const MAX_STREAMS: usize = 32;

/// What other streams begin with.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\x7fFLAC", "FLAC in Ogg"),
    (b"Speex   ", "Speex in Ogg"),
    (b"\x80theora", "a Theora video"),
];

/// The packets of a file.
pub(crate) struct Packets {
    input: Input,
    reader: BasePacketReader,
}

impl Packets {
    fn next_of_any(&mut self) -> Result<Option<Packet>, Problem> {
        let mut waiting = 0;
        loop {
            if let Some(packet) = self.reader.read_packet() {
                return Ok(Some(packet));
            }
            let Some(bytes) = self.page()? else {
                return Ok(None);
            };
            waiting += bytes;
            if waiting > MAX_PACKET {
                return Err(Problem::Damaged("Ogg: a packet without an end".to_owned()));
            }
        }
    }

    /// Reads one page; `None` where the pages end, be it with the file or with something else.
    fn page(&mut self) -> Result<Option<usize>, Problem> {
        if !self.input.peek(4)?.starts_with(b"OggS") {
            return Ok(None);
        }
        let Some(header) = self.input.exactly::<27>()? else {
            return Ok(None);
        };
        let (mut parser, segments) = PageParser::new(header).map_err(damaged)?;
        let mut bytes = Vec::new();
        self.input.read_up_to(segments, &mut bytes)?;
        if bytes.len() < segments {
            return Ok(None);
        }
        let length = parser.parse_segments(bytes);
        let mut bytes = Vec::with_capacity(length);
        self.input.read_up_to(length, &mut bytes)?;
        if bytes.len() < length {
            tracing::warn!("the file ends within a page: it was cut off");
            return Ok(None);
        }
        let page = parser.parse_packet_data(bytes).map_err(damaged)?;
        self.reader.push_page(page).map_err(damaged)?;
        Ok(Some(length))
    }

    /// The next packet of one stream.
    pub(crate) fn next_of(&mut self, serial: u32) -> Result<Option<Packet>, Problem> {
        while let Some(packet) = self.next_of_any()? {
            if packet.stream_serial() == serial {
                return Ok(Some(packet));
            }
            if packet.first_in_stream() {
                tracing::warn!("a second stream follows in the file, which is not read");
                return Ok(None);
            }
        }
        Ok(None)
    }
}

fn damaged(error: OggReadError) -> Problem {
    Problem::Damaged(format!("Ogg: {error}"))
}

/// The decoder of the first stream that is sound.
pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let mut packets = Packets {
        input,
        reader: BasePacketReader::new(),
    };
    let mut other = None;
    for _ in 0..MAX_STREAMS {
        let Some(packet) = packets.next_of_any()?.filter(Packet::first_in_stream) else {
            break;
        };
        let begins = |mark: &[u8]| packet.data.starts_with(mark);
        if begins(b"OpusHead") {
            return Ok(Box::new(Opus::open(packets, &packet)?));
        }
        if begins(b"\x01vorbis") {
            return Ok(Box::new(Vorbis::open(packets, &packet)?));
        }
        let named = FOREIGN
            .iter()
            .find(|(mark, _)| begins(mark))
            .map(|(_, what)| *what);
        other = other.or(named);
    }
    Err(kind::convert(
        other.unwrap_or("an Ogg file without Opus or Vorbis"),
    ))
}

/// Which of the decoded samples are the sound: pages say how many there are by their end (the granule position), and
/// the last page may end within its last packet.
#[derive(Default)]
pub(crate) struct Trim {
    /// Samples that are not sound, from the beginning.
    skip: u64,
    /// Samples decoded.
    decoded: u64,
    /// Position of the first sample, once a page has told.
    origin: Option<u64>,
}

impl Trim {
    /// The sound begins so many samples after what is decoded first.
    pub(crate) fn behind(skip: u64) -> Self {
        Self {
            skip,
            ..Self::default()
        }
    }

    /// What to keep of `samples` that `packet` gave.
    pub(crate) fn kept(&mut self, samples: usize, packet: &Packet) -> std::ops::Range<usize> {
        let before = self.decoded;
        self.decoded += samples as u64;
        let mut end = samples as u64;
        let position = packet.absgp_page();
        if packet.last_in_page() && position != u64::MAX {
            let last = packet.last_in_stream();
            let origin = *self.origin.get_or_insert(if last {
                0
            } else {
                position.saturating_sub(self.decoded)
            });
            if last {
                end = position.saturating_sub(origin).saturating_sub(before).min(end);
            }
        }
        let begin = self.skip.saturating_sub(before).min(end);
        begin as usize..end as usize
    }
}
