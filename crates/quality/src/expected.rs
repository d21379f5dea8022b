//! Quality to expect of a rung before anything was measured.

use auralink_types::{Bitrate, Mos, NeuralRate, PacketTime};

use crate::expected_table::{NEURAL, OPUS};

/// Expected score of Opus speech at a rate; linear between the table's rates, flat beyond its ends. NoLACE in the
/// decoder adds 0.3 to 0.5 at 6 to 9 kbps and 0.1 at 12.
pub fn opus_mos(bitrate: Bitrate, packet: PacketTime) -> Mos {
    let column = match packet {
        PacketTime::Ms20 => 0,
        PacketTime::Ms40 | PacketTime::Ms60 => 1,
        PacketTime::Ms80 => 2,
        PacketTime::Ms100 | PacketTime::Ms120 => 3,
    };
    let pick = |row: &(f32, [f32; 4])| row.1[column];
    let kbps = bitrate.as_kbps() as f32;
    let first = &OPUS[0];
    if kbps <= first.0 {
        return Mos::new(pick(first));
    }
    let between = OPUS.windows(2).find(|pair| kbps <= pair[1].0);
    Mos::new(match between {
        Some([low, high]) => {
            let part = (kbps - low.0) / (high.0 - low.0);
            pick(low) + part * (pick(high) - pick(low))
        }
        _ => pick(&OPUS[OPUS.len() - 1]),
    })
}

/// Expected score of the neural codec: that of the built-in model.
pub fn neural_mos(rate: NeuralRate) -> Mos {
    let [lowest, low, middle, high] = NEURAL;
    Mos::new(match rate {
        NeuralRate::Kbps1_5 => lowest,
        NeuralRate::Kbps3 => low,
        NeuralRate::Kbps6 => middle,
        NeuralRate::Kbps9 => high,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bits_are_never_expected_to_sound_worse() {
        for packet in PacketTime::ALL {
            let scores: Vec<f32> = (4..64)
                .map(|kbps| opus_mos(Bitrate::kbps(kbps), packet).value())
                .collect();
            assert!(scores.is_sorted(), "{scores:?}");
        }
        let neural = NeuralRate::ALL.map(|rate| neural_mos(rate).value());
        assert!(neural.is_sorted());
    }

    #[test]
    fn rates_between_the_table_lie_between_its_scores() {
        let at = |bps| opus_mos(Bitrate::bps(bps), PacketTime::Ms60).value();
        assert!(at(9_000) < at(9_500) && at(9_500) < at(10_000));
        assert_eq!(at(1), at(6_000));
        assert_eq!(at(510_000), at(48_000));
    }
}
