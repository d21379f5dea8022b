//! libopus 1.6.1, packet by packet.

use anyhow::Result;
use auralink_opus::{Decoder, Dred, Encoder, EncoderConfig, MAX_PACKET_BYTES};

use super::coded::Coded;
use super::condition::{Opus, Repair};

const RATE: u32 = 16_000;
/// Loss that in-band redundancy is told to expect is never under this: it would send none.
const EXPECTED_LEAST: u32 = 5;

/// Codes and decodes a clip. `lost` has one flag for each packet; `loss` is its rate in percent, which the encoder is told
/// where its redundancy depends on it.
pub fn code(opus: Opus, pcm: &[f32], loss: u32, lost: &[bool]) -> Result<Coded> {
    let redundant = opus.repair != Repair::Conceal;
    let config = EncoderConfig {
        bandwidth: opus.bandwidth,
        inband_fec: opus.repair == Repair::Fec,
        expected_loss_percent: if redundant {
            loss.max(EXPECTED_LEAST) as u8
        } else {
            0
        },
        complexity: opus.effort,
        ..EncoderConfig::lean(opus.kbps * 1000, opus.packet_ms)
    };
    let mut encoder = Encoder::new(&config)?;
    if let Repair::Dred(steps) = opus.repair {
        encoder.set_dred(steps)?;
    }
    let lag = encoder.lookahead()?;
    let samples = config.packet_samples();
    let packets = (pcm.len() + lag).div_ceil(samples);
    let mut padded = pcm.to_vec();
    padded.resize(packets * samples, 0.0);
    let mut room = [0u8; MAX_PACKET_BYTES];
    let coded: Vec<Vec<u8>> = padded
        .chunks_exact(samples)
        .map(|chunk| {
            let len = encoder.encode(chunk, &mut room)?;
            Ok(room[..len].to_vec())
        })
        .collect::<Result<_>>()?;
    let mut decoder = Receiver {
        decoder: Decoder::new(RATE, 1, opus.complexity)?,
        dred: Dred::new()?,
        repair: opus.repair,
        samples,
    };
    let arrived = |n: usize| !lost.get(n).copied().unwrap_or(false);
    let mut out = vec![0.0; padded.len()];
    let mut missing = 0;
    for (n, packet) in coded.iter().enumerate() {
        if !arrived(n) {
            missing += 1;
            continue;
        }
        let from = (n - missing) * samples;
        decoder.handle_packet(packet, missing, &mut out[from..(n + 1) * samples])?;
        missing = 0;
    }
    let rest = out.len() - missing * samples;
    for gap in out[rest..].chunks_exact_mut(samples) {
        decoder.decoder.conceal(samples, gap)?;
    }
    let bytes: usize = coded.iter().map(Vec::len).sum();
    Ok(Coded::new(out, lag, pcm.len(), bytes as f64, packets, 0))
}

struct Receiver {
    decoder: Decoder,
    dred: Dred,
    repair: Repair,
    samples: usize,
}

impl Receiver {
    /// Decodes a packet and, before it, so many lost ones, with what it knows of them.
    fn handle_packet(&mut self, packet: &[u8], missing: usize, out: &mut [f32]) -> Result<()> {
        let samples = self.samples;
        let covered = match self.repair {
            Repair::Dred(_) if missing > 0 => self.dred.read(packet, missing * samples, RATE)?,
            _ => 0,
        };
        let (gap, now) = out.split_at_mut(missing * samples);
        for (n, pcm) in gap.chunks_exact_mut(samples).enumerate() {
            let before = missing - n;
            if before == 1 && self.repair == Repair::Fec {
                self.decoder.decode_fec(packet, samples, pcm)?;
            } else if covered > 0 {
                self.decoder
                    .decode_dred(&self.dred, before * samples, samples, pcm)?;
            } else {
                self.decoder.conceal(samples, pcm)?;
            }
        }
        self.decoder.decode(packet, now)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice() -> Vec<f32> {
        let tone = |n: usize, hz: f32| (n as f32 * hz * std::f32::consts::TAU / 16_000.0).sin();
        (0..64_000)
            .map(|n| 0.2 * tone(n, 4.0).max(0.0) * (tone(n, 150.0) + tone(n, 300.0) + tone(n, 1200.0)))
            .collect()
    }

    #[test]
    fn the_lag_is_taken_off() {
        let pcm = voice();
        let opus = Opus {
            kbps: 24,
            packet_ms: 20,
            bandwidth: None,
            complexity: 0,
            effort: 10,
            repair: Repair::Conceal,
        };
        let coded = code(opus, &pcm, 0, &[]).unwrap();
        assert!(auralink_quality::segmental_snr(&pcm, &coded.pcm).unwrap() > 8.0);
        assert!(
            (10.0..26.0).contains(&coded.payload_kbps),
            "{}",
            coded.payload_kbps
        );
        assert!((coded.wire_kbps - coded.payload_kbps - 22.4).abs() < 0.1);
    }
}
