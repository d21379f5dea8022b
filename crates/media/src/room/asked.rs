//! What a tenant's own servers ask of a room, and what it answers. Nothing here asks whether they may.

use auralink_types::UserId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;

use super::{Cx, Departure, Room};
use crate::participant::{Participant, Pid};
use crate::relay::Note;
use crate::verb::{Answer, Deed, Reply, Trouble, Verb};

impl Room {
    /// Does what is asked, and answers when it is done.
    pub fn carry_out(&mut self, cx: &mut Cx<'_>, verb: Verb, reply: Reply) {
        let answer = match verb {
            Verb::Open(_) => Ok(Answer::Room(Box::new(self.info()))),
            Verb::Delete => {
                self.delete();
                Ok(Answer::Done)
            }
            Verb::Describe(metadata) => Ok(Answer::Room(Box::new(self.describe(metadata)))),
            Verb::People => Ok(Answer::People(
                self.people.values().map(Participant::info).collect(),
            )),
            Verb::Send(channel, packet) => {
                self.send_out(cx, None, channel, packet);
                Ok(Answer::Done)
            }
            Verb::To(user, Deed::Call(call)) => match self.find(user.as_str()) {
                Some(pid) => return self.call(cx, pid, call, reply),
                None => Err(Trouble::NoParticipant),
            },
            Verb::To(user, deed) => self.deal_with(cx, &user, deed),
        };
        self.settle(cx);
        // Whoever asked may be gone.
        let _ = reply.send(answer);
    }

    fn deal_with(&mut self, cx: &mut Cx<'_>, user: &UserId, deed: Deed) -> Result<Answer, Trouble> {
        let pid = self.find(user.as_str()).ok_or(Trouble::NoParticipant)?;
        match deed {
            Deed::Remove => self.depart(pid, Departure::for_good(DisconnectReason::ParticipantRemoved)),
            Deed::Mute { track, muted } => {
                let track = self.silence(cx, pid, track.as_str(), muted);
                return Ok(Answer::Track(Box::new(track.ok_or(Trouble::NoTrack)?)));
            }
            Deed::Change { profile, grants } => {
                self.change_profile(cx, pid, profile)?;
                if let Some(grants) = grants {
                    self.entitle(cx, pid, grants);
                }
                return self.seen(pid);
            }
            Deed::Subscribe { tracks, wanted } => self.subscribe(cx, pid, &tracks, wanted),
            Deed::Renew { token, leave } => {
                self.tell(pid, Message::RefreshToken(token));
                if leave {
                    self.depart(pid, Departure::to_return(DisconnectReason::Migration));
                }
            }
            // Calls are answered later: `carry_out` keeps them.
            Deed::Tell | Deed::Call(_) => return self.seen(pid),
        }
        Ok(Answer::Done)
    }

    fn seen(&self, pid: Pid) -> Result<Answer, Trouble> {
        let person = self.person(pid).ok_or(Trouble::NoParticipant)?;
        Ok(Answer::Person(Box::new(person.info())))
    }

    /// Sends everybody away; the room is over as soon as they are gone.
    fn delete(&mut self) {
        self.deleted = true;
        let here: Vec<Pid> = self.present().map(|(pid, _)| pid).collect();
        for pid in here {
            self.depart(pid, Departure::for_good(DisconnectReason::RoomDeleted));
        }
    }

    /// Changes its metadata.
    fn describe(&mut self, metadata: String) -> proto::Room {
        self.tell_parts(&Note::Described(metadata.clone()));
        self.described(metadata)
    }

    /// Its metadata was changed, here or in another part.
    pub(super) fn described(&mut self, metadata: String) -> proto::Room {
        self.part.describe(metadata);
        let room = self.info();
        let update = proto::RoomUpdate {
            room: Some(room.clone()),
        };
        self.tell_room(None, &Message::RoomUpdate(update));
        room
    }
}
