//! Packets get longer by the least possible at a time: a receiver's buffer has to grow with them, and can do that
//! without a hole only in small steps.

use std::time::Duration;

use auralink_types::{PacketTime, Rung};

/// Least time between two steps: in it a receiver's buffer grows by more than a step without a hole.
pub(super) const GROW_PAUSE: Duration = Duration::from_millis(400);

/// The next step from what goes out to the goal, in whole packets of the source; unless `rested`, coded packets stay as
/// long as they are.
pub(super) fn next_step(rung: Rung, goal: Rung, source: PacketTime, rested: bool) -> Rung {
    let Some(longest) = goal.packet() else {
        return goal;
    };
    let from = rung.packet().unwrap_or(source);
    let grows = rung == Rung::Original || rested;
    let fits = |packet: &PacketTime| {
        packet.frames().is_multiple_of(source.frames())
            && if grows { *packet > from } else { *packet >= from }
    };
    let step = PacketTime::ALL.into_iter().find(fits).unwrap_or(longest);
    goal.with_packet(step.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{Bitrate, Lean};

    fn lean(packet: PacketTime) -> Rung {
        let bitrate = Bitrate::kbps(12);
        Rung::Lean(Lean::new(bitrate, packet))
    }

    #[test]
    fn packets_grow_by_one_frame_or_by_one_packet_of_the_source_and_shrink_at_once() {
        use PacketTime::{Ms20, Ms40, Ms60, Ms80, Ms120};
        let step = |rung, goal, source| next_step(rung, lean(goal), source, true);
        assert_eq!(step(Rung::Original, Ms80, Ms20), lean(Ms40));
        assert_eq!(step(lean(Ms40), Ms80, Ms20), lean(Ms60));
        assert_eq!(step(lean(Ms60), Ms80, Ms20), lean(Ms80));
        assert_eq!(step(lean(Ms80), Ms80, Ms20), lean(Ms80));
        assert_eq!(step(Rung::Original, Ms120, Ms60), lean(Ms120));
        assert_eq!(step(lean(Ms80), Ms20, Ms20), lean(Ms20));
        assert_eq!(next_step(lean(Ms40), lean(Ms80), Ms20, false), lean(Ms40));
        assert_eq!(next_step(lean(Ms40), Rung::Original, Ms20, false), Rung::Original);
    }
}
