//! What is compared: every codec at every rate, on a clean path and under loss.

use auralink_codec::Beam;
use auralink_opus::Bandwidth;

use super::ours::Ours;

/// Loss of the lossy rows in percent of 20 ms packets.
pub const LOSSES: [u32; 3] = [5, 15, 30];
/// Nominal rates of libopus in kbps.
const OPUS_KBPS: [u32; 6] = [6, 8, 9, 12, 16, 24];
/// Below this rate libopus left to itself goes to narrow band, so forced wide band is a row of its own.
const OPUS_NARROW_BELOW: u32 = 12;
/// Complexities of its decoder: plain, with deep concealment, with NoLACE.
pub const PLAIN: u8 = 0;
const DEEP_PLC: u8 = 5;
/// Complexity of its encoder.
pub const EFFORT: u8 = 10;
pub const NOLACE: u8 = 7;
/// Lyra's stages for 3.2, 6.0 and 9.2 kbps, at 0.2 kbps each.
const LYRA_STAGES: [u32; 3] = [16, 30, 46];
pub const LYRA_KBPS_PER_STAGE: f64 = 0.2;
/// Stages of a copied Lyra frame, 1.4 kbps, and copies in a packet.
const LYRA_COPY: (u32, u32) = (7, 2);
/// DRED in steps of 10 ms: half a second.
const DRED_STEPS: u8 = 50;

/// How libopus makes up for what is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Its concealment; deep from decoder complexity 5.
    Conceal,
    /// The low-rate copy of the last frame in the next packet.
    Fec,
    /// Deep redundancy of so many steps of 10 ms.
    Dred(u8),
}

/// libopus under some settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opus {
    pub kbps: u32,
    pub packet_ms: u32,
    /// `None` leaves the choice to the encoder.
    pub bandwidth: Option<Bandwidth>,
    /// Of the decoder.
    pub complexity: u8,
    /// Of the encoder.
    pub effort: u8,
    pub repair: Repair,
}

/// Lyra V2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lyra {
    pub stages: u32,
    pub copies: u32,
    pub copy_stages: u32,
}

/// Who codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coder {
    Ours(Ours),
    Opus(Opus),
    Lyra(Lyra),
    /// Not coded, but spoiled with white noise of this part of the clip's level; only for fitting the estimator.
    Noise(f32),
}

/// One line of the tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Name of its files.
    pub id: String,
    /// Curve that it belongs to.
    pub family: String,
    /// What sets it apart within the family.
    pub detail: String,
    pub coder: Coder,
    /// Percent of 20 ms packets.
    pub loss: u32,
}

impl Condition {
    pub fn packet_ms(&self) -> u32 {
        match self.coder {
            Coder::Opus(opus) => opus.packet_ms,
            _ => 20,
        }
    }

    /// The same under loss.
    fn losing(&self, loss: u32) -> Self {
        Self {
            id: format!("{}-loss{loss}", self.id),
            loss,
            ..self.clone()
        }
    }
}

fn ours(levels: usize, copies: usize, copy_levels: usize) -> Condition {
    let kbps = levels as f64 / 2.0;
    let (mut id, mut detail) = (format!("auralink-{kbps}"), format!("{kbps} kbps"));
    if copies > 0 {
        id.push_str(&format!("-{copies}x{}", copy_levels as f64 / 2.0));
        detail.push_str(&format!(
            " + {copies} copies of {} kbps",
            copy_levels as f64 / 2.0
        ));
    }
    Condition {
        id,
        family: "AuraLink".into(),
        detail,
        coder: Coder::Ours(Ours {
            levels,
            copies,
            copy_levels,
            beam: Beam::default(),
        }),
        loss: 0,
    }
}

/// Ours at 6 kbps with a narrower search.
fn narrow(candidates: usize) -> Condition {
    let whole = ours(12, 0, 0);
    Condition {
        id: format!("{}-beam{candidates}", whole.id),
        family: "AuraLink, less effort".into(),
        detail: format!("6 kbps, beam {candidates}"),
        coder: Coder::Ours(Ours {
            levels: 12,
            copies: 0,
            copy_levels: 0,
            beam: Beam::new(candidates),
        }),
        loss: 0,
    }
}

/// libopus at 16 kbps with an encoder of less complexity.
fn hasty(effort: u8) -> Condition {
    let whole = opus(16, 20, None, PLAIN);
    Condition {
        id: format!("{}-effort{effort}", whole.id),
        family: "Opus 20 ms, less effort".into(),
        detail: format!("16 kbps, complexity {effort}"),
        coder: Coder::Opus(Opus {
            kbps: 16,
            packet_ms: 20,
            bandwidth: None,
            complexity: PLAIN,
            effort,
            repair: Repair::Conceal,
        }),
        loss: 0,
    }
}

fn opus(kbps: u32, packet_ms: u32, bandwidth: Option<Bandwidth>, complexity: u8) -> Condition {
    let (band, shown) = match bandwidth {
        None => ("", ""),
        Some(Bandwidth::Wide) => ("-wide", ", wide band"),
        Some(Bandwidth::Narrow) => ("-narrow", ", narrow band"),
        Some(_) => ("-band", ", other band"),
    };
    let (post, with) = match complexity {
        NOLACE => ("-nolace", " + NoLACE"),
        _ => ("", ""),
    };
    Condition {
        id: format!("opus-{kbps}-{packet_ms}{band}{post}"),
        // One curve with NoLACE, whoever chose the band.
        family: format!(
            "Opus {packet_ms} ms{}{with}",
            if with.is_empty() { shown } else { "" }
        ),
        detail: format!("{kbps} kbps{}", if with.is_empty() { "" } else { shown }),
        coder: Coder::Opus(Opus {
            kbps,
            packet_ms,
            bandwidth,
            complexity,
            effort: EFFORT,
            repair: Repair::Conceal,
        }),
        loss: 0,
    }
}

fn lyra(stages: u32, (copy_stages, copies): (u32, u32)) -> Condition {
    let kbps = f64::from(stages) * LYRA_KBPS_PER_STAGE;
    let (mut id, mut detail) = (format!("lyra-{kbps:.1}"), format!("{kbps:.1} kbps"));
    if copies > 0 {
        let copy = f64::from(copy_stages) * LYRA_KBPS_PER_STAGE;
        id.push_str(&format!("-{copies}x{copy:.1}"));
        detail.push_str(&format!(" + {copies} copies of {copy:.1} kbps"));
    }
    Condition {
        id,
        family: "Lyra V2".into(),
        detail,
        coder: Coder::Lyra(Lyra {
            stages,
            copies,
            copy_stages,
        }),
        loss: 0,
    }
}

/// Nothing lost: every codec at every rate.
pub fn clean() -> Vec<Condition> {
    let mut all: Vec<_> = [3, 6, 12, 18]
        .into_iter()
        .map(|levels| ours(levels, 0, 0))
        .collect();
    for packet_ms in [20, 60] {
        all.extend(OPUS_KBPS.map(|kbps| opus(kbps, packet_ms, None, PLAIN)));
        let (low, high): (Vec<u32>, Vec<u32>) = OPUS_KBPS.iter().partition(|kbps| **kbps < OPUS_NARROW_BELOW);
        let wide = Some(Bandwidth::Wide);
        all.extend(low.iter().map(|&kbps| opus(kbps, packet_ms, wide, PLAIN)));
        // NoLACE does nothing to narrow band, so wide band is forced where the encoder would leave it.
        all.extend(low.iter().map(|&kbps| opus(kbps, packet_ms, wide, NOLACE)));
        all.extend(high.iter().map(|&kbps| opus(kbps, packet_ms, None, NOLACE)));
    }
    all.extend(LYRA_STAGES.map(|stages| lyra(stages, (0, 0))));
    // What a core under load gives up.
    all.extend([1, 4, 8].map(narrow));
    all.extend([2, 6].map(hasty));
    all
}

/// Packets lost in bursts. Ours within 9 kbps, copies included.
pub fn lossy() -> Vec<Condition> {
    let opus_24 = |name: &str, complexity, repair| {
        let plain = opus(24, 20, None, PLAIN);
        Condition {
            id: format!("{}-{}", plain.id, name.replace(' ', "-")),
            family: format!("Opus {name}"),
            coder: Coder::Opus(Opus {
                kbps: 24,
                packet_ms: 20,
                bandwidth: None,
                complexity,
                effort: EFFORT,
                repair,
            }),
            ..plain
        }
    };
    let low = opus(9, 20, Some(Bandwidth::Wide), NOLACE);
    let whole = [
        ours(12, 0, 0),
        ours(12, 2, 3),
        ours(6, 2, 6),
        lyra(30, (0, 0)),
        lyra(30, LYRA_COPY),
        Condition {
            family: "Opus NoLACE, deep PLC".into(),
            detail: "9 kbps, wide band".into(),
            ..low
        },
        opus_24("PLC", PLAIN, Repair::Conceal),
        opus_24("deep PLC", DEEP_PLC, Repair::Conceal),
        opus_24("FEC", DEEP_PLC, Repair::Fec),
        opus_24("DRED", DEEP_PLC, Repair::Dred(DRED_STEPS)),
    ];
    LOSSES
        .iter()
        .flat_map(|&loss| whole.iter().map(move |condition| condition.losing(loss)))
        .collect()
}

/// For inputs that a speech codec is weak on.
pub fn weak() -> Vec<Condition> {
    let wide = Some(Bandwidth::Wide);
    let mut all: Vec<_> = [3, 6, 12, 18]
        .into_iter()
        .map(|levels| ours(levels, 0, 0))
        .collect();
    all.extend(LYRA_STAGES.map(|stages| lyra(stages, (0, 0))));
    all.push(opus(6, 20, None, PLAIN));
    all.push(opus(9, 20, wide, NOLACE));
    all.extend([12, 16, 24].map(|kbps| opus(kbps, 20, None, PLAIN)));
    all
}

/// What the quality estimator is fitted on: the clean grid, rates between, and plain noise.
pub fn estimator() -> Vec<Condition> {
    let mut all = clean();
    all.extend([2, 4, 9, 15].map(|levels| ours(levels, 0, 0)));
    for packet_ms in [20, 60] {
        all.extend([10, 32, 48].map(|kbps| opus(kbps, packet_ms, None, PLAIN)));
        all.push(opus(9, packet_ms, Some(Bandwidth::Narrow), PLAIN));
        all.push(opus(12, packet_ms, Some(Bandwidth::Narrow), PLAIN));
    }
    for (id, part) in [("same", 0.0), ("hiss", 0.02), ("noise", 0.1)] {
        all.push(Condition {
            id: id.into(),
            family: "not coded".into(),
            detail: id.into(),
            coder: Coder::Noise(part),
            loss: 0,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_files_of_its_own() {
        for grid in [clean(), lossy(), weak(), estimator()] {
            let mut ids: Vec<_> = grid.iter().map(|condition| condition.id.clone()).collect();
            ids.sort();
            let count = ids.len();
            ids.dedup();
            assert_eq!(ids.len(), count);
        }
    }

    #[test]
    fn ours_never_spends_more_than_9_kbps_copies_included() {
        for condition in lossy() {
            if let Coder::Ours(ours) = condition.coder {
                assert!(
                    ours.levels + ours.copies * ours.copy_levels <= 18,
                    "{condition:?}"
                );
            }
        }
    }
}
