//! Vorbis in Ogg, by `lewton`.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};
use lewton::samples::InterleavedSamples;
use ogg::Packet;

use crate::decoder::{Decoder, Format};
use crate::error::Problem;
use crate::layout;
use crate::ogg::{Packets, Trim};
use crate::wav::{RATES, RATES_TEXT};

/// A stream of Vorbis.
pub(crate) struct Vorbis {
    format: Format,
    packets: Packets,
    serial: u32,
    ident: IdentHeader,
    setup: SetupHeader,
    window: PreviousWindowRight,
    trim: Trim,
}

impl Vorbis {
    pub(crate) fn open(mut packets: Packets, head: &Packet) -> Result<Self, Problem> {
        let ident = read_header_ident(&head.data).map_err(|_| damaged("its first header"))?;
        if !RATES.contains(&ident.audio_sample_rate) {
            return Err(Problem::Field {
                field: "sample rate",
                found: ident.audio_sample_rate.into(),
                expected: RATES_TEXT,
            });
        }
        let serial = head.stream_serial();
        // Comments, of which nothing is wanted.
        packets.next_of(serial)?;
        let setup = packets
            .next_of(serial)?
            .ok_or_else(|| damaged("its headers, which are cut off"))?;
        let blocks = (ident.blocksize_0, ident.blocksize_1);
        let setup = read_header_setup(&setup.data, ident.audio_channels, blocks)
            .map_err(|_| damaged("its code books"))?;
        Ok(Self {
            format: Format {
                name: "Ogg, Vorbis".to_owned(),
                rate: ident.audio_sample_rate,
                layout: layout::vorbis(ident.audio_channels.into()),
                frames: None,
                floats: false,
            },
            packets,
            serial,
            ident,
            setup,
            window: PreviousWindowRight::new(),
            trim: Trim::default(),
        })
    }
}

impl Decoder for Vorbis {
    fn format(&self) -> &Format {
        &self.format
    }

    fn more(&mut self, out: &mut Vec<f32>) -> Result<bool, Problem> {
        let Some(packet) = self.packets.next_of(self.serial)? else {
            return Ok(false);
        };
        let decoded: InterleavedSamples<f32> =
            read_audio_packet_generic(&self.ident, &self.setup, &packet.data, &mut self.window)
                .map_err(|_| damaged("a packet"))?;
        let channels = self.format.layout.len();
        let kept = self.trim.kept(decoded.samples.len() / channels, &packet);
        out.extend_from_slice(&decoded.samples[kept.start * channels..kept.end * channels]);
        Ok(true)
    }
}

fn damaged(what: &str) -> Problem {
    Problem::Damaged(format!("Vorbis: {what}"))
}
