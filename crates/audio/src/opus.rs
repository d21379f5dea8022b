//! Opus in Ogg (RFC 7845), by libopus.

use auralink_opus::{Decoder as Packets2Pcm, packet_samples};
use ogg::Packet;

use crate::decoder::{Decoder, Format};
use crate::error::Problem;
use crate::kind;
use crate::layout;
use crate::ogg::{Packets, Trim};

/// Opus in Ogg counts in these, whatever it was made from.
const RATE: u32 = 48_000;

/// Longest packet, samples of a channel: 120 ms.
const LONGEST: usize = 5_760;

/// Plain concealment and no neural enhancement: the file is to sound as it was made.
const COMPLEXITY: u8 = 0;

/// A stream of Opus.
pub(crate) struct Opus {
    format: Format,
    packets: Packets,
    serial: u32,
    decoder: Packets2Pcm,
    gain: f32,
    trim: Trim,
    pcm: Vec<f32>,
    unreadable: u64,
}

impl Opus {
    pub(crate) fn open(mut packets: Packets, head: &Packet) -> Result<Self, Problem> {
        let bytes = &head.data;
        if bytes.len() < 19 || bytes[8] >> 4 != 0 {
            return Err(Problem::Damaged(
                "Opus: its header is cut short or of a later version".to_owned(),
            ));
        }
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let channels = bytes[9];
        let one_stream = bytes[18] == 0 || (bytes.get(19) == Some(&1) && channels <= 2);
        if !(1..=2).contains(&channels) || !one_stream {
            return Err(kind::convert(&format!("Opus with {channels} channels")));
        }
        let serial = head.stream_serial();
        // Comments, of which nothing is wanted.
        packets.next_of(serial)?;
        let decoder = Packets2Pcm::new(RATE, channels, COMPLEXITY)
            .map_err(|error| Problem::Damaged(format!("Opus: {error}")))?;
        Ok(Self {
            format: Format {
                name: "Ogg, Opus".to_owned(),
                rate: RATE,
                layout: layout::vorbis(channels.into()),
                frames: None,
                floats: false,
            },
            packets,
            serial,
            decoder,
            // Q7.8 in dB.
            gain: 10f32.powf(f32::from(u16_at(16) as i16) / 256.0 / 20.0),
            trim: Trim::behind(u16_at(10).into()),
            pcm: vec![0.0; LONGEST * usize::from(channels)],
            unreadable: 0,
        })
    }
}

impl Decoder for Opus {
    fn format(&self) -> &Format {
        &self.format
    }

    fn more(&mut self, out: &mut Vec<f32>) -> Result<bool, Problem> {
        let Some(packet) = self.packets.next_of(self.serial)? else {
            return Ok(false);
        };
        let decoded =
            packet_samples(&packet.data, RATE).and_then(|_| self.decoder.decode(&packet.data, &mut self.pcm));
        let Ok(samples) = decoded else {
            if self.unreadable == 0 {
                tracing::warn!("a packet of the file is no Opus and is left out");
            }
            self.unreadable += 1;
            return Ok(true);
        };
        let channels = self.format.layout.len();
        let kept = self.trim.kept(samples, &packet);
        let kept = &self.pcm[kept.start * channels..kept.end * channels];
        out.extend(kept.iter().map(|sample| sample * self.gain));
        Ok(true)
    }
}
