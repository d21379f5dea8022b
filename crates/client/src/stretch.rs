//! Makes a block of audio longer or shorter by one pitch period, so that the playout delay can change without a
//! hole. Waveform-similarity overlap-add (Verhelst and Roelands, 1993) with one splice per block.

/// Shortest period searched, samples at 48 kHz: 400 Hz.
const MIN_LAG: usize = 120;

/// Longest period searched: 100 Hz.
const MAX_LAG: usize = 480;

/// Samples a block needs for one splice.
pub(crate) const MIN_BLOCK: usize = 2 * MAX_LAG;

/// Similarity under which a splice would be heard.
const MIN_SIMILARITY: f32 = 0.6;

/// Mean square under which anything may be spliced: -50 dBFS.
const QUIET: f32 = 1e-5;

/// How much a splice may spoil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Only where it is not heard.
    Gentle,
    /// Anywhere.
    Now,
}

/// The block with one period repeated; `None` where that would be heard.
pub(crate) fn longer(block: &[f32], urgency: Urgency) -> Option<Vec<f32>> {
    let (middle, lag) = splice_point(block, urgency)?;
    let (before, after) = (&block[middle - lag..middle], &block[middle..middle + lag]);
    let mut out = Vec::with_capacity(block.len() + lag);
    out.extend_from_slice(&block[..middle]);
    out.extend(fade(after, before));
    out.extend_from_slice(&block[middle..]);
    Some(out)
}

/// The block with one period left out; `None` where that would be heard.
pub(crate) fn shorter(block: &[f32], urgency: Urgency) -> Option<Vec<f32>> {
    let (middle, lag) = splice_point(block, urgency)?;
    let (before, after) = (&block[middle - lag..middle], &block[middle..middle + lag]);
    let mut out = Vec::with_capacity(block.len() - lag);
    out.extend_from_slice(&block[..middle - lag]);
    out.extend(fade(before, after));
    out.extend_from_slice(&block[middle + lag..]);
    Some(out)
}

fn fade<'a>(from: &'a [f32], to: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    let step = 1.0 / from.len().max(1) as f32;
    from.iter().zip(to).enumerate().map(move |(index, (from, to))| {
        let weight = (index as f32 + 0.5) * step;
        from * (1.0 - weight) + to * weight
    })
}

fn splice_point(block: &[f32], urgency: Urgency) -> Option<(usize, usize)> {
    if block.len() < MIN_BLOCK {
        return None;
    }
    let middle = block.len() / 2;
    let energy = |part: &[f32]| part.iter().map(|x| x * x).sum::<f32>();
    if energy(block) / (block.len() as f32) < QUIET {
        return Some((middle, MAX_LAG));
    }
    let mut best = (f32::MIN, MAX_LAG);
    // Steps of four samples: at 48 kHz a period is found well enough, and the search stays cheap.
    for lag in (MIN_LAG..=MAX_LAG).step_by(4) {
        let (before, after) = (&block[middle - lag..middle], &block[middle..middle + lag]);
        let product: f32 = before
            .iter()
            .step_by(2)
            .zip(after.iter().step_by(2))
            .map(|(a, b)| 2.0 * a * b)
            .sum();
        let similarity = product / (energy(before) * energy(after)).sqrt().max(1e-9);
        if similarity > best.0 {
            best = (similarity, lag);
        }
    }
    (urgency == Urgency::Now || best.0 >= MIN_SIMILARITY).then_some((middle, best.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(period: usize, len: usize) -> Vec<f32> {
        (0..len)
            .map(|n| (2.0 * std::f32::consts::PI * n as f32 / period as f32).sin() * 0.5)
            .collect()
    }

    fn roughest(pcm: &[f32]) -> f32 {
        pcm.windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_gets_longer_and_shorter_by_whole_periods_without_a_click() {
        let block = tone(240, 960);
        for changed in [
            longer(&block, Urgency::Gentle).unwrap(),
            shorter(&block, Urgency::Gentle).unwrap(),
        ] {
            let by = changed.len().abs_diff(block.len());
            assert!(by > 0 && by % 240 == 0, "changed by {by}");
            assert!(roughest(&changed) <= 1.05 * roughest(&block));
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_urgent() {
        let mut state = 1u32;
        let noise: Vec<f32> = (0..960)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state as f32 / u32::MAX as f32 - 0.5
            })
            .collect();
        assert_eq!(longer(&noise, Urgency::Gentle), None);
        assert!(longer(&noise, Urgency::Now).unwrap().len() > 960);
        assert!(shorter(&noise, Urgency::Now).unwrap().len() < 960);
    }

    #[test]
    fn a_block_too_short_to_splice_stays_as_it_is() {
        assert_eq!(longer(&tone(240, 480), Urgency::Now), None);
    }
}
