//! What losing packets does to the quality of a rung.
//!
//! A share *e* of audio that has to be concealed takes PESQ-WB down the curve `1 + (MOS - 1) · exp(-k·e)`. The
//! constants are fitted to measured speech at 15 % loss in runs of two: Opus with classic concealment 4.36 → 1.99,
//! with its LBRR copy 4.36 → 2.70; a neural codec at 6 kbps with zeroed frames 2.82 → 1.79, with coarse copies of two
//! frames 2.82 → 2.24.

use auralink_types::{Mos, PacketTime, Rung};

use crate::network::Network;

/// Concealed Opus.
const OPUS: f32 = 8.1;
/// Opus played from its LBRR copy.
const OPUS_COPY: f32 = 2.1;
/// A concealed neural frame.
const NEURAL: f32 = 5.6;
/// A neural frame played from a coarse copy.
const NEURAL_COPY: f32 = 1.6;
/// Further part of the damage for each 20 ms by which packets are longer: with long holes whole sounds go missing.
const LONG_HOLE: f32 = 0.06;

/// Shares of the audio that are concealed, and played from copies.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Holes {
    concealed: f32,
    copied: f32,
}

impl Holes {
    /// With copies that reach back this many packets of that length.
    fn new(network: &Network, reach: usize, packet: PacketTime) -> Self {
        let loss = network.loss.clamp(0.0, 1.0);
        let concealed = loss * network.run_on(packet.duration()).powi(reach as i32);
        Self {
            concealed,
            copied: loss - concealed,
        }
    }
}

/// The score that is left on this network of a rung that has `clean` without loss. `red` says whether the original
/// carries each packet twice (RFC 2198). With `perceptual`, long holes weigh more than their share.
pub fn after_loss(rung: Rung, clean: Mos, network: &Network, red: bool, perceptual: bool) -> Mos {
    let (holes, concealed, copied) = match rung {
        // RED repeats the packet as it was.
        Rung::Original => (Holes::new(network, usize::from(red), PacketTime::Ms20), OPUS, 0.0),
        Rung::Lean(lean) | Rung::Enhanced(lean) => (
            Holes::new(network, usize::from(lean.fec), lean.packet),
            OPUS,
            OPUS_COPY,
        ),
        Rung::Neural(neural) => {
            let reach = usize::from(neural.copies) / neural.packet.frames();
            (Holes::new(network, reach, neural.packet), NEURAL, NEURAL_COPY)
        }
    };
    let longer = rung.packet().map_or(0, |packet| packet.frames() - 1) as f32;
    let weight = if perceptual { 1.0 + LONG_HOLE * longer } else { 1.0 };
    let damage = weight * concealed * holes.concealed + copied * holes.copied;
    Mos::new(Mos::MIN + (clean.value() - Mos::MIN) * (-damage).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{Bitrate, Lean, Neural, NeuralRate};

    fn lossy(loss: f32, burst: f32) -> Network {
        Network {
            loss,
            burst,
            ..Network::default()
        }
    }

    fn lean(fec: bool) -> Rung {
        let packet = PacketTime::Ms20;
        Rung::Lean(Lean {
            bitrate: Bitrate::kbps(24),
            packet,
            fec,
        })
    }

    fn neural(copies: u8) -> Rung {
        Rung::Neural(Neural {
            rate: NeuralRate::Kbps6,
            packet: PacketTime::Ms20,
            copies,
        })
    }

    #[test]
    fn the_model_gives_back_what_was_measured_at_fifteen_percent_in_runs_of_two() {
        let network = lossy(0.15, 2.0);
        for (rung, clean, measured) in [
            (lean(false), 4.36, 1.99),
            (lean(true), 4.36, 2.70),
            (neural(0), 2.82, 1.79),
            (neural(2), 2.82, 2.24),
        ] {
            let left = after_loss(rung, Mos::new(clean), &network, false, true).value();
            assert!(
                (left - measured).abs() < 0.15,
                "{rung:?}: {left}, measured {measured}"
            );
        }
    }

    #[test]
    fn red_saves_the_original_from_single_losses_but_not_from_long_runs() {
        let left =
            |burst| after_loss(Rung::Original, Mos::new(4.64), &lossy(0.05, burst), true, true).value();
        assert!(left(1.0) > 4.5 && left(6.0) < 4.0, "{} {}", left(1.0), left(6.0));
    }

    #[test]
    fn long_holes_are_worse_than_short_ones_where_perception_counts() {
        let left = |packet, perceptual| {
            let rung = Rung::Lean(Lean::new(Bitrate::kbps(24), packet));
            after_loss(rung, Mos::new(4.4), &lossy(0.05, 1.0), false, perceptual)
        };
        assert!(left(PacketTime::Ms60, true) < left(PacketTime::Ms20, true));
        assert_eq!(left(PacketTime::Ms60, false), left(PacketTime::Ms20, false));
    }
}
