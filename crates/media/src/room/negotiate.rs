//! Offers of the client: which of its tracks arrives on which line, and the answer.

use std::time::{Duration, Instant};

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use str0m::media::Mid;

use super::lines::{mid_to_track, missing_lines};
use super::offer::IceStart;
use super::{Cx, Departure, Room};
use crate::line::{Line, Use};
use crate::matching::match_lines;
use crate::participant::{Participant, Pid, Seat};
use crate::sdp::{Answered, Description, LegibleOffer, LineKind, OfferedLine, leave_only_mid, read_offer};
use crate::transport::Transport;

/// Why there is no answer for somebody who has just gone.
const NOBODY: &str = "nobody is there to be answered";

/// A client that was asked to offer and hasn't is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Least time between two questions for an offer, for each line that it will have: what changes in a large room while
/// others change as well is described together.
const REST_PER_LINE: Duration = Duration::from_millis(2);

impl Room {
    /// Answers an offer.
    pub fn handle_offer(&mut self, cx: &mut Cx<'_>, pid: Pid, offer: &proto::SessionDescription) {
        let answer = match self.answer(cx, pid, &offer.sdp) {
            Ok(answer) => answer,
            Err(error) => return self.refuse_description(pid, &*error),
        };
        let Some(connection) = self.connection_mut(pid) else {
            return;
        };
        let both_ways = connection.subscriber.is_none();
        let transport = &mut connection.publisher;
        transport.stale = false;
        transport.asked_to_offer = None;
        transport.answered_at = Some(cx.now);
        let mid_to_track_id = mid_to_track(transport);
        let description = proto::SessionDescription {
            r#type: "answer".into(),
            sdp: answer,
            id: offer.id,
            mid_to_track_id,
        };
        self.tell(pid, Message::Answer(description));
        if both_ways {
            self.lines_agreed(cx, pid);
        }
        self.show_live_tracks(cx, pid);
        let lacks = |room: &Self| room.connection(pid).is_some_and(|c| missing_lines(c) != (0, 0));
        if both_ways && lacks(self) {
            self.renegotiate(pid);
        }
        self.stale.push(pid);
    }

    fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        offer: &str,
    ) -> Result<String, Box<dyn std::error::Error>> {
        let last = self
            .connection(pid)
            .and_then(|c| c.publisher.last_answer.as_ref());
        let known = last.is_some_and(|last| last.is_to(offer));
        let mut legible = None;
        if !known {
            let read = LegibleOffer::new(Description::parse(offer)?);
            let offered = read_offer(&read.description);
            for track in self.take_lines(pid, &offered) {
                self.unpublish(cx, pid, &track);
            }
            if let Some(connection) = self.connection_mut(pid) {
                connection.sends = sending_lines(offered);
            }
            legible = Some(read);
        }
        let Some(Participant { tracks, seat, .. }) = self.person_mut(pid) else {
            return Err(NOBODY.into());
        };
        let Seat::Here(connection) = seat else {
            return Err(NOBODY.into());
        };
        if match_lines(&connection.sends, tracks) {
            connection.routes.clear();
        }
        // On a transport of its own what the client hears is the server's to offer.
        if connection.subscriber.is_none() {
            self.assign_lines(cx, pid);
        }
        let lines = &self.connection(pid).ok_or(NOBODY)?.publisher.lines;
        let bare = self.bare_lines(pid, lines);
        let terms = self.terms(pid, lines);
        let transport = &mut self.connection_mut(pid).ok_or(NOBODY)?.publisher;
        let answered = match transport.last_answer.take() {
            Some(last) if known && last.is_bare(&bare) => last,
            last => {
                let legible = match legible {
                    Some(legible) => legible,
                    None => LegibleOffer::new(Description::parse(offer)?),
                };
                transport.read(cx, last, offer, legible, bare)?
            }
        };
        let answer = transport
            .last_answer
            .insert(answered)
            .write(|mid| terms.get(mid).cloned());
        Ok(answer)
    }

    /// A description that can't be obeyed ends the connection for good: the client would only say the same again.
    pub(super) fn refuse_description(&mut self, pid: Pid, error: &dyn std::error::Error) {
        if let Some(participant) = self.person(pid) {
            tracing::warn!(participant = %participant.sid, %error, "description refused");
        }
        self.depart(pid, Departure::for_good(DisconnectReason::MediaFailure));
    }

    /// Brings the lines up to the offer; tracks whose line the client has stopped are returned.
    fn take_lines(&mut self, pid: Pid, offered: &[OfferedLine]) -> Vec<TrackId> {
        let Some(Participant { tracks, seat, .. }) = self.person_mut(pid) else {
            return Vec::new();
        };
        let Seat::Here(connection) = seat else {
            return Vec::new();
        };
        let lines = &mut connection.publisher.lines;
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
        tracks
            .iter()
            .filter(|t| t.mid.as_ref().is_some_and(gone))
            .map(|t| t.id.clone())
            .collect()
    }

    /// Brings a participant's descriptions up to what should be: the client is asked to offer on its transport, the
    /// server offers on its own. One exchange at a time: whatever changes meanwhile goes into the same or the next.
    pub(super) fn refresh(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        self.ask_for_offer(cx.now, pid);
        let stale = |transport: &Transport| transport.stale;
        let subscriber = self.connection(pid).and_then(|c| c.subscriber.as_ref());
        if subscriber.is_some_and(stale) {
            self.offer(cx, pid, IceStart::AsItIs);
        }
    }

    fn ask_for_offer(&mut self, now: Instant, pid: Pid) {
        let Some(connection) = self.connection_mut(pid) else {
            return;
        };
        let transport = &connection.publisher;
        // Before the first offer there is nothing to change: it will be answered with everything.
        if !transport.stale || transport.lines.is_empty() {
            return;
        }
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let waiting = since(transport.asked_to_offer).is_some_and(|passed| passed < ASK_AGAIN);
        let rest = REST_PER_LINE * transport.lines.len() as u32;
        // Looked at again with the next tick.
        if waiting || since(transport.answered_at).is_some_and(|passed| passed < rest) {
            return;
        }
        let single = connection.subscriber.is_none();
        let (num_audios, num_videos) = if single { missing_lines(connection) } else { (0, 0) };
        let transport = &mut connection.publisher;
        transport.asked_to_offer = Some(now);
        // Old SDKs with two transports don't know the question: they hear it once for each change, and their next offer
        // is answered with what holds then.
        transport.stale = single;
        let requirement = proto::MediaSectionsRequirement {
            num_audios,
            num_videos,
        };
        self.tell(pid, Message::MediaSectionsRequirement(requirement));
    }
}

/// The media lines on which the client sends.
fn sending_lines(mut offered: Vec<OfferedLine>) -> Vec<OfferedLine> {
    offered.retain(|line| line.direction.sends() && line.kind != LineKind::Other);
    offered
}

impl Transport {
    /// Lets the parser behind read an offer, unless it is the last one in other words.
    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        last: Option<Answered>,
        offer: &str,
        mut legible: LegibleOffer,
        bare: Vec<Mid>,
    ) -> Result<Answered, Box<dyn std::error::Error>> {
        leave_only_mid(&mut legible.description, &bare);
        let read = legible.description.to_string();
        if let Some(mut last) = last
            && last.reads(offer, &read, &bare, &legible.wording)
        {
            return Ok(last);
        }
        let answer = Description::parse(&self.session.accept(cx.out, &read)?)?;
        Ok(Answered::new(offer, read, bare, legible.wording, answer))
    }
}
