//! Quality to expect of a rung before anything was measured.

use auralink_types::{Bitrate, Mos, NeuralRate, PacketTime};

/// Mean PESQ-WB of libopus 1.6.1 (voip, wide band, constrained VBR, complexity 10, decoder without enhancement)
/// per target kbps, in 20 ms and in 60 ms packets.
const OPUS: [(f32, f32, f32); 9] = [
    (6.0, 1.34, 1.50),
    (8.0, 2.68, 2.90),
    (9.0, 3.00, 3.15),
    (10.0, 3.40, 3.50),
    (12.0, 3.80, 3.85),
    (16.0, 4.14, 4.16),
    (24.0, 4.36, 4.37),
    (32.0, 4.45, 4.45),
    (48.0, 4.50, 4.50),
];

/// Expected score of Opus speech at a rate; linear between the table's rates, flat beyond its ends. Packets of
/// 40 ms and more are coded in 40 or 60 ms frames and share the second column.
pub fn opus_mos(bitrate: Bitrate, packet: PacketTime) -> Mos {
    let pick = |row: &(f32, f32, f32)| if packet == PacketTime::Ms20 { row.1 } else { row.2 };
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

/// Expected score of the neural codec.
pub fn neural_mos(rate: NeuralRate) -> Mos {
    Mos::new(match rate {
        NeuralRate::Kbps1_5 => 1.28,
        NeuralRate::Kbps3 => 1.53,
        NeuralRate::Kbps6 => 1.91,
        NeuralRate::Kbps9 => 2.05,
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
