//! Whose fault a gap is.

use std::time::{Duration, Instant};

use auralink_client::Report;

use crate::outcome::{AUDIBLE_GAP_MS, Blame, Gap};
use auralink_link::{Stall, explains};

/// Every gap one listener had. `from` is when it began to join, `offset` how long after that the run began;
/// `aic` says whether AIC was on.
pub fn of(
    listener: &str,
    report: &Report,
    from: Instant,
    offset: Duration,
    stalls: &[Stall],
    aic: bool,
) -> Vec<Gap> {
    let all = report.stats.tracks.iter().flat_map(|track| {
        track
            .stats
            .gaps
            .iter()
            .map(move |gap| (track.from_ms + gap.at_ms, gap.ms))
    });
    all.map(|(at_ms, ms)| {
        let at = Duration::from_secs_f64((at_ms / 1000.0).max(0.0));
        let excused = !aic || explains(stalls, from + at, Duration::from_secs_f64(ms.max(0.0) / 1000.0));
        Gap {
            listener: listener.to_owned(),
            at_s: at.as_secs_f64() - offset.as_secs_f64(),
            ms,
            blame: blame(ms, excused),
        }
    })
    .collect()
}

fn blame(ms: f64, excused: bool) -> Blame {
    match (ms > AUDIBLE_GAP_MS, excused) {
        (false, _) => Blame::Nobody,
        (true, true) => Blame::Machine,
        // Whatever is not shown to be somebody else's fault is AIC's.
        (true, false) => Blame::Aic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audible_gap_is_aics_unless_it_is_excused() {
        assert_eq!(blame(60.0, false), Blame::Nobody);
        assert_eq!(blame(60.1, false), Blame::Aic);
        assert_eq!(blame(500.0, true), Blame::Machine);
    }
}
