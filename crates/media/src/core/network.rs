//! What reports say of the network, told to the taps that send over it.

use std::time::{Duration, Instant};

use auralink_types::{Bitrate, TrackId};
use str0m::media::Mid;

use super::Core;
use crate::participant::Pid;
use crate::session::LineReport;
use crate::tap::LegId;

/// Clock of Opus in RTP.
const CLOCK: u64 = 48_000;

impl Core {
    /// How a subscriber's network treats a leg.
    pub(super) fn downlink_reported(&mut self, now: Instant, pid: Pid, report: &LineReport) {
        if let Some(rtt) = report.rtt
            && let Some(subscriber) = self.people.get_mut(&pid)
        {
            subscriber.rtt = Some(rtt);
        }
        for (publisher, id) in self.heard_by(pid, |mid| mid == report.mid) {
            let (loss, rtt, jitter) = self.figures(pid, report);
            self.with_tap(now, publisher, &id, |_, tapped| {
                tapped.tap.set_leg_network(now, LegId(pid.0), loss, rtt, jitter);
            });
        }
    }

    /// How a publisher's network treats a track.
    pub(super) fn uplink_reported(&mut self, now: Instant, pid: Pid, report: &LineReport) {
        let on_line = self.people.get_mut(&pid).and_then(|p| p.track_on(report.mid));
        let Some(id) = on_line
            .filter(|track| !track.is_video())
            .map(|track| track.id.clone())
        else {
            return;
        };
        let (loss, rtt, jitter) = self.figures(pid, report);
        self.with_tap(now, pid, &id, |_, tapped| {
            tapped.tap.set_uplink_network(now, loss, rtt, jitter);
        });
    }

    /// What the path to a subscriber can carry: all that he hears shares it.
    pub(super) fn capacity_estimated(&mut self, now: Instant, pid: Pid, capacity: Bitrate) {
        for (publisher, id) in self.heard_by(pid, |_| true) {
            self.with_tap(now, publisher, &id, |_, tapped| {
                tapped.tap.set_leg_capacity(LegId(pid.0), Some(capacity));
            });
        }
    }

    /// Audio tracks that leave to a subscriber on lines that the test names.
    fn heard_by(&self, pid: Pid, on: impl Fn(Mid) -> bool) -> Vec<(Pid, TrackId)> {
        let Some(subscriber) = self.people.get(&pid) else {
            return Vec::new();
        };
        let audio = subscriber.subscriptions.iter().filter(|(_, s)| !s.video);
        audio
            .filter(|(_, s)| s.mid.is_some_and(&on))
            .map(|(id, s)| (s.publisher, id.clone()))
            .collect()
    }

    /// Loss, round trip and jitter; a report that knows no round trip gets the participant's last.
    fn figures(&self, pid: Pid, report: &LineReport) -> (f32, Duration, Duration) {
        let known = || self.people.get(&pid).and_then(|p| p.rtt);
        let jitter = Duration::from_micros(u64::from(report.jitter) * 1_000_000 / CLOCK);
        (report.loss, report.rtt.or_else(known).unwrap_or_default(), jitter)
    }
}
