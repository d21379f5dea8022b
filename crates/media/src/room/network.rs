//! What reports say of the network, told to the taps that send over it.

use std::time::Duration;

use auralink_types::Bitrate;
use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::media::Mid;

use super::audio::leg_id;
use super::{Cx, Room};
use crate::line::Use;
use crate::participant::Pid;
use crate::quality::Sample;
use crate::session::LineReport;

/// Clock of Opus in RTP. Video counts nearly twice as fast, so its jitter is judged mildly, as it is heard by nobody.
const CLOCK: u64 = 48_000;

impl Room {
    /// How a subscriber's network treats a leg.
    pub(super) fn downlink_reported(&mut self, cx: &mut Cx<'_>, pid: Pid, report: &LineReport) {
        if let Some(rtt) = report.rtt
            && let Some(subscriber) = self.person_mut(pid)
        {
            subscriber.rtt = Some(rtt);
        }
        let Sample { loss, rtt, jitter } = self.note_quality(pid, report);
        for (publisher, serial) in self.heard_by(pid, |mid| mid == report.mid) {
            self.with_tap(cx, publisher, serial, |cx, tapped| {
                tapped.tap.set_leg_network(cx.now, leg_id(pid), loss, rtt, jitter);
            });
        }
    }

    /// How a publisher's network treats a track.
    pub(super) fn uplink_reported(&mut self, cx: &mut Cx<'_>, pid: Pid, report: &LineReport) {
        let Sample { loss, rtt, jitter } = self.note_quality(pid, report);
        let on_line = self.person_mut(pid).and_then(|p| p.track_on(report.mid));
        let Some(serial) = on_line.map(|track| track.serial) else {
            return;
        };
        self.with_tap(cx, pid, serial, |cx, tapped| {
            tapped.tap.set_uplink_network(cx.now, loss, rtt, jitter);
        });
    }

    /// What the path to a subscriber can carry: all that he hears shares it.
    pub(super) fn capacity_estimated(&mut self, cx: &mut Cx<'_>, pid: Pid, capacity: Bitrate) {
        for (publisher, serial) in self.heard_by(pid, |_| true) {
            self.with_tap(cx, publisher, serial, |_, tapped| {
                tapped.tap.set_leg_capacity(leg_id(pid), Some(capacity));
            });
        }
    }

    /// Audio tracks that leave to a subscriber on lines that the test names.
    fn heard_by(&self, pid: Pid, on: impl Fn(Mid) -> bool) -> Vec<(Pid, u32)> {
        let Some(subscriber) = self.person(pid) else {
            return Vec::new();
        };
        let lines = subscriber.sending().lines.iter().filter(|line| on(line.mid));
        lines
            .filter_map(|line| match &line.usage {
                Use::Send(id) => Some((subscriber.subscriptions.get(id)?.publisher, id)),
                _ => None,
            })
            .filter_map(|(publisher, id)| {
                let track = self.person(publisher)?.tracks.iter().find(|t| t.id == *id)?;
                (!track.is_video()).then_some((publisher, track.serial))
            })
            .collect()
    }

    /// Counts a report for the participant's quality; one that knows no round trip gets his last.
    fn note_quality(&mut self, pid: Pid, report: &LineReport) -> Sample {
        let participant = self.person_mut(pid);
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
    pub fn tell_quality(&mut self) {
        let mut changed = Vec::new();
        let mut all = Vec::new();
        for participant in self.people.values_mut() {
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
        for participant in self.people.values_mut() {
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
