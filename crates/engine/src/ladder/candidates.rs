//! Every rung that a leg could take, before anybody asks what it is worth.

use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Policy, Rung};

use super::{Situation, delay_limit};
use crate::network::Network;

/// Rates the lean rung may have, kbps. Below 9 wide-band Opus falls apart; above 40 nothing is saved.
const LEAN_KBPS: [u64; 11] = [9, 10, 11, 12, 14, 16, 20, 24, 28, 32, 40];
/// The same where packets carry copies: below 20 the encoder leaves them out or narrows the band.
const COPYING_KBPS: [u64; 5] = [20, 24, 28, 32, 40];
/// Longest packet with a copy: above 60 ms a packet is several Opus frames and its copy covers the last of them only.
const COPYING_LONGEST: PacketTime = PacketTime::Ms60;
/// Rates of the enhanced rung, kbps; from 11 on plain decoders are as good.
const ENHANCED_KBPS: [u64; 3] = [8, 9, 10];
/// Loss up to which neural packets carry no copies.
const LOSS_TOLERATED: f32 = 0.005;
/// Loss that copies should leave.
const LOSS_LEFT: f32 = 0.01;
/// Packets that copies reach back at most, and frames.
const REACH_MAX: usize = 2;
const COPIES_MAX: usize = 6;

pub(super) fn candidates<'a>(
    policy: &Policy,
    situation: &'a Situation,
) -> impl Iterator<Item = Rung> + Clone + use<'a> {
    let source = situation.source_packet.unwrap_or(PacketTime::Ms20);
    let longest = delay_limit(policy, &situation.network).max(source);
    let packets = move || {
        PacketTime::ALL
            .into_iter()
            .filter(move |packet| *packet <= longest && packet.frames() % source.frames() == 0)
    };
    let opus = |kbps: u64, packet, fec| Lean {
        bitrate: Bitrate::kbps(kbps),
        packet,
        fec,
    };
    let lean =
        packets().flat_map(move |packet| LEAN_KBPS.into_iter().map(move |kbps| opus(kbps, packet, false)));
    let copying = packets()
        .filter(|packet| *packet <= COPYING_LONGEST)
        .flat_map(move |packet| COPYING_KBPS.into_iter().map(move |kbps| opus(kbps, packet, true)));
    let enhanced = packets()
        .filter(|packet| situation.enhanced && *packet <= COPYING_LONGEST)
        .flat_map(move |packet| {
            ENHANCED_KBPS
                .into_iter()
                .map(move |kbps| opus(kbps, packet, false))
        });
    let neural = packets().filter(|_| situation.neural).flat_map(move |packet| {
        rates(situation).map(move |rate| {
            Rung::Neural(Neural {
                rate,
                packet,
                copies: copies(&situation.network, packet),
            })
        })
    });
    lean.chain(copying)
        .map(Rung::Lean)
        .chain(enhanced.map(Rung::Enhanced))
        .chain(neural)
}

/// A model made for an accelerator codes on a processor what costs it least: its first six levels.
fn rates(situation: &Situation) -> impl Iterator<Item = NeuralRate> + Clone + use<> {
    let most = if situation.no_accelerator {
        NeuralRate::Kbps3
    } else {
        NeuralRate::Kbps9
    };
    NeuralRate::ALL.into_iter().filter(move |rate| *rate <= most)
}

/// Copies that reach over as many packets in a row as the pattern of losses makes likely.
fn copies(network: &Network, packet: PacketTime) -> u8 {
    if network.loss <= LOSS_TOLERATED {
        return 0;
    }
    let left = |reach: usize| network.loss * network.run_on(packet.duration()).powi(reach as i32);
    let reach = (1..REACH_MAX)
        .find(|reach| left(*reach) <= LOSS_LEFT)
        .unwrap_or(REACH_MAX);
    (reach * packet.frames()).min(COPIES_MAX) as u8
}
