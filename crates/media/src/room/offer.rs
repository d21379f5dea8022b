//! Offers of the server, to clients with a transport of its own for what they hear.

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::signal_response::Message;

use super::lines::mid_to_track;
use super::{Cx, Room};
use crate::connection::Connection;
use crate::line::{Line, Use};
use crate::participant::Pid;
use crate::sdp::{Description, LineKind, leave_only_mid, rewrite};
use crate::session::OfferPlan;
use crate::transport::{Transport, Unanswered};

/// Whether ICE goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceStart {
    /// As it is.
    AsItIs,
    /// Anew, for a client that came back from another network.
    Anew,
}

impl Room {
    /// Offers what a participant is to be sent, unless an earlier offer is still under way: then its answer calls for
    /// the next one. A client with one transport is never offered anything.
    pub(super) fn offer(&mut self, cx: &mut Cx<'_>, pid: Pid, ice: IceStart) {
        let Some(transport) = self.connection_mut(pid).and_then(|c| c.subscriber.as_mut()) else {
            return;
        };
        if ice == IceStart::Anew {
            // The client that is back may never have got it.
            forget_offer(transport);
        } else if transport.unanswered.is_some() {
            transport.stale = true;
            return;
        }
        self.assign_lines(cx, pid);
        let Some(connection) = self.connection_mut(pid) else {
            return;
        };
        let Some(transport) = connection.subscriber.as_mut() else {
            return;
        };
        // Lines that cool down are free after this exchange: only what they will not serve needs new ones.
        let cools = |line: &&Line| line.usage == Use::Cooling;
        let mut cooling: Vec<&Line> = transport.lines.iter().filter(cools).collect();
        let mut fresh: Vec<(TrackId, LineKind)> = Vec::new();
        let waiting = connection.subscriptions.iter();
        for (track, subscription) in waiting.filter(|(_, s)| s.is_wanted() && s.mid.is_none()) {
            let serves = |line: &&Line| subscription.fits(track, line, connection.streams_once);
            match cooling.iter().position(serves) {
                Some(at) => {
                    cooling.swap_remove(at);
                }
                None => fresh.push((track.clone(), subscription.kind())),
            }
        }
        let plan = OfferPlan {
            open_channels: !transport.answered,
            restart_ice: ice == IceStart::Anew && transport.answered,
            lines: transport
                .lines
                .iter()
                .map(|line| (line.mid, matches!(line.usage, Use::Send(_))))
                .collect(),
            add: fresh.iter().map(|(_, kind)| *kind).collect(),
        };
        let offered = match transport.session.offer(cx.out, &plan) {
            Ok(Some(offered)) => offered,
            Ok(None) => {
                transport.stale = false;
                return;
            }
            Err(error) => return self.fail(cx, pid, &error),
        };
        for ((track, kind), mid) in fresh.into_iter().zip(offered.added) {
            transport.lines.push(Line::offered_for(mid, kind, track.clone()));
            if let Some(subscription) = connection.subscriptions.get_mut(&track) {
                subscription.mid = Some(mid);
            }
        }
        transport.offers += 1;
        transport.stale = false;
        let id = transport.offers;
        transport.unanswered = Some(Unanswered {
            id,
            pending: offered.pending,
        });
        let mut description = match Description::parse(&offered.sdp) {
            Ok(description) => description,
            Err(error) => return self.refuse_description(pid, &error),
        };
        let Some(transport) = self.connection(pid).map(Connection::sending) else {
            return;
        };
        let bare = self.bare_lines(pid, &transport.lines);
        leave_only_mid(&mut description, &bare);
        let terms = self.terms(pid, &transport.lines);
        rewrite(&mut description, |mid| terms.get(mid).cloned());
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: description.to_string(),
            id,
            mid_to_track_id: mid_to_track(transport),
        };
        self.tell(pid, Message::Offer(offer));
    }

    /// The client's answer: what was offered holds, and what changed meanwhile is offered next.
    pub fn handle_answer(&mut self, cx: &mut Cx<'_>, pid: Pid, answer: &proto::SessionDescription) {
        let Some(transport) = self.connection_mut(pid).and_then(|c| c.subscriber.as_mut()) else {
            return;
        };
        // Old SDKs don't number their answers; one that names another offer came too late.
        let fits = |offer: &mut Unanswered| answer.id == 0 || answer.id == offer.id;
        let Some(offer) = transport.unanswered.take_if(fits) else {
            return;
        };
        let accepted = transport
            .session
            .accept_answer(cx.out, offer.pending, &answer.sdp);
        if let Err(error) = accepted {
            return self.refuse_description(pid, &error);
        }
        transport.answered = true;
        self.lines_agreed(cx, pid);
        self.stale.push(pid);
    }
}

/// Takes back an offer that was not answered: its new lines are not there.
fn forget_offer(transport: &mut Transport) {
    if transport.unanswered.take().is_some() {
        let session = &transport.session;
        transport.lines.retain(|line| session.has_line(line.mid));
    }
}
