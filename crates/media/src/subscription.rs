//! Who gets whose tracks: what a subscriber wants, and what a publisher allows.

use auralink_types::TrackId;
use livekit_protocol as proto;
use str0m::media::Mid;

use crate::line::Line;
use crate::participant::{Participant, Pid};
use crate::sdp::LineKind;
use crate::video::Wish;

/// One participant's subscription to somebody's track.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// Whose track.
    pub publisher: Pid,
    /// Whether it is a video.
    pub video: bool,
    /// Whether the client wants it at all.
    pub desired: bool,
    /// Whether the token and the publisher let the client have it.
    pub allowed: bool,
    /// Whether the client paused it.
    pub disabled: bool,
    /// What of a video the client wants.
    pub wish: Wish,
    /// Line it is sent on.
    pub mid: Option<Mid>,
    /// Whether it has been on a line that it left.
    pub left: bool,
    /// Whether it was not wanted for a while since it got its line. Its client forgot the track then, and learns of it again
    /// only on a line that was inactive before.
    pub let_go: bool,
}

impl Subscription {
    /// A subscription without a line.
    pub fn new(publisher: Pid, video: bool, desired: bool, allowed: bool) -> Self {
        Self {
            publisher,
            video,
            desired,
            allowed,
            disabled: false,
            wish: Wish::default(),
            mid: None,
            left: false,
            let_go: false,
        }
    }

    /// Whether a line is to be had for it.
    pub fn is_wanted(&self) -> bool {
        self.desired && self.allowed
    }

    /// Kind of the lines that carry it.
    pub fn kind(&self) -> LineKind {
        if self.video {
            LineKind::Video
        } else {
            LineKind::Audio
        }
    }

    /// Whether a line can carry it, the subscription to that track. A client that notices a media stream once for each line
    /// has a track back only on a line that was made for it, where it can be called by another name.
    pub fn fits(&self, track: &TrackId, line: &Line, once: bool) -> bool {
        self.kind() == line.kind && (!once || !self.left || line.made_for.as_ref() == Some(track))
    }

    /// Whether it stays on its line.
    pub fn keeps_line(&self) -> bool {
        self.is_wanted() && !self.let_go
    }
}

/// Whom a publisher lets have which of their tracks; everybody everything until they say otherwise.
#[derive(Clone, Debug)]
pub struct Permissions {
    everybody: bool,
    some: Vec<proto::TrackPermission>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            everybody: true,
            some: Vec::new(),
        }
    }
}

impl From<proto::SubscriptionPermission> for Permissions {
    fn from(said: proto::SubscriptionPermission) -> Self {
        Self {
            everybody: said.all_participants,
            some: said.track_permissions,
        }
    }
}

impl Permissions {
    /// Whether that participant may have that track.
    pub fn allow(&self, subscriber: &Participant, track: &TrackId) -> bool {
        self.allow_named(subscriber.user.user.as_str(), subscriber.sid.as_str(), track)
    }

    fn allow_named(&self, identity: &str, sid: &str, track: &TrackId) -> bool {
        let meant = |one: &&proto::TrackPermission| {
            if one.participant_identity.is_empty() {
                one.participant_sid == sid
            } else {
                one.participant_identity == identity
            }
        };
        let grants = |one: &proto::TrackPermission| {
            one.all_tracks || one.track_sids.iter().any(|sid| sid == track.as_str())
        };
        self.everybody || self.some.iter().filter(meant).any(grants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_named_may_have_what_is_named_for_them() {
        let track = TrackId::new("TR_1");
        let other = TrackId::new("TR_2");
        let to = |identity: &str, sid: &str, all_tracks, tracks: &[&str]| proto::TrackPermission {
            participant_identity: identity.into(),
            participant_sid: sid.into(),
            all_tracks,
            track_sids: tracks.iter().map(|sid| (*sid).to_owned()).collect(),
        };
        let permissions = Permissions::from(proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: vec![to("bob", "", false, &["TR_1"]), to("", "PA_c", true, &[])],
        });
        assert!(permissions.allow_named("bob", "PA_b", &track));
        assert!(!permissions.allow_named("bob", "PA_b", &other));
        assert!(permissions.allow_named("carol", "PA_c", &other));
        assert!(!permissions.allow_named("dave", "PA_d", &track));
        assert!(Permissions::default().allow_named("dave", "PA_d", &track));
    }
}
