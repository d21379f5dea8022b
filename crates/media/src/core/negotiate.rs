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
use crate::matching::match_lines;
use crate::participant::Pid;
use crate::sdp::{Description, LegibleOffer, LineKind, OfferedLine, read_offer, rewrite};
use crate::transport::{Role, TransportId};

/// A client that was asked to offer and hasn't is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

impl Core {
    /// Answers an offer.
    pub(super) fn handle_offer(&mut self, now: Instant, pid: Pid, offer: proto::SessionDescription) {
        let mut legible = match Description::parse(&offer.sdp) {
            Ok(description) => LegibleOffer::new(description),
            Err(error) => return self.refuse_description(now, pid, &error),
        };
        let offered = read_offer(&legible.description);
        let unpublished = self.take_lines(pid, &offered);
        for track in unpublished {
            self.unpublish(now, pid, &track);
        }
        if let Some(participant) = self.people.get_mut(&pid) {
            participant.sends = sending_lines(offered);
            match_lines(&participant.sends, &mut participant.tracks);
        }
        // On a transport of his own what he hears is the server's to offer.
        let both_ways = self.people.get(&pid).is_some_and(|p| p.subscriber.is_none());
        if both_ways {
            self.assign_lines(pid);
        }
        let Some(participant) = self.people.get(&pid) else {
            return;
        };
        self.bare_lines(
            participant,
            &participant.publisher.lines,
            &mut legible.description,
        );
        let terms = self.terms(participant, &participant.publisher.lines);
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let transport = &mut participant.publisher;
        let accepted = transport.session.accept(&legible.description.to_string());
        let answer = match accepted {
            Ok(answer) => answer,
            Err(error) => return self.refuse_description(now, pid, &error),
        };
        let mut answer = match Description::parse(&answer) {
            Ok(answer) => answer,
            Err(error) => return self.refuse_description(now, pid, &error),
        };
        rewrite(&mut answer, |mid| terms.get(mid).cloned());
        legible.reword(&mut answer);
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
        self.show_live_tracks(now, pid);
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

    /// A description that can't be obeyed ends the connection for good: the client would only say the same again.
    pub(super) fn refuse_description(&mut self, now: Instant, pid: Pid, error: &dyn std::error::Error) {
        if let Some(participant) = self.people.get(&pid) {
            tracing::warn!(participant = %participant.sid, %error, "description refused");
        }
        self.remove(now, pid, DisconnectReason::MediaFailure, Some(Action::Disconnect));
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
            line.open = offered.direction.receives();
            if offered.direction.sends() {
                line.usage = Use::Receive;
            } else if line.usage == Use::Receive {
                line.usage = Use::Idle;
            }
            if !line.open && matches!(line.usage, Use::Send(_) | Use::Cooling) {
                line.usage = Use::Idle;
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

/// The media lines on which the client sends.
fn sending_lines(mut offered: Vec<OfferedLine>) -> Vec<OfferedLine> {
    offered.retain(|line| line.direction.sends() && line.kind != LineKind::Other);
    offered
}
