//! What the server has said to a client.

use livekit_protocol as proto;
use proto::signal_response::Message;

use super::Peer;

impl Peer {
    /// What the server last said of whether somebody speaks.
    pub fn speaks(&self, sid: &str) -> Option<bool> {
        self.messages.iter().rev().find_map(|m| match m {
            Message::SpeakersChanged(changed) => changed
                .speakers
                .iter()
                .find(|speaker| speaker.sid == sid)
                .map(|speaker| speaker.active),
            _ => None,
        })
    }

    /// What the server last said of whether this client may have a track.
    pub fn allowed(&self, track_sid: &str) -> Option<bool> {
        self.messages.iter().rev().find_map(|m| match m {
            Message::SubscriptionPermissionUpdate(update) if update.track_sid == track_sid => {
                Some(update.allowed)
            }
            _ => None,
        })
    }

    pub fn join_response(&self) -> Option<&proto::JoinResponse> {
        self.messages.iter().find_map(|m| {
            if let Message::Join(join) = m {
                Some(join)
            } else {
                None
            }
        })
    }

    pub fn leave(&self) -> Option<&proto::LeaveRequest> {
        self.messages.iter().find_map(|m| {
            if let Message::Leave(leave) = m {
                Some(leave)
            } else {
                None
            }
        })
    }

    /// Latest word about somebody.
    pub fn info(&self, identity: &str) -> Option<proto::ParticipantInfo> {
        let updates = self.messages.iter().rev().filter_map(|m| match m {
            Message::Update(update) => Some(&update.participants),
            Message::Join(join) => Some(&join.other_participants),
            _ => None,
        });
        updates.flatten().find(|p| p.identity == identity).cloned()
    }

    /// Latest word about how good somebody's connection is.
    pub fn quality_of(&self, identity: &str) -> Option<i32> {
        let join = self.join_response()?;
        let known = self.info(identity).or_else(|| join.participant.clone())?;
        self.messages.iter().rev().find_map(|m| match m {
            Message::ConnectionQuality(update) => {
                let mut of = update.updates.iter().filter(|u| u.participant_sid == known.sid);
                of.next().map(|update| update.quality)
            }
            _ => None,
        })
    }

    pub fn published(&self, cid: &str) -> Option<&proto::TrackInfo> {
        self.messages.iter().find_map(|m| match m {
            Message::TrackPublished(published) if published.cid == cid => published.track.as_ref(),
            _ => None,
        })
    }

    /// What the server last said of that line on which it sends.
    pub fn last_of_line(&self, mid: &str) -> Option<&str> {
        let mid = format!("a=mid:{mid}\r\n");
        let last = self.told.last()?;
        last.split("m=").find(|part| part.contains(&mid))
    }
}
