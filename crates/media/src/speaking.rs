//! Who speaks, by what their packets say: the loudness in a header extension (RFC 6464), or where AIC has negotiated that
//! away to spare its bytes, what the payload itself tells without being decoded.

use auralink_wire::aic;
use auralink_wire::red::Red;
use livekit_protocol as proto;

/// From this loudness on a packet counts as speech, in dB from overload.
const LOUD_DBOV: f32 = -35.0;

/// Share of a window's packets that must be speech.
const SHARE: f32 = 0.4;

/// Loudness of speech whose level nobody tells: the nominal one of ITU-T P.56 measurements.
const NOMINAL_DBOV: f32 = -26.0;

/// Part that the newest window has in the level shown.
const NEWEST: f32 = 0.5;

/// Steps in which levels are told, so that not every breath is news.
const STEPS: f32 = 8.0;

/// What one packet says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loudness {
    dbov: f32,
}

impl Loudness {
    /// Of a packet with that extension, else of what its payload tells.
    pub fn of(level: Option<i8>, payload: &[u8], red: bool) -> Self {
        let dbov = match level {
            Some(level) => f32::from(level),
            None if speaks(payload, red) => NOMINAL_DBOV,
            None => f32::NEG_INFINITY,
        };
        Self { dbov }
    }
}

/// How somebody's microphone has sounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speaking {
    packets: u32,
    loud: u32,
    amplitude: f32,
    shown: f32,
    told: f32,
}

impl Speaking {
    /// Takes in a packet.
    pub fn hear(&mut self, loudness: Loudness) {
        self.packets += 1;
        if loudness.dbov >= LOUD_DBOV {
            self.loud += 1;
            self.amplitude += 10f32.powf(loudness.dbov / 20.0);
        }
    }

    /// Ends a window; whether the level to be told, from 0 for silence to 1, is another than was told before.
    pub fn look(&mut self) -> bool {
        let speaks = self.packets > 0 && self.loud as f32 >= self.packets as f32 * SHARE;
        let level = if speaks {
            self.amplitude / self.loud as f32
        } else {
            0.0
        };
        (self.packets, self.loud, self.amplitude) = (0, 0, 0.0);
        self.shown += (level - self.shown) * NEWEST;
        // Loud and soft are told in steps of their logarithm; silence at once.
        let told = match speaks {
            true => 2f32
                .powf((self.shown.max(f32::MIN_POSITIVE).log2() * STEPS).round() / STEPS)
                .min(1.0),
            false => 0.0,
        };
        std::mem::replace(&mut self.told, told) != told
    }

    /// The level that was told last.
    pub fn told(&self) -> f32 {
        self.told
    }

    /// Takes over what was told elsewhere.
    pub fn set_told(&mut self, level: f32) {
        self.told = level;
    }

    /// How clients are told of it.
    pub fn info(participant_sid: &str, level: f32) -> proto::SpeakerInfo {
        proto::SpeakerInfo {
            sid: participant_sid.into(),
            level,
            active: level > 0.0,
        }
    }
}

/// Whether a payload under the Opus payload type carries speech: AIC says when it pauses; the first frame of SILK and of
/// hybrid Opus begins with the encoder's own verdict (RFC 6716 section 4.2.3); what is nearly empty is a pause.
fn speaks(payload: &[u8], red: bool) -> bool {
    const SILK_OR_HYBRID: u8 = 16;
    const VOICE: u8 = 0x80;
    let primary = match red {
        true => Red::parse(payload).map_or(&[][..], |red| red.primary().payload),
        false => payload,
    };
    if aic::is_aic(primary) {
        return !aic::pauses(primary);
    }
    let [toc, rest @ ..] = primary else { return false };
    // Packets of several frames have their lengths first, if they differ or padding follows (section 3.2).
    let frame = match toc & 3 {
        0 | 1 => rest,
        2 => rest.get(1..).unwrap_or_default(),
        _ => rest
            .get(usize::from(rest.first().is_some_and(|count| count & 0x80 != 0)) + 1..)
            .unwrap_or_default(),
    };
    match frame {
        [] | [_] => false,
        [first, ..] if toc >> 3 < SILK_OR_HYBRID => first & VOICE != 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(speaking: &mut Speaking, packets: impl IntoIterator<Item = Loudness>) -> Option<f32> {
        for packet in packets {
            speaking.hear(packet);
        }
        speaking.look().then(|| speaking.told())
    }

    fn loud(dbov: i8) -> Loudness {
        Loudness::of(Some(dbov), &[], false)
    }

    #[test]
    fn who_is_loud_for_two_fifths_of_a_window_speaks_and_silence_is_told_once() {
        let mut speaking = Speaking::default();
        assert_eq!(window(&mut speaking, vec![loud(-60); 20]), None);
        let level = window(&mut speaking, vec![loud(-20); 20]).unwrap();
        assert!(level > 0.0 && level <= 0.1, "{level}");
        let mixed = (0..20).map(|n| loud(if n % 5 < 2 { -20 } else { -60 }));
        assert!(window(&mut speaking, mixed).is_some_and(|level| level > 0.0));
        assert_eq!(
            window(
                &mut speaking,
                (0..20).map(|n| loud(if n == 0 { -20 } else { -60 }))
            ),
            Some(0.0)
        );
        assert_eq!(window(&mut speaking, []), None);
    }

    #[test]
    fn a_steady_voice_is_no_news() {
        let mut speaking = Speaking::default();
        let told: Vec<bool> = (0..20)
            .map(|_| window(&mut speaking, vec![loud(-20); 20]).is_some())
            .collect();
        assert!(told[0] && told[10..].iter().all(|told| !told), "{told:?}");
    }

    #[test]
    fn the_payload_tells_where_no_extension_does() {
        let voice = |payload: &[u8], red| Loudness::of(None, payload, red).dbov >= LOUD_DBOV;
        assert!(voice(&[0x48, 0x80, 1, 2], false), "silk, one frame, voice");
        assert!(!voice(&[0x48, 0x00, 1, 2], false), "silk, no voice");
        assert!(!voice(&[0x48], false) && !voice(&[0x48, 0x80], false), "a pause");
        assert!(voice(&[0x78, 0x80, 1], false), "hybrid");
        assert!(
            voice(&[0xf8, 0, 1], false),
            "CELT says nothing: what is sent is heard"
        );
        assert!(voice(&[0x6f, 0x48, 0x80, 1, 2], true), "inside RED");
        assert!(
            voice(&[0x4b, 3, 0x80, 1], false) && voice(&[0x4a, 1, 0x80, 1], false),
            "several frames"
        );
        let aic = [12 << 3 | 0x03, 0x00, 1, 2, 3];
        assert!(voice(&aic, false));
        assert!(
            !voice(&[aic[0] | 0x04, 0, 1, 2, 3], false),
            "the neural codec pauses"
        );
    }

    #[test]
    fn every_truncation_is_read() {
        for payload in [
            [0x4b, 0x83, 7, 0x80, 1],
            [0x4a, 1, 0x80, 1, 0],
            [0xef, 0, 0, 2, 0x6f],
        ] {
            for length in 0..payload.len() {
                for red in [false, true] {
                    Loudness::of(None, &payload[..length], red);
                }
            }
        }
    }
}
