//! What can be done to somebody's presence and tracks, whoever asks for it. Nothing here asks whether they may.

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use str0m::Candidate;

use super::{Cx, Departure, Room};
use crate::participant::Pid;
use crate::profile::{ProfileChange, ProfileError};
use crate::track::Track;
use crate::transport::Role;
use crate::video::Wish;

impl Room {
    /// Mutes a track of somebody, or ends that.
    pub fn mute(&mut self, cx: &mut Cx<'_>, pid: Pid, track_sid: &str, muted: bool) {
        let changed = self.change_track(pid, track_sid, |track| {
            track.silenced &= muted;
            std::mem::replace(&mut track.info.muted, muted) != muted
        });
        if changed == Some(true) {
            self.announce(pid);
            self.show_live_tracks(cx, pid);
        }
    }

    /// Mutes a track of somebody's whether their client obeys or not, or ends that, and tells them.
    pub fn silence(&mut self, cx: &mut Cx<'_>, pid: Pid, sid: &str, muted: bool) -> Option<proto::TrackInfo> {
        self.change_track(pid, sid, |track| track.silenced = muted)?;
        let request = proto::MuteTrackRequest {
            sid: sid.into(),
            muted,
        };
        self.tell(pid, Message::Mute(request));
        self.mute(cx, pid, sid, muted);
        self.change_track(pid, sid, |track| track.info.clone())
    }

    /// Takes over what audio of somebody is like.
    pub fn describe_audio(&mut self, pid: Pid, update: proto::UpdateLocalAudioTrack) {
        let described = self.change_track(pid, &update.track_sid, |track| {
            track.info.audio_features = update.features;
        });
        if described.is_some() {
            self.announce(pid);
        }
    }

    /// Takes over how large somebody's pictures are.
    pub fn describe_video(&mut self, pid: Pid, update: &proto::UpdateLocalVideoTrack) {
        let described = self.change_track(pid, &update.track_sid, |track| {
            (track.info.width, track.info.height) = (update.width, update.height);
        });
        if described.is_some() {
            self.announce(pid);
        }
    }

    fn change_track<T>(&mut self, pid: Pid, sid: &str, change: impl FnOnce(&mut Track) -> T) -> Option<T> {
        let tracks = &mut self.person_mut(pid)?.tracks;
        tracks
            .iter_mut()
            .find(|track| track.id.as_str() == sid)
            .map(change)
    }

    /// Changes what somebody shows of themselves.
    pub fn change_profile(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        change: ProfileChange,
    ) -> Result<(), ProfileError> {
        let Some(participant) = self.person_mut(pid) else {
            return Ok(());
        };
        participant.profile.apply(change)?;
        self.announce(pid);
        self.abilities_changed(cx);
        Ok(())
    }

    /// Takes a candidate of somebody's.
    pub fn trickle(&mut self, cx: &mut Cx<'_>, pid: Pid, role: Role, candidate: Candidate) {
        if let Some(transport) = self.connection_mut(pid).and_then(|c| c.transport_mut(role)) {
            transport.session.add_remote_candidate(cx.out, candidate);
        }
    }

    /// Compares what a client that came back believes with what is so; one that knows of tracks that are not there has to
    /// start anew.
    pub fn synchronise(&mut self, cx: &mut Cx<'_>, pid: Pid, state: &proto::SyncState) {
        let Some(participant) = self.person(pid) else {
            return;
        };
        let mut published = state.publish_tracks.iter().filter_map(|t| t.track.as_ref());
        let known = |sid: &str| participant.tracks.iter().any(|known| known.id.as_str() == sid);
        if !published.all(|track| known(&track.sid)) {
            return self.depart(pid, Departure::to_return(DisconnectReason::StateMismatch));
        }
        for sid in &state.track_sids_disabled {
            let (id, wish) = (sid.as_str().into(), self.wish_of(pid, sid));
            self.adjust(cx, pid, &id, true, |_| wish);
        }
    }

    fn wish_of(&self, pid: Pid, sid: &str) -> Wish {
        let subscription = self
            .connection(pid)
            .and_then(|c| c.subscriptions.get(&sid.into()));
        subscription.map_or_else(Wish::default, |subscription| subscription.wish)
    }

    /// Cuts somebody's signalling off, as a network would.
    pub fn hang_up(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        if let Some(connection) = self.connection_mut(pid) {
            connection.socket = None;
            connection.deadline = Some(cx.now + super::join::RESUME_WINDOW);
        }
    }

    /// Somebody leaves.
    pub fn leave(&mut self, pid: Pid) {
        self.depart(pid, Departure::LEFT);
    }
}
