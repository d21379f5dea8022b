//! Which packets are lost: a two-state chain (Gilbert), the same for every codec on the same clip.

/// Mean length of a burst in packets of 20 ms.
pub const MEAN_BURST: f64 = 2.0;

/// One flag for each frame of 20 ms; `true` is lost. The seed is the clip's name, so a pattern depends on nothing else.
pub fn pattern(clip: &str, percent: u32, frames: usize) -> Vec<bool> {
    let rate = f64::from(percent) / 100.0;
    let leave = 1.0 / MEAN_BURST;
    let enter = rate * leave / (1.0 - rate);
    // FNV-1a, then SplitMix64: two lines each, and the same on every machine for ever.
    let mut state = clip.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut lost = false;
    (0..frames)
        .map(|_| {
            lost = uniform() < if lost { 1.0 - leave } else { enter };
            lost
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_bursts_are_as_asked() {
        for percent in [5, 15, 30] {
            let lost = pattern("clip", percent, 200_000);
            let rate = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
            assert!((rate * 100.0 - f64::from(percent)).abs() < 1.0, "{rate}");
            let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            let mean = rate * lost.len() as f64 / bursts as f64;
            assert!((mean - MEAN_BURST).abs() < 0.1, "{mean}");
        }
    }

    #[test]
    fn nothing_asked_is_nothing_lost_and_a_clip_always_loses_the_same() {
        assert!(pattern("a", 0, 1000).iter().all(|lost| !lost));
        assert_eq!(pattern("a", 15, 1000), pattern("a", 15, 1000));
        assert_ne!(pattern("a", 15, 1000), pattern("b", 15, 1000));
    }
}
