//! What reports say of the network, told to the taps that send over it.

use std::time::Duration;

use auralink_types::Bitrate;
use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::media::Mid;

use super::audio::leg_id;
use super::{Cx, Room};
use crate::line::{Line, Use};
use crate::participant::Pid;
use crate::quality::Sample;
use crate::relay::Note;
use crate::sdp::LineKind;
use crate::session::LineReport;

/// RTP clocks: of Opus (RFC 7587 section 4.1), and of every video codec here (RFC 3551 section 5).
const AUDIO_CLOCK: u32 = 48_000;
const VIDEO_CLOCK: u32 = 90_000;

impl Room {
    /// How a subscriber's network treats a leg.
    pub(super) fn downlink_reported(&mut self, cx: &mut Cx<'_>, pid: Pid, report: &LineReport) {
        if let Some(rtt) = report.rtt
            && let Some(subscriber) = self.connection_mut(pid)
        {
            subscriber.rtt = Some(rtt);
        }
        let lines = self.connection(pid).map(|c| &c.sending().lines);
        let Sample { loss, rtt, jitter } = self.note_quality(pid, report, clock(lines, report.mid));
        for (publisher, serial) in self.heard_by(pid, |mid| mid == report.mid) {
            self.with_tap(cx, publisher, serial, |cx, tapped| {
                tapped.tap.set_leg_network(cx.now, leg_id(pid), loss, rtt, jitter);
            });
        }
    }

    /// How a publisher's network treats a track.
    pub(super) fn uplink_reported(&mut self, cx: &mut Cx<'_>, pid: Pid, report: &LineReport) {
        let lines = self.connection(pid).map(|c| &c.publisher.lines);
        let Sample { loss, rtt, jitter } = self.note_quality(pid, report, clock(lines, report.mid));
        let on_line = self.person_mut(pid).and_then(|p| p.track_on(report.mid));
        let Some(serial) = on_line.map(|track| track.serial) else {
            return;
        };
        self.with_tap(cx, pid, serial, |cx, tapped| {
            tapped.tap.set_uplink_network(cx.now, loss, rtt, jitter);
        });
    }

    /// What the path to a subscriber can carry: all that they hear shares it.
    pub(super) fn capacity_estimated(&mut self, cx: &mut Cx<'_>, pid: Pid, capacity: Bitrate) {
        for (publisher, serial) in self.heard_by(pid, |_| true) {
            self.with_tap(cx, publisher, serial, |_, tapped| {
                tapped.tap.set_leg_capacity(leg_id(pid), Some(capacity));
            });
        }
    }

    /// Audio tracks that leave to a subscriber on lines that the test names.
    fn heard_by(&self, pid: Pid, on: impl Fn(Mid) -> bool) -> Vec<(Pid, u32)> {
        let Some(subscriber) = self.connection(pid) else {
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

    /// Counts a report for the participant's quality; one that knows no round trip gets their last.
    fn note_quality(&mut self, pid: Pid, report: &LineReport, clock: u32) -> Sample {
        let known = self.connection(pid).and_then(|connection| connection.rtt);
        let sample = Sample {
            loss: report.loss,
            rtt: report.rtt.or(known).unwrap_or_default(),
            jitter: interarrival(report.jitter, clock),
        };
        if let Some(participant) = self.person_mut(pid) {
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
            let news = participant.here().is_some() && participant.quality.look();
            let Some(info) = participant.quality.info(participant.sid.as_str()) else {
                continue;
            };
            if participant.grants.hidden {
                continue;
            }
            changed.extend(news.then(|| info.clone()));
            all.push(info);
        }
        if !changed.is_empty() {
            self.tell_parts(&Note::Quality(changed.as_slice().into()));
        }
        for participant in self.people.values_mut() {
            let Some(connection) = participant.here_mut() else {
                continue;
            };
            let fresh = !std::mem::replace(&mut connection.told_quality, true);
            let updates = if fresh { &all } else { &changed };
            if !updates.is_empty() {
                participant.tell(Message::ConnectionQuality(proto::ConnectionQualityUpdate {
                    updates: updates.clone(),
                }));
            }
        }
    }
}

/// Clock of what a line carries.
fn clock(lines: Option<&Vec<Line>>, mid: Mid) -> u32 {
    let line = lines.and_then(|lines| lines.iter().find(|line| line.mid == mid));
    match line.map(|line| line.kind) {
        Some(LineKind::Video) => VIDEO_CLOCK,
        _ => AUDIO_CLOCK,
    }
}

/// Jitter in ticks of a clock as a time.
fn interarrival(ticks: u32, clock: u32) -> Duration {
    Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::QualityMeter;

    #[test]
    fn jitter_is_counted_by_the_clock_of_what_its_line_carries() {
        let lines = vec![
            Line::new("0".into(), LineKind::Audio),
            Line::new("1".into(), LineKind::Video),
        ];
        let jitter = |ticks, mid: &str| interarrival(ticks, clock(Some(&lines), mid.into()));
        assert_eq!(jitter(480, "0"), Duration::from_millis(10));
        assert_eq!(jitter(900, "1"), Duration::from_millis(10));
        // By the clock of sound it would be 188 ms, and the connection a worse one.
        let mut meter = QualityMeter::default();
        meter.handle_sample(Sample {
            loss: 0.0,
            rtt: Duration::from_millis(20),
            jitter: jitter(9_000, "1"),
        });
        meter.look();
        let told = meter.info("PA_1").map(|info| info.quality);
        assert_eq!(told, Some(proto::ConnectionQuality::Excellent as i32));
    }
}
