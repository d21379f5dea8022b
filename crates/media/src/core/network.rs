//! What reports say of the network, told to the taps that send over it.

use std::time::{Duration, Instant};

use auralink_types::{Bitrate, TrackId};
use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::media::Mid;

use super::Core;
use crate::participant::Pid;
use crate::quality::Sample;
use crate::session::LineReport;
use crate::tap::LegId;

/// Clock of Opus in RTP. Video counts nearly twice as fast, so its jitter is judged mildly, as it is heard by nobody.
const CLOCK: u64 = 48_000;

/// How often participants are told of each other's connections.
pub(super) const QUALITY_EVERY: Duration = Duration::from_secs(5);

impl Core {
    /// How a subscriber's network treats a leg.
    pub(super) fn downlink_reported(&mut self, now: Instant, pid: Pid, report: &LineReport) {
        if let Some(rtt) = report.rtt
            && let Some(subscriber) = self.people.get_mut(&pid)
        {
            subscriber.rtt = Some(rtt);
        }
        let Sample { loss, rtt, jitter } = self.note_quality(pid, report);
        for (publisher, id) in self.heard_by(pid, |mid| mid == report.mid) {
            self.with_tap(now, publisher, &id, |_, tapped| {
                tapped.tap.set_leg_network(now, LegId(pid.0), loss, rtt, jitter);
            });
        }
    }

    /// How a publisher's network treats a track.
    pub(super) fn uplink_reported(&mut self, now: Instant, pid: Pid, report: &LineReport) {
        let Sample { loss, rtt, jitter } = self.note_quality(pid, report);
        let on_line = self.people.get_mut(&pid).and_then(|p| p.track_on(report.mid));
        let Some(id) = on_line
            .filter(|track| !track.is_video())
            .map(|track| track.id.clone())
        else {
            return;
        };
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

    /// Counts a report for the participant's quality; one that knows no round trip gets his last.
    fn note_quality(&mut self, pid: Pid, report: &LineReport) -> Sample {
        let participant = self.people.get_mut(&pid);
        let known = participant.as_ref().and_then(|p| p.rtt);
        let sample = Sample {
            loss: report.loss,
            rtt: report.rtt.or(known).unwrap_or_default(),
            jitter: Duration::from_micros(u64::from(report.jitter) * 1_000_000 / CLOCK),
        };
        if let Some(participant) = participant {
            tracing::debug!(participant = %participant.sid, mid = %report.mid, ?sample, "network report");
            participant.quality.handle_sample(sample);
        }
        sample
    }

    /// Tells everybody whose connection has become better or worse, and newcomers how everybody's is.
    pub(super) fn tell_quality(&mut self) {
        let rooms: Vec<Vec<Pid>> = self
            .rooms
            .values()
            .map(|room| room.participants.clone())
            .collect();
        for room in rooms {
            let mut changed = Vec::new();
            let mut all = Vec::new();
            for pid in &room {
                let Some(participant) = self.people.get_mut(pid) else {
                    continue;
                };
                let news = participant.quality.look();
                let Some(info) = participant.quality.info(participant.sid.as_str()) else {
                    continue;
                };
                if participant.grants.hidden {
                    continue;
                }
                changed.extend(news.then(|| info.clone()));
                all.push(info);
            }
            for pid in &room {
                let Some(participant) = self.people.get_mut(pid) else {
                    continue;
                };
                let fresh = !std::mem::replace(&mut participant.told_quality, true);
                let updates = if fresh { &all } else { &changed };
                if !updates.is_empty() {
                    participant.tell(Message::ConnectionQuality(proto::ConnectionQualityUpdate {
                        updates: updates.clone(),
                    }));
                }
            }
        }
    }
}
