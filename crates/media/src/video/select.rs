//! What a leg should carry. Everything that speaks for less, what the subscriber asks and what their line holds, speaks here.

use std::time::Instant;

use super::layer::Layer;
use super::picture::LEVELS;

/// Highest of the three layers that clients can ask for.
pub(super) const HIGHEST: usize = 2;

/// What a subscriber asks of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Highest layer, 0 to 2.
    pub ceiling: usize,
    /// Most pictures a second, if they said so.
    pub fps: Option<u32>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            ceiling: HIGHEST,
            fps: None,
        }
    }
}

/// What of a video goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Index of the layer.
    pub layer: usize,
    /// Highest level of its temporal hierarchy.
    pub level: u8,
}

/// What a leg should carry: the highest layer that flows and isn't over what is asked for, else the lowest that flows; and
/// of it as many pictures as are asked for.
pub fn select(layers: &[Layer], wish: Wish, now: Instant) -> Option<Selection> {
    let alive = || (0..layers.len()).filter(|i| layers[*i].alive(now));
    let layer = alive().rfind(|i| *i <= wish.ceiling).or_else(|| alive().next())?;
    let level = match wish.fps {
        Some(fps) => layers[layer].cadence.level_within(fps),
        None => LEVELS as u8 - 1,
    };
    Some(Selection { layer, level })
}

#[cfg(test)]
mod tests {
    use super::super::layer::{LAYER_GONE, layers_of};
    use super::*;

    #[test]
    fn a_vanished_layer_is_replaced_by_the_best_that_flows() {
        let now = Instant::now();
        let mut layers = layers_of(&["f".into(), "q".into(), "h".into()]);
        let up_to = |layers: &[Layer], ceiling, now| {
            let wish = Wish { ceiling, fps: None };
            select(layers, wish, now).map(|selection| selection.layer)
        };
        assert_eq!(up_to(&layers, 2, now), None);
        layers[0].seen = Some(now);
        layers[2].seen = Some(now);
        assert_eq!(up_to(&layers, 2, now), Some(2));
        assert_eq!(up_to(&layers, 1, now), Some(0));
        let later = now + LAYER_GONE;
        layers[0].seen = Some(later);
        assert_eq!(up_to(&layers, 2, later), Some(0));
    }

    #[test]
    fn each_layer_is_thinned_by_its_own_rate() {
        let now = Instant::now();
        let mut layers = layers_of(&["q".into(), "f".into()]);
        for (layer, fps) in layers.iter_mut().zip([15, 30]) {
            layer.seen = Some(now);
            for n in 0..40 {
                layer.cadence.hear(n * 90_000 / fps, (n % 2) as u8);
            }
        }
        let of = |ceiling| {
            select(
                &layers,
                Wish {
                    ceiling,
                    fps: Some(15),
                },
                now,
            )
        };
        assert_eq!(of(0), Some(Selection { layer: 0, level: 3 }));
        assert_eq!(of(2), Some(Selection { layer: 1, level: 0 }));
    }
}
