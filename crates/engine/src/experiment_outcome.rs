//! What an experiment found: means of the arms, their differences and how sure one can be of these.
//!
//! A sample is one unit (a user or a call), not one second of media: seconds of one call resemble each other, and
//! counting each would make any difference look certain.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Fewest units in each arm before a difference should be believed. With fewer, the means of skewed figures such as
/// bit rates are not yet close to normal, which the interval takes for granted.
pub const UNITS_MIN: u64 = 30;

/// Share of intervals that hold the true difference.
pub const CONFIDENCE: f64 = 0.95;

/// Samples of one figure, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// How many.
    pub count: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// Sum of the squared distances from the mean.
    pub squares: f64,
}

impl Sample {
    /// Takes one more in (Welford 1962: stable, where a plain sum of squares loses all digits).
    pub fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Variance of the population, estimated; 0 with fewer than two samples.
    pub fn variance(&self) -> f64 {
        if self.count < 2 {
            0.0
        } else {
            (self.squares / (self.count - 1) as f64).max(0.0)
        }
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sample = Self::default();
        values.into_iter().for_each(|value| sample.push(value));
        sample
    }
}

/// An arm's mean against the control's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Arm minus control.
    pub difference: f64,
    /// Lower end of the interval; absent when an arm has fewer than two units.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Whether the interval leaves out zero and there are units enough.
    pub significant: bool,
    /// Whether an arm has fewer than [`UNITS_MIN`] units.
    pub too_few: bool,
}

impl Difference {
    /// Welch's interval: the arms' variances may differ, and so may their sizes (Welch 1947). Degrees of freedom after
    /// Satterthwaite (1946).
    pub fn between(arm: &Sample, control: &Sample) -> Self {
        let difference = arm.mean - control.mean;
        let too_few = arm.count.min(control.count) < UNITS_MIN;
        let margin = margin(arm, control);
        Self {
            difference,
            low: margin.map(|margin| difference - margin),
            high: margin.map(|margin| difference + margin),
            significant: !too_few && margin.is_some_and(|margin| difference.abs() > margin),
            too_few,
        }
    }
}

fn margin(arm: &Sample, control: &Sample) -> Option<f64> {
    if arm.count < 2 || control.count < 2 {
        return None;
    }
    let (n, m) = (arm.count as f64, control.count as f64);
    let (a, b) = (arm.variance() / n, control.variance() / m);
    let error = a + b;
    if error == 0.0 {
        return Some(0.0);
    }
    let freedom = error * error / (a * a / (n - 1.0) + b * b / (m - 1.0));
    // A degree of freedom below 1 is rounding.
    let law = StudentsT::new(0.0, 1.0, freedom.max(1.0)).ok()?;
    Some(law.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)) * error.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from `scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)`, SciPy 1.17.
    #[test]
    fn the_interval_is_welchs() {
        let a: Sample = [
            27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4,
        ]
        .into_iter()
        .collect();
        let b: Sample = [
            27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.4,
        ]
        .into_iter()
        .collect();
        let found = Difference::between(&a, &b);
        assert!((found.difference - DIFFERENCE).abs() < 1e-6, "{found:?}");
        assert!((found.low.unwrap() - LOW).abs() < 1e-3, "{found:?}");
        assert!((found.high.unwrap() - HIGH).abs() < 1e-3, "{found:?}");
        assert!(
            found.too_few && !found.significant,
            "15 units are too few to believe it"
        );
    }

    const DIFFERENCE: f64 = -2.833_333_333;
    const LOW: f64 = -4.868_022_742;
    const HIGH: f64 = -0.798_643_925;

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        // Arms of 40 units that do not differ, drawn from a uniform law by a generator of our own (splitmix64).
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        let trials = 4000;
        let missed = (0..trials)
            .filter(|_| {
                let a: Sample = (0..40).map(|_| next()).collect();
                let b: Sample = (0..40).map(|_| 3.0 * next() - 1.0).collect();
                Difference::between(&a, &b).significant
            })
            .count();
        // 5 % of 4000 is 200; its standard deviation is 14.
        assert!((150..250).contains(&missed), "{missed}");
    }

    #[test]
    fn few_or_equal_samples_give_no_false_certainty() {
        let one: Sample = [5.0].into_iter().collect();
        let many: Sample = (0..40).map(f64::from).collect();
        let found = Difference::between(&one, &many);
        assert!(found.low.is_none() && found.too_few && !found.significant);
        let flat: Sample = [3.0; 40].into_iter().collect();
        let found = Difference::between(&flat, &flat);
        assert_eq!(
            (found.difference, found.low, found.significant),
            (0.0, Some(0.0), false)
        );
        let broken: Sample = [f64::NAN, f64::INFINITY].into_iter().collect();
        assert_eq!(broken, Sample::default());
    }

    #[test]
    fn a_clear_difference_with_units_enough_is_significant() {
        let low: Sample = (0..50).map(|n| 20.0 + f64::from(n % 5)).collect();
        let high: Sample = (0..50).map(|n| 120.0 + f64::from(n % 7)).collect();
        let found = Difference::between(&low, &high);
        assert!(found.significant && !found.too_few && found.high.unwrap() < -99.0);
    }
}
