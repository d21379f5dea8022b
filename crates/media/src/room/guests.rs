//! Guests: people of the same room whose connections are on other shards. They come, change and go as their own part tells;
//! their tracks have legs and taps here like everybody's.

use std::collections::HashSet;

use auralink_types::ParticipantId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;

use super::{Cx, Departure, Room};
use crate::directory::ShardId;
use crate::participant::{Participant, Pid, Seat};
use crate::quality::QualityMeter;
use crate::relay::{Guest, Note, Published};
use crate::subscription::Permissions;
use crate::track::Track;

impl Room {
    /// Somebody here as other parts are told of them.
    pub(super) fn as_guest(&self, pid: Pid) -> Option<Guest> {
        let person = self.person(pid)?;
        let connection = person.here()?;
        let red = |track: &Track| {
            let agreed = |mid| connection.publisher.session.opus_types(mid).1.is_some();
            track.wants_red() && track.mid.is_some_and(agreed)
        };
        let live = person.tracks.iter().filter(|track| track.is_live());
        Some(Guest {
            sid: person.sid.clone(),
            user: person.user.clone(),
            profile: person.profile.clone(),
            grants: person.grants.clone(),
            kind: person.kind.clone(),
            joined_at_ms: person.joined_at_ms,
            client_protocol: person.client_protocol,
            state: person.state,
            version: person.version,
            permissions: person.permissions.clone(),
            speaks: person.speaks().level,
            quality: person.quality.info(person.sid.as_str()),
            tracks: live.map(|track| track.published(red(track))).collect(),
        })
    }

    pub(super) fn guest(&self, from: ShardId, sid: &ParticipantId) -> Option<Pid> {
        let known = |person: &Participant| person.elsewhere() == Some(from) && person.sid == *sid;
        let found = self.people.iter().find(|(_, person)| known(person));
        found.map(|(handle, _)| Pid(handle))
    }

    /// A guest has come, or is another than before.
    pub(super) fn meet_guest(&mut self, cx: &mut Cx<'_>, from: ShardId, guest: &Guest) {
        let pid = match self.guest(from, &guest.sid) {
            Some(pid) => pid,
            None => Pid(self.people.insert(newcomer(from, guest))),
        };
        let Some(person) = self.person_mut(pid) else {
            return;
        };
        person.profile = guest.profile.clone();
        let hides = guest.grants.hidden && !person.grants.hidden;
        person.grants = guest.grants.clone();
        (person.state, person.version) = (guest.state, guest.version);
        let known: Vec<_> = person.tracks.iter().map(|track| track.id.clone()).collect();
        let told: HashSet<_> = guest.tracks.iter().map(|track| &track.id).collect();
        for gone in known.iter().filter(|id| !told.contains(id)) {
            self.take_track(cx, pid, gone);
        }
        for published in &guest.tracks {
            self.meet_track(cx, pid, from, published);
        }
        self.loud(pid, guest.speaks);
        self.permit(cx, pid, guest.permissions.clone());
        if hides {
            self.vanish(pid);
        }
        if let Some(person) = self.person_mut(pid) {
            if let Some(quality) = &guest.quality {
                person.quality.set(quality);
            }
            let participants = vec![person.info()];
            if !person.grants.hidden {
                self.tell_room(None, &Message::Update(proto::ParticipantUpdate { participants }));
            }
        }
        self.subscribe_room(pid);
    }

    fn meet_track(&mut self, cx: &mut Cx<'_>, pid: Pid, from: ShardId, published: &Published) {
        let Some(person) = self.person_mut(pid) else {
            return;
        };
        let Some(track) = person.tracks.iter_mut().find(|track| track.id == published.id) else {
            let track = Track::of_guest(from, published);
            let (audio, serial) = (!track.is_video(), track.serial);
            person.tracks.push(track);
            self.parts.tracks.insert(published.id.clone(), pid);
            if audio {
                self.tap(cx, pid, serial);
                self.with_tap(cx, pid, serial, |_, tapped| {
                    if !published.red {
                        tapped.tap.forget_red();
                    }
                });
            }
            return;
        };
        track.info.clone_from(&published.info);
        if std::mem::replace(&mut track.steering.active, published.bare) != published.bare {
            let listeners: Vec<Pid> = track.legs.iter().map(|leg| leg.to).collect();
            for listener in listeners {
                self.renegotiate(listener);
            }
        }
    }

    /// A guest has left their part.
    pub(super) fn guest_gone(&mut self, cx: &mut Cx<'_>, pid: Pid, reason: DisconnectReason) {
        self.take_out(cx, pid, Departure::to_return(reason));
    }

    /// Guests speak, or have stopped.
    pub(super) fn guests_speak(&mut self, from: ShardId, speakers: &[proto::SpeakerInfo]) {
        let known = speakers.iter().filter_map(|speaker| {
            let pid = self.guest(from, &speaker.sid.as_str().into())?;
            Some((pid, speaker.clone()))
        });
        let known: Vec<_> = known.collect();
        for (pid, speaker) in &known {
            self.loud(*pid, speaker.level);
        }
        self.tell_listeners(&known);
    }

    /// Notes how loud a guest is, as their own part has heard.
    fn loud(&mut self, pid: Pid, level: f32) {
        let tracks = self.person_mut(pid).map(|person| &mut person.tracks);
        for track in tracks.into_iter().flatten().filter(|track| !track.is_video()) {
            track.speaking.set_told(level);
        }
    }

    /// Guests' connections have become better or worse.
    pub(super) fn guests_quality(&mut self, from: ShardId, updates: &[proto::ConnectionQualityInfo]) {
        for update in updates {
            let guest = self.guest(from, &update.participant_sid.as_str().into());
            if let Some(person) = guest.and_then(|pid| self.person_mut(pid)) {
                person.quality.set(update);
            }
        }
        let updates = updates.to_vec();
        self.tell_room(
            None,
            &Message::ConnectionQuality(proto::ConnectionQualityUpdate { updates }),
        );
    }

    /// Passes on what the publisher of a guest's track should send.
    pub(super) fn wish_elsewhere(&mut self, pid: Pid, serial: u32, wish: auralink_types::SourceCodec) {
        let from = self.person(pid).and_then(Participant::elsewhere);
        let id = self.track_mut(pid, serial).map(|track| track.id.clone());
        if let (Some(shard), Some(id)) = (from, id) {
            self.parts.write_to(shard, Note::Wish(id, wish));
        }
    }
}

fn newcomer(from: ShardId, guest: &Guest) -> Participant {
    Participant {
        sid: guest.sid.clone(),
        user: guest.user.clone(),
        profile: guest.profile.clone(),
        grants: guest.grants.clone(),
        kind: guest.kind.clone(),
        joined_at_ms: guest.joined_at_ms,
        client_protocol: guest.client_protocol,
        state: guest.state,
        version: guest.version,
        tracks: Vec::new(),
        permissions: Permissions::default(),
        quality: QualityMeter::default(),
        seat: Seat::Elsewhere(from),
    }
}
