//! Where channels stand, and what each weighs in mono: the coefficients of ITU-R BS.775-4, table 2.

/// The side of the room from which a channel comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
    Middle,
}

/// One channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub side: Side,
    pub weight: f32,
}

/// All channels, in the order of the file.
pub(crate) type Layout = Vec<Part>;

/// Places of a WAVE channel mask, in its order from bit 0.
const PLACES: [Place; 18] = {
    use Place::{Back, Bass, Centre, Front};
    use Side::{Left, Middle, Right};
    [
        Front(Left),
        Front(Right),
        Centre,
        Bass,
        Back(Left),
        Back(Right),
        Front(Left),
        Front(Right),
        Place::BackCentre,
        Back(Left),
        Back(Right),
        Back(Middle),
        Back(Left),
        Back(Middle),
        Back(Right),
        Back(Left),
        Back(Middle),
        Back(Right),
    ]
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Front(Side),
    Centre,
    Bass,
    /// Beside, behind or above.
    Back(Side),
    BackCentre,
    /// Another microphone: nothing is known.
    Anywhere,
}

/// Masks of WAV and FLAC files that give none, by their number of channels from 3.
const USUAL: [u32; 6] = [0x7, 0x33, 0x37, 0x3f, 0x70f, 0x63f];

/// Channels of a file that says nothing of them: in the usual order up to eight, beyond that each for itself.
pub(crate) fn usual(channels: usize) -> Layout {
    match channels {
        1 => weighed(&[Place::Centre]),
        2 => weighed(&[Place::Front(Side::Left), Place::Front(Side::Right)]),
        3..=8 => by_mask(USUAL[channels - 3], channels),
        _ => weighed(&vec![Place::Anywhere; channels]),
    }
}

/// Channels of a file with a WAVE channel mask; bits that are missing stand for microphones without a place.
pub(crate) fn by_mask(mask: u32, channels: usize) -> Layout {
    if channels <= 2 && mask.count_ones() as usize != channels {
        return usual(channels);
    }
    let named = (0..PLACES.len())
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| PLACES[bit]);
    let places: Vec<Place> = named
        .chain(std::iter::repeat(Place::Anywhere))
        .take(channels)
        .collect();
    weighed(&places)
}

/// Channels in the order of Vorbis and Opus (RFC 7845 §5.1.1.2).
pub(crate) fn vorbis(channels: usize) -> Layout {
    use Place::{Back, BackCentre, Bass, Centre, Front};
    use Side::{Left, Right};
    let (l, c, r, bl, br) = (Front(Left), Centre, Front(Right), Back(Left), Back(Right));
    match channels {
        3 => weighed(&[l, c, r]),
        5 => weighed(&[l, c, r, bl, br]),
        6 => weighed(&[l, c, r, bl, br, Bass]),
        7 => weighed(&[l, c, r, bl, br, BackCentre, Bass]),
        8 => weighed(&[l, c, r, bl, br, bl, br, Bass]),
        _ => usual(channels),
    }
}

/// What stands in the middle keeps its level, be it a channel of its own or the same on both sides.
fn weighed(places: &[Place]) -> Layout {
    const DOWN_3_DB: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let anywhere = places.iter().filter(|place| **place == Place::Anywhere).count();
    let only_bass = places.iter().all(|place| *place == Place::Bass);
    let (front, back) = if places.contains(&Place::Centre) {
        (DOWN_3_DB, 0.5)
    } else {
        (0.5, 0.5 * DOWN_3_DB)
    };
    places
        .iter()
        .map(|place| {
            let (side, weight) = match *place {
                Place::Front(side) => (side, front),
                Place::Centre => (Side::Middle, 1.0),
                Place::Bass if only_bass => (Side::Middle, 1.0 / (places.len() as f32).sqrt()),
                Place::Bass => (Side::Middle, 0.0),
                Place::Back(side) => (side, back),
                Place::BackCentre => (Side::Middle, front),
                // Strangers add up in power.
                Place::Anywhere => (Side::Middle, 1.0 / (anywhere as f32).sqrt()),
            };
            Part { side, weight }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(layout: &Layout) -> Vec<f32> {
        layout
            .iter()
            .map(|part| (part.weight * 1e3).round() / 1e3)
            .collect()
    }

    #[test]
    fn channels_weigh_what_bs_775_says() {
        assert_eq!(weights(&usual(1)), [1.0]);
        assert_eq!(weights(&usual(2)), [0.5, 0.5]);
        assert_eq!(weights(&usual(6)), [0.707, 0.707, 1.0, 0.0, 0.5, 0.5], "5.1");
        assert_eq!(
            weights(&by_mask(0x60f, 6)),
            [0.707, 0.707, 1.0, 0.0, 0.5, 0.5],
            "5.1 with sides"
        );
        assert_eq!(
            weights(&by_mask(0x63f, 8)),
            [0.707, 0.707, 1.0, 0.0, 0.5, 0.5, 0.5, 0.5],
            "7.1"
        );
        assert_eq!(weights(&by_mask(0x33, 4)), [0.5, 0.5, 0.354, 0.354], "quad");
        assert_eq!(
            weights(&vorbis(6)),
            [0.707, 1.0, 0.707, 0.5, 0.5, 0.0],
            "5.1 of Vorbis"
        );
    }

    #[test]
    fn a_microphone_without_a_place_is_heard() {
        assert_eq!(weights(&by_mask(0, 4)), [0.5; 4]);
        assert_eq!(weights(&usual(16)), [0.25; 16]);
        assert_eq!(weights(&by_mask(0x8, 1)), [1.0], "bass alone");
        for channels in 1..40 {
            for layout in [usual(channels), vorbis(channels), by_mask(0x3f, channels)] {
                assert_eq!(layout.len(), channels);
                assert!(layout.iter().any(|part| part.weight > 0.0));
            }
        }
    }
}
