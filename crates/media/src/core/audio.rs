//! Audio through the AIC tap: packets, outcomes, time and policies in; packets out, wishes and rows passed on.

use std::time::{Duration, Instant};

use auralink_types::{SessionId, TrackId, UserKey};
use str0m::format::PayloadParams;
use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

use super::Core;
use super::route::{red_primary, wants};
use crate::arrival::Numbers;
use crate::participant::{Pid, RoomKey};
use crate::tap::{
    AudioPacket, AudioTap, LegCaps, LegId, OutPacket, PayloadKind, PublisherCaps, TapOutput, TapSnapshot,
};
use crate::track::{LegTo, Track};

/// How often a track's row is written.
const ROW_EVERY: Duration = Duration::from_secs(1);

/// The tap of an audio track with what surrounds it.
pub(crate) struct Tapped {
    pub(super) tap: AudioTap,
    /// Legs the tap knows.
    legs: Vec<(LegTo, LegCaps)>,
    /// The publisher's Opus.
    params: Option<PayloadParams>,
    /// Loudness that the publisher's last packet told, for as long as AIC doesn't save its bytes.
    level: (Option<i8>, Option<bool>),
    timer: Option<Instant>,
    /// The session in progress; absent while AIC is off.
    pub(super) session: Option<SessionId>,
    /// The snapshot of the last row.
    pub(super) last: TapSnapshot,
    pub(super) last_at: Instant,
}

impl std::fmt::Debug for Tapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tapped")
            .field("legs", &self.legs)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// An audio packet of a publisher.
    pub(super) fn tap_packet(
        &mut self,
        now: Instant,
        pid: Pid,
        mid: Mid,
        (params, red): (&PayloadParams, bool),
        packet: &RtpPacket,
        numbers: Numbers,
    ) {
        let Some(track) = self.people.get_mut(&pid).and_then(|p| p.track_on(mid)) else {
            return;
        };
        let id = track.id.clone();
        let told = &packet.header.ext_vals;
        let level = if track.steering.active {
            (None, None)
        } else {
            (told.audio_level, told.voice_activity)
        };
        let arrived = AudioPacket {
            kind: if red { PayloadKind::Red } else { PayloadKind::Opus },
            seq: numbers.seq,
            timestamp: numbers.timestamp,
            marker: packet.header.marker,
            payload: packet.payload.clone(),
            received: now,
        };
        self.with_tap(now, pid, &id, |core, tapped| {
            tapped.params = Some(*params);
            tapped.level = level;
            tapped.tap.handle_packet(now, arrived, &mut *core.ai.ai.processor);
        });
    }

    /// The AI core has something to say.
    pub fn handle_outcomes(&mut self, now: Instant) {
        while let Some(outcome) = self.ai.ai.processor.poll() {
            let Some((pid, id)) = self.ai.streams.get(&outcome.stream()).cloned() else {
                continue;
            };
            self.with_tap(now, pid, &id, |core, tapped| {
                tapped
                    .tap
                    .handle_outcome(now, &outcome, &mut *core.ai.ai.processor);
            });
        }
        self.settle(now);
    }

    /// Wakes the taps whose time has come.
    pub(super) fn tap_timeouts(&mut self, now: Instant) {
        while let Some((due, pid, id)) = self.ai.timers.first().cloned() {
            if due > now {
                break;
            }
            self.ai.timers.pop_first();
            self.with_tap(now, pid, &id, |core, tapped| {
                tapped.timer = None;
                let ai = &mut core.ai;
                tapped
                    .tap
                    .handle_timeout(now, &mut *ai.ai.processor, &mut ai.gate);
            });
        }
    }

    /// Looks at policies and rows; ten times a second.
    pub(super) fn tap_tick(&mut self, now: Instant) {
        let version = self.ai.ai.book.version();
        let changed = version != self.ai.read;
        let report = now >= self.ai.next_rows;
        if report {
            self.ai.next_rows = now + ROW_EVERY;
        }
        if !changed && !report {
            return;
        }
        for (pid, id) in self.audio_tracks() {
            if changed {
                self.with_tap(now, pid, &id, |core, tapped| {
                    let policy = core.policy_of(pid, &id);
                    tapped.tap.set_policy(now, policy);
                });
                self.steer_track(now, pid, &id, None);
            }
            if report {
                self.report(now, pid, &id);
            }
        }
        // Only now: until every tap was visited, its legs' vetoes are read from the book again.
        self.ai.read = version;
    }

    /// A track was announced: what AIC wants of it is known before its first answer.
    pub(super) fn steer(&mut self, now: Instant, pid: Pid) {
        for (publisher, id) in self.audio_tracks() {
            if publisher == pid {
                self.with_tap(now, pid, &id, |_, _| {});
                self.steer_track(now, pid, &id, None);
            }
        }
    }

    /// A track is gone: its stream at the core goes as well.
    pub(super) fn close_tap(&mut self, now: Instant, room: &RoomKey, owner: &UserKey, track: &mut Track) {
        if let Some(mut tapped) = track.tapped.take() {
            self.end_session(now, room, owner, &track.id, &mut tapped);
            if let Some(stream) = tapped.tap.stream() {
                self.ai.streams.remove(&stream);
            }
            if let Some(due) = tapped.timer {
                self.ai.timers.retain(|(at, _, id)| *at != due || *id != track.id);
            }
            tapped.tap.close(&mut *self.ai.ai.processor);
        }
    }

    fn audio_tracks(&self) -> Vec<(Pid, TrackId)> {
        let tracks = self.people.iter().flat_map(|(pid, p)| {
            p.tracks
                .iter()
                .filter(|t| !t.is_video())
                .map(move |t| (*pid, t.id.clone()))
        });
        tracks.collect()
    }

    /// Takes a track's tap out, lets `work` use it, carries out what it says and puts it back.
    pub(super) fn with_tap(
        &mut self,
        now: Instant,
        pid: Pid,
        id: &TrackId,
        work: impl FnOnce(&mut Self, &mut Tapped),
    ) {
        let Some(mut tapped) = self.take_tap(now, pid, id) else {
            return;
        };
        self.sync_legs(now, pid, id, &mut tapped);
        work(self, &mut tapped);
        while let Some(output) = tapped.tap.poll_output() {
            match output {
                TapOutput::Send { leg, packet } => self.send_tapped(now, &tapped, leg, packet),
                TapOutput::Hint(hint) => self.hint(now, pid, id, &hint),
                TapOutput::Event(event) => self.tap_event(now, pid, id, &mut tapped, event),
            }
        }
        if let Some(stream) = tapped.tap.stream() {
            self.ai.streams.entry(stream).or_insert_with(|| (pid, id.clone()));
        }
        let due = tapped.tap.poll_timeout();
        if due != tapped.timer {
            if let Some(old) = tapped.timer.take() {
                self.ai.timers.remove(&(old, pid, id.clone()));
            }
            if let Some(due) = due {
                self.ai.timers.insert((due, pid, id.clone()));
            }
            tapped.timer = due;
        }
        let track = self
            .people
            .get_mut(&pid)
            .and_then(|p| p.tracks.iter_mut().find(|t| t.id == *id));
        match track {
            Some(track) => track.tapped = Some(tapped),
            // A leg's failure cannot take the publisher away, but nothing is lost if it did.
            None => tapped.tap.close(&mut *self.ai.ai.processor),
        }
    }

    fn take_tap(&mut self, now: Instant, pid: Pid, id: &TrackId) -> Option<Box<Tapped>> {
        let policy = self.policy_of(pid, id);
        let publisher = self.people.get_mut(&pid)?;
        let caps = PublisherCaps {
            models: publisher.models(),
            steerable: true,
        };
        let track = publisher
            .tracks
            .iter_mut()
            .find(|t| t.id == *id && !t.is_video())?;
        if let Some(tapped) = track.tapped.take() {
            return Some(tapped);
        }
        let mut tap = AudioTap::new(now, id.clone(), caps, policy);
        let last = tap.snapshot();
        Some(Box::new(Tapped {
            tap,
            legs: Vec::new(),
            params: None,
            level: (None, None),
            timer: None,
            session: None,
            last,
            last_at: now,
        }))
    }

    /// Tells the tap who came, went or can take something else now.
    fn sync_legs(&mut self, now: Instant, pid: Pid, id: &TrackId, tapped: &mut Tapped) {
        let Some(track) = self
            .people
            .get(&pid)
            .and_then(|p| p.tracks.iter().find(|t| t.id == *id))
        else {
            return;
        };
        let unchanged = tapped.legs.len() == track.legs.len()
            && tapped
                .legs
                .iter()
                .zip(&track.legs)
                .all(|((known, _), leg)| known == leg);
        if unchanged && self.ai.read == self.ai.ai.book.version() {
            return;
        }
        let legs: Vec<(LegTo, LegCaps)> = track
            .legs
            .iter()
            .filter_map(|leg| {
                let subscriber = self.people.get(&leg.pid)?;
                let red = tapped.params.is_none_or(|params| {
                    let session = &subscriber.sending().session;
                    session.payload_type(leg.mid, &params, true).is_some()
                });
                let opted_out = self.ai.ai.book.get(&subscriber.user).opt_out;
                Some((
                    *leg,
                    LegCaps {
                        models: subscriber.models(),
                        enhances: subscriber.enhances(),
                        red,
                        opted_out,
                    },
                ))
            })
            .collect();
        for (known, _) in &tapped.legs {
            if !legs.iter().any(|(leg, _)| leg == known) {
                tapped.tap.remove_leg(now, LegId(known.pid.0));
            }
        }
        for (leg, caps) in &legs {
            let known = tapped.legs.iter().find(|(known, _)| known == leg);
            if known.is_none()
                && let Some(line) = self
                    .people
                    .get_mut(&leg.pid)
                    .and_then(|p| p.sending_line_mut(leg.mid))
            {
                // The tap numbers a new leg from its own start.
                line.outgoing.finish();
            }
            if known.is_none_or(|(_, had)| had != caps) {
                tapped.tap.add_leg(now, LegId(leg.pid.0), caps.clone());
            }
        }
        tapped.legs = legs;
    }

    fn send_tapped(&mut self, now: Instant, tapped: &Tapped, leg: LegId, packet: OutPacket) {
        let (Some((to, _)), Some(params)) = (
            tapped.legs.iter().find(|(to, _)| to.pid.0 == leg.0),
            tapped.params.as_ref(),
        ) else {
            return;
        };
        let Some(subscriber) = self.people.get_mut(&to.pid) else {
            return;
        };
        if !wants(subscriber, to.mid) {
            return;
        }
        let red = packet.kind == PayloadKind::Red;
        let session = &subscriber.sending().session;
        let (pt, payload) = match session.payload_type(to.mid, params, red) {
            Some(pt) => (pt, packet.payload),
            // A receiver without RED gets what RED wraps.
            None if red => {
                let opus = session.payload_type(to.mid, params, false);
                match (opus, red_primary(&packet.payload)) {
                    (Some(pt), Some(primary)) => (pt, primary),
                    _ => return self.counters.unfit += 1,
                }
            }
            None => return self.counters.unfit += 1,
        };
        let Some(line) = subscriber.sending_line_mut(to.mid) else {
            return;
        };
        let Some((out, timestamp)) = line.outgoing.audio(now, packet.seq, packet.timestamp) else {
            return self.counters.unfit += 1;
        };
        let write = RtpWrite::new(pt, out.into(), timestamp, now, payload)
            .marker(packet.marker)
            .ext_vals(ExtensionValues {
                audio_level: tapped.level.0,
                voice_activity: tapped.level.1,
                ..Default::default()
            });
        self.write(now, *to, write);
    }
}
