//! Offers of the client: which of its tracks arrives on which line, and the answer.

use std::time::{Duration, Instant};

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_response::Message;
use str0m::media::Mid;

use super::Core;
use super::lines::{mid_to_track, missing_lines};
use super::offer::IceStart;
use crate::line::{Line, Use};
use crate::participant::Pid;
use crate::sdp::{Description, LineKind, OfferedLine, read_offer, rewrite};
use crate::transport::{Role, TransportId};

/// A client that was asked to offer and hasn't is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

impl Core {
    /// Answers an offer.
    pub(super) fn handle_offer(&mut self, now: Instant, pid: Pid, offer: proto::SessionDescription) {
        let mut description = match Description::parse(&offer.sdp) {
            Ok(description) => description,
            Err(error) => return self.refuse_description(now, pid, &error),
        };
        let offered = read_offer(&description);
        self.match_publications(pid, &offered);
        let unpublished = self.take_lines(pid, &offered);
        for track in unpublished {
            self.unpublish(now, pid, &track);
        }
        // On a transport of his own what he hears is the server's to offer.
        let both_ways = self.people.get(&pid).is_some_and(|p| p.subscriber.is_none());
        if both_ways {
            self.assign_lines(pid);
        }
        let Some(participant) = self.people.get(&pid) else {
            return;
        };
        self.bare_lines(participant, &participant.publisher.lines, &mut description);
        let terms = self.terms(participant, &participant.publisher.lines);
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let transport = &mut participant.publisher;
        let accepted = transport.session.accept(&description.to_string());
        let answer = match accepted {
            Ok(answer) => answer,
            Err(error) => return self.refuse_description(now, pid, &error),
        };
        let mut answer = match Description::parse(&answer) {
            Ok(answer) => answer,
            Err(error) => return self.refuse_description(now, pid, &error),
        };
        rewrite(&mut answer, |mid| terms.get(mid).cloned());
        transport.stale = false;
        let mid_to_track_id = mid_to_track(transport);
        participant.tell(Message::Answer(proto::SessionDescription {
            r#type: "answer".into(),
            sdp: answer.to_string(),
            id: offer.id,
            mid_to_track_id,
        }));
        let id = TransportId {
            pid,
            role: Role::Publisher,
        };
        self.register_name(id);
        if both_ways {
            self.lines_agreed(pid);
        }
        self.drain(now, id);
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        if both_ways && missing_lines(participant) != (0, 0) {
            participant.publisher.stale = true;
        } else {
            participant.publisher.asked_to_offer = None;
        }
        self.refresh(now, pid);
    }

    /// A description that can't be obeyed ends the connection: the client makes a new one.
    pub(super) fn refuse_description(&mut self, now: Instant, pid: Pid, error: &dyn std::error::Error) {
        if let Some(participant) = self.people.get(&pid) {
            tracing::warn!(participant = %participant.sid, %error, "description refused");
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
        let lines = &mut participant.publisher.lines;
        for offered in offered.iter().filter(|line| line.kind != LineKind::Other) {
            let mid = Mid::from(offered.mid.as_str());
            let at = match lines.iter().position(|line| line.mid == mid) {
                Some(at) => at,
                None => {
                    lines.push(Line::new(mid, offered.kind));
                    lines.len() - 1
                }
            };
            let line = &mut lines[at];
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
            !lines
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

    /// Brings a participant's descriptions up to what should be: the client is asked to offer on its transport, the
    /// server offers on its own. One exchange at a time: whatever changes meanwhile goes into the same or the next.
    pub(super) fn refresh(&mut self, now: Instant, pid: Pid) {
        self.ask_for_offer(now, pid);
        if self
            .people
            .get(&pid)
            .and_then(|p| p.subscriber.as_ref())
            .is_some_and(|transport| transport.stale)
        {
            self.offer(now, pid, IceStart::AsItIs);
        }
    }

    fn ask_for_offer(&mut self, now: Instant, pid: Pid) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let single = participant.subscriber.is_none();
        let (num_audios, num_videos) = if single {
            missing_lines(participant)
        } else {
            (0, 0)
        };
        let transport = &mut participant.publisher;
        let waiting = transport
            .asked_to_offer
            .is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN);
        // Before the first offer there is nothing to change: it will be answered with everything.
        if !transport.stale || waiting || transport.lines.is_empty() {
            return;
        }
        transport.asked_to_offer = Some(now);
        // Old SDKs with two transports don't know the question: they hear it once for each change, and their next offer
        // is answered with what holds then.
        transport.stale = single;
        participant.tell(Message::MediaSectionsRequirement(
            proto::MediaSectionsRequirement {
                num_audios,
                num_videos,
            },
        ));
    }

    /// Notes that a participant is to be sent something else, and tells him.
    pub(super) fn renegotiate(&mut self, now: Instant, pid: Pid) {
        if let Some(participant) = self.people.get_mut(&pid) {
            participant.sending_mut().stale = true;
        }
        self.refresh(now, pid);
    }
}
