//! Offers and answers: which track sits on which line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_response::Message;
use str0m::media::Mid;

use super::Core;
use crate::line::{Line, Use};
use crate::participant::{Participant, Pid};
use crate::sdp::{Description, LineKind, OfferedLine, SendTerms, Terms, leave_only_mid, read_offer, rewrite};
use crate::track::LegTo;

/// A client that was asked to offer and hasn't is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

impl Core {
    /// Answers an offer.
    pub(super) fn handle_offer(&mut self, now: Instant, pid: Pid, offer: proto::SessionDescription) {
        let mut description = match Description::parse(&offer.sdp) {
            Ok(description) => description,
            Err(error) => return self.refuse_offer(now, pid, &error),
        };
        let offered = read_offer(&description);
        self.match_publications(pid, &offered);
        let unpublished = self.take_lines(pid, &offered);
        for track in unpublished {
            self.unpublish(now, pid, &track);
        }
        self.assign_lines(pid);

        for line in &mut description.media {
            if line.kind == "audio" && line.mid().is_some_and(|mid| self.goes_bare(pid, mid)) {
                leave_only_mid(line);
            }
        }
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let accepted = participant.session.accept(&description.to_string());
        let answer = match accepted {
            Ok(answer) => answer,
            Err(error) => return self.refuse_offer(now, pid, &error),
        };
        let mut answer = match Description::parse(&answer) {
            Ok(answer) => answer,
            Err(error) => return self.refuse_offer(now, pid, &error),
        };
        let terms = self.terms(pid);
        rewrite(&mut answer, |mid| terms.get(mid).cloned());
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let ufrag = participant.session.ufrag();
        if ufrag != participant.ufrag {
            self.ufrags.remove(&participant.ufrag);
            self.ufrags.insert(ufrag.clone(), pid);
            participant.ufrag = ufrag;
        }
        let mid_to_track_id = mid_to_track(participant);
        participant.stale = false;
        // Lines that were answered `inactive` just now may be taken next time.
        for line in &mut participant.lines {
            if line.usage == Use::Cooling {
                line.usage = Use::Idle;
                participant.stale = true;
            }
        }
        participant.tell(Message::Answer(proto::SessionDescription {
            r#type: "answer".into(),
            sdp: answer.to_string(),
            id: offer.id,
            mid_to_track_id,
        }));
        self.connect_legs(pid);
        self.drain(now, pid);
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let missing = missing_lines(participant);
        let waits = participant
            .subscriptions
            .values()
            .any(|s| s.desired && s.mid.is_none());
        participant.stale = participant.stale && waits || missing != (0, 0);
        if missing == (0, 0) {
            participant.asked_to_offer = None;
        }
        self.ask_for_offer(now, pid);
    }

    fn refuse_offer(&mut self, now: Instant, pid: Pid, error: &dyn std::error::Error) {
        if let Some(participant) = self.people.get(&pid) {
            tracing::warn!(participant = %participant.sid, %error, "offer refused");
        }
        self.remove(now, pid, DisconnectReason::MediaFailure, Some(Action::Reconnect));
    }

    /// Finds the tracks that the client sends on the offered lines, by the ids it gave them.
    fn match_publications(&mut self, pid: Pid, offered: &[OfferedLine]) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        participant.unmatched.clear();
        for line in offered
            .iter()
            .filter(|line| line.direction.sends() && line.kind != LineKind::Other)
        {
            let Some(cid) = &line.cid else { continue };
            let Some(track) = participant.tracks.iter_mut().find(|t| t.cids.contains(cid)) else {
                participant.unmatched.insert(line.mid.clone(), cid.clone());
                continue;
            };
            if cid == &track.cids[0] || track.mid.is_none() {
                track.mid = Some(Mid::from(line.mid.as_str()));
                track.info.mid = line.mid.clone();
            }
            if track.is_video() {
                track.set_rids(&line.rids);
            }
        }
    }

    /// Brings the lines up to the offer; tracks whose line the client has stopped are returned.
    fn take_lines(&mut self, pid: Pid, offered: &[OfferedLine]) -> Vec<TrackId> {
        let Some(participant) = self.people.get_mut(&pid) else {
            return Vec::new();
        };
        for offered in offered.iter().filter(|line| line.kind != LineKind::Other) {
            let mid = Mid::from(offered.mid.as_str());
            let at = match participant.lines.iter().position(|line| line.mid == mid) {
                Some(at) => at,
                None => {
                    participant.lines.push(Line::new(mid, offered.kind));
                    participant.lines.len() - 1
                }
            };
            let line = &mut participant.lines[at];
            if offered.direction.sends() {
                line.usage = Use::Receive;
            } else if line.usage == Use::Receive {
                line.usage = Use::Idle;
            }
            if offered.direction == crate::sdp::Direction::Inactive {
                line.usage = Use::Idle;
                line.outgoing.finish();
            }
        }
        let gone = |mid: &Mid| {
            !participant
                .lines
                .iter()
                .any(|line| line.mid == *mid && line.usage == Use::Receive)
                || !offered.iter().any(|line| Mid::from(line.mid.as_str()) == *mid)
        };
        participant
            .tracks
            .iter()
            .filter(|t| t.mid.as_ref().is_some_and(gone))
            .map(|t| t.id.clone())
            .collect()
    }

    /// Frees lines whose track is no longer wanted and gives idle ones to tracks that wait.
    fn assign_lines(&mut self, pid: Pid) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let Participant {
            lines, subscriptions, ..
        } = participant;
        for line in lines.iter_mut() {
            if let Use::Send(track) = &line.usage
                && !subscriptions.get(track).is_some_and(|s| s.desired)
            {
                if let Some(subscription) = subscriptions.get_mut(track) {
                    subscription.mid = None;
                }
                line.usage = Use::Cooling;
                line.outgoing.finish();
            }
        }
        for (track, subscription) in subscriptions.iter_mut().filter(|(_, s)| s.desired) {
            let held = |line: &&Line| line.usage == Use::Send(track.clone());
            subscription.mid = lines.iter().find(held).map(|line| line.mid);
            if subscription.mid.is_some() {
                continue;
            }
            let kind = kind_of(subscription.video);
            if let Some(line) = lines
                .iter_mut()
                .find(|line| line.kind == kind && line.usage == Use::Idle)
            {
                line.usage = Use::Send(track.clone());
                subscription.mid = Some(line.mid);
            }
        }
    }

    /// Whether a line's packets go without any header extension but `mid`.
    fn goes_bare(&self, pid: Pid, mid: &str) -> bool {
        let mid = Mid::from(mid);
        let Some(participant) = self.people.get(&pid) else {
            return false;
        };
        let Some(line) = participant.lines.iter().find(|line| line.mid == mid) else {
            return false;
        };
        match &line.usage {
            Use::Receive => participant
                .tracks
                .iter()
                .any(|t| t.mid == Some(mid) && t.steering.active),
            Use::Send(track) => participant
                .subscriptions
                .get(track)
                .and_then(|s| self.people.get(&s.publisher))
                .is_some_and(|p| p.tracks.iter().any(|t| t.id == *track && t.steering.active)),
            Use::Idle | Use::Cooling => false,
        }
    }

    fn terms(&self, pid: Pid) -> HashMap<String, Terms> {
        let Some(participant) = self.people.get(&pid) else {
            return HashMap::new();
        };
        let of = |line: &Line| match &line.usage {
            Use::Idle | Use::Cooling => Terms::Inactive,
            Use::Receive => {
                let track = participant
                    .tracks
                    .iter()
                    .find(|track| track.mid == Some(line.mid));
                Terms::Receive(track.map_or_else(Default::default, |track| track.terms()))
            }
            Use::Send(track) => {
                let publisher = participant
                    .subscriptions
                    .get(track)
                    .and_then(|s| self.people.get(&s.publisher));
                let stereo = publisher
                    .and_then(|p| p.tracks.iter().find(|t| t.id == *track))
                    .is_some_and(|track| track.is_stereo());
                let owner = publisher.map_or("", |p| p.sid.as_str());
                let stream = format!("{owner}|{track}");
                Terms::Send(SendTerms {
                    stream,
                    track: track.as_str().into(),
                    stereo,
                })
            }
        };
        participant
            .lines
            .iter()
            .map(|line| (line.mid.to_string(), of(line)))
            .collect()
    }

    /// Makes packets flow on the lines just answered, and stop on the others.
    fn connect_legs(&mut self, pid: Pid) {
        let Some(participant) = self.people.get(&pid) else {
            return;
        };
        let mut wanted: HashMap<TrackId, (Pid, Mid)> = HashMap::new();
        for line in &participant.lines {
            if let Use::Send(track) = &line.usage
                && let Some(subscription) = participant.subscriptions.get(track)
            {
                wanted.insert(track.clone(), (subscription.publisher, line.mid));
            }
        }
        let room = participant.room.clone();
        let Some(room) = self.rooms.get(&room) else { return };
        for publisher in &room.participants {
            let Some(publisher) = self.people.get_mut(publisher) else {
                continue;
            };
            let mut told = Vec::new();
            for track in &mut publisher.tracks {
                let leg = wanted.get(&track.id).map(|(_, mid)| LegTo { pid, mid: *mid });
                track.legs.retain(|other| other.pid != pid || Some(*other) == leg);
                if let Some(leg) = leg
                    && !track.legs.contains(&leg)
                {
                    track.legs.push(leg);
                }
                if !track.told_subscribed && !track.legs.is_empty() {
                    track.told_subscribed = true;
                    told.push(track.id.as_str().to_owned());
                }
            }
            for track_sid in told {
                publisher.tell(Message::TrackSubscribed(proto::TrackSubscribed { track_sid }));
            }
        }
    }

    /// Asks the client to offer again when the last answer no longer says what should be. One question at a
    /// time: whatever changes meanwhile goes into the same answer.
    pub(super) fn ask_for_offer(&mut self, now: Instant, pid: Pid) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let waiting = participant
            .asked_to_offer
            .is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN);
        // Before the first offer there is nothing to change: it will be answered with everything.
        if !participant.stale || waiting || participant.lines.is_empty() {
            return;
        }
        let (num_audios, num_videos) = missing_lines(participant);
        participant.asked_to_offer = Some(now);
        participant.tell(Message::MediaSectionsRequirement(
            proto::MediaSectionsRequirement {
                num_audios,
                num_videos,
            },
        ));
    }

    /// Notes that a participant's answer is out of date.
    pub(super) fn renegotiate(&mut self, now: Instant, pid: Pid) {
        if let Some(participant) = self.people.get_mut(&pid) {
            participant.stale = true;
        }
        self.ask_for_offer(now, pid);
    }
}

fn kind_of(video: bool) -> LineKind {
    if video { LineKind::Video } else { LineKind::Audio }
}

/// Lines that are wanted beyond those there are, audio and video.
fn missing_lines(participant: &Participant) -> (u32, u32) {
    let missing = |video: bool| {
        let wanted = participant
            .subscriptions
            .values()
            .filter(|s| s.desired && s.video == video && s.mid.is_none());
        let usable = participant
            .lines
            .iter()
            .filter(|line| line.kind == kind_of(video))
            .filter(|line| match &line.usage {
                Use::Idle | Use::Cooling => true,
                Use::Send(track) => !participant.subscriptions.get(track).is_some_and(|s| s.desired),
                Use::Receive => false,
            });
        wanted.count().saturating_sub(usable.count()) as u32
    };
    (missing(false), missing(true))
}

fn mid_to_track(participant: &Participant) -> HashMap<String, String> {
    let sending = participant.lines.iter().filter_map(|line| match &line.usage {
        Use::Send(track) => Some((line.mid.to_string(), track.as_str().to_owned())),
        _ => None,
    });
    sending.collect()
}
