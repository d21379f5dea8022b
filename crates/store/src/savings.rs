//! Sums over traffic.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::StoreError;
use crate::page::Span;
use crate::row::Row;
use crate::scoped::Scoped;
use crate::timestamp::Timestamp;
use crate::usage::Usage;

/// Traffic with and without AIC over some span. A row counts for the second it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Kilobits that would have flowed without AIC.
    pub original_kbit: f64,
    /// Kilobits that did flow.
    pub compressed_kbit: f64,
    /// Frames that passed the tap.
    pub frames: u64,
    /// Rows summed.
    pub seconds: u64,
}

impl Traffic {
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            original_kbit: row.get("original_kbit")?,
            compressed_kbit: row.get("compressed_kbit")?,
            frames: row.count("frames")?,
            seconds: row.count("seconds")?,
        })
    }

    /// Megabytes (10⁶ bytes) saved; negative when AIC cost more than it saved.
    pub fn saved_mb(&self) -> f64 {
        (self.original_kbit - self.compressed_kbit) / 8000.0
    }

    /// Share saved in percent, weighted by traffic; 0 when nothing flowed.
    pub fn saved_percent(&self) -> f64 {
        if self.original_kbit > 0.0 {
            100.0 * (1.0 - self.compressed_kbit / self.original_kbit)
        } else {
            0.0
        }
    }
}

/// What was saved over a period, and what that was worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BandwidthSavings {
    /// Megabytes (10⁶ bytes); negative when AIC cost more than it saved.
    pub total_saved_mb: f64,
    /// Gigabytes (10⁹ bytes).
    pub total_saved_gb: f64,
    /// Percent saved, weighted by traffic.
    pub avg_savings_percent: f64,
    /// Frames that passed the tap.
    pub total_frames: u64,
    /// The gigabytes at that price.
    pub estimated_cost_savings_usd: f64,
    /// Dollars for one gigabyte.
    pub price_per_gb: f64,
    /// Days summed.
    pub period_days: u32,
}

impl BandwidthSavings {
    pub(crate) fn new(traffic: Traffic, period_days: u32, price_per_gb: f64) -> Self {
        let total_saved_gb = traffic.saved_mb() / 1000.0;
        Self {
            total_saved_mb: traffic.saved_mb(),
            total_saved_gb,
            avg_savings_percent: traffic.saved_percent(),
            total_frames: traffic.frames,
            estimated_cost_savings_usd: total_saved_gb * price_per_gb,
            price_per_gb,
            period_days,
        }
    }
}

impl Scoped {
    /// What was saved over the last so many days, at that price. The first hour counts whole.
    pub async fn bandwidth_savings(
        &self,
        days: u32,
        price_per_gb: f64,
    ) -> Result<BandwidthSavings, StoreError> {
        let length = Duration::from_secs(u64::from(days) * 86_400);
        let span = Span::since(Timestamp::from(SystemTime::now()).minus(length));
        let rows = self.rows("savings", Usage::traffic().sql(self, &span)).await?;
        let traffic = rows.first().map(Traffic::from_row).transpose()?;
        Ok(BandwidthSavings::new(
            traffic.unwrap_or_default(),
            days,
            price_per_gb,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_at_120_instead_of_24_kbps_saves_43_megabytes() {
        let traffic = Traffic {
            original_kbit: 120.0 * 3600.0,
            compressed_kbit: 24.0 * 3600.0,
            ..Traffic::default()
        };
        assert!((traffic.saved_mb() - 43.2).abs() < 1e-9);
        assert!((traffic.saved_percent() - 80.0).abs() < 1e-9);
        assert_eq!(Traffic::default().saved_percent(), 0.0);
    }
}
