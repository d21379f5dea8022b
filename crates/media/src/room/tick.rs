//! What is looked at ten times a second.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;

use super::join::enabled_codecs;
use super::{Cx, Departure, Room};
use crate::connection::Connection;
use crate::participant::Pid;
use crate::relay::Note;

/// How often people are told who speaks.
const SPEAKERS_EVERY: Duration = Duration::from_millis(400);

/// How many are in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headcount {
    participants: u32,
    publishers: u32,
    recording: bool,
}

impl Room {
    /// Looks at deadlines and at what is out of date.
    pub fn tick(&mut self, cx: &mut Cx<'_>) {
        self.tell_headcount();
        self.lower_demands(cx);
        self.give_up_calls(cx.now);
        if cx.now >= self.next_speakers {
            self.next_speakers = cx.now + SPEAKERS_EVERY;
            self.tell_speakers();
        }
        for (pid, departure) in self.late(cx.now) {
            self.depart(pid, departure);
        }
        let stale = |c: &Connection| c.transports().any(|(_, transport)| transport.stale);
        let stale: Vec<Pid> = self
            .present()
            .filter(|(_, c)| stale(c))
            .map(|(pid, _)| pid)
            .collect();
        self.stale.extend(stale);
        self.settle(cx);
    }

    /// Lets the streams of those sleep who have been silent for a while.
    pub fn rest(&mut self, cx: &mut Cx<'_>) {
        for pid in self.everybody() {
            if let Some(connection) = self.connection_mut(pid) {
                connection.sending_mut().session.rest(cx.out);
            }
        }
        self.settle(cx);
    }

    /// Whether it has stayed empty for so long that it is over; since when, if so.
    pub fn over(&self, now: Instant) -> Option<Instant> {
        let kept = self.settings().kept_empty(self.occupied);
        self.empty_since
            .filter(|since| self.deleted || *since + kept <= now)
    }

    fn late(&self, now: Instant) -> Vec<(Pid, Departure)> {
        let late = |c: &Connection| c.deadline.is_some_and(|deadline| deadline <= now);
        let departure = |connection: &Connection| {
            let alive = connection
                .transports()
                .all(|(_, transport)| transport.session.is_alive());
            Departure::to_return(if alive {
                DisconnectReason::ConnectionTimeout
            } else {
                DisconnectReason::MediaFailure
            })
        };
        let people = self.present().filter(|(_, connection)| late(connection));
        people
            .map(|(pid, connection)| (pid, departure(connection)))
            .collect()
    }

    /// Tells the room who has begun to speak, or speaks louder or softer, or has stopped.
    fn tell_speakers(&mut self) {
        let mut speakers = Vec::new();
        for pid in self.everybody() {
            let Some(participant) = self.person_mut(pid).filter(|p| p.here().is_some()) else {
                continue;
            };
            let mut news = false;
            for track in participant.tracks.iter_mut().filter(|track| !track.is_video()) {
                news |= track.speaking.look();
            }
            if news && !participant.grants.hidden {
                speakers.push((pid, participant.speaks()));
            }
        }
        if !speakers.is_empty() {
            let infos = speakers.iter().map(|(_, info)| info.clone());
            self.tell_parts(&Note::Speakers(infos.collect()));
            self.tell_listeners(&speakers);
        }
    }

    /// Tells those who are here who speaks, as far as they are subscribed to them, or speak themselves.
    pub(super) fn tell_listeners(&mut self, speakers: &[(Pid, proto::SpeakerInfo)]) {
        let here: Vec<Pid> = self.present().map(|(pid, _)| pid).collect();
        for pid in here {
            let news: Vec<_> = self.of_concern(pid, speakers);
            if !news.is_empty() {
                self.tell(pid, speakers_changed(news));
            }
        }
    }

    fn of_concern(&self, pid: Pid, speakers: &[(Pid, proto::SpeakerInfo)]) -> Vec<proto::SpeakerInfo> {
        let Some(connection) = self.connection(pid) else {
            return Vec::new();
        };
        let concerns = |speaker: Pid| speaker == pid || connection.is_subscribed_to(speaker);
        let known = speakers.iter().filter(|(speaker, _)| concerns(*speaker));
        known.map(|(_, info)| info.clone()).collect()
    }

    /// Tells somebody who has come, or come back, who speaks.
    pub(super) fn tell_who_speaks(&mut self, pid: Pid) {
        let shown = self.people.iter().filter(|(_, p)| !p.grants.hidden);
        let speakers: Vec<_> = shown
            .map(|(handle, p)| (Pid(handle), p.speaks()))
            .filter(|(_, speaks)| speaks.active)
            .collect();
        let news = self.of_concern(pid, &speakers);
        if !news.is_empty() {
            self.tell(pid, speakers_changed(news));
        }
    }

    /// Tells the room how many are in it, where that has changed.
    fn tell_headcount(&mut self) {
        let now = self.headcount();
        if std::mem::replace(&mut self.told, now) != now {
            let room = Some(self.info());
            self.tell_room(None, &Message::RoomUpdate(proto::RoomUpdate { room }));
        }
    }

    fn headcount(&self) -> Headcount {
        let people = || self.people.values();
        let counted = people().filter(|p| !p.kind.is_dependent(&p.grants));
        Headcount {
            participants: counted.count() as u32,
            publishers: people().filter(|p| p.publishes()).count() as u32,
            recording: people().any(|p| p.grants.recorder),
        }
    }

    /// How clients see it.
    pub fn info(&self) -> proto::Room {
        let people = self.headcount();
        proto::Room {
            sid: self.sid.as_str().into(),
            name: self.key().name.as_str().into(),
            creation_time: self.part.call().created_at_ms / 1000,
            creation_time_ms: self.part.call().created_at_ms,
            num_participants: people.participants,
            num_publishers: people.publishers,
            active_recording: people.recording,
            empty_timeout: self.settings().empty_timeout,
            departure_timeout: self.settings().departure_timeout,
            max_participants: self.settings().max_participants,
            metadata: self.settings().metadata.clone(),
            enabled_codecs: enabled_codecs(),
            ..Default::default()
        }
    }
}

fn speakers_changed(speakers: Vec<proto::SpeakerInfo>) -> Message {
    Message::SpeakersChanged(proto::SpeakersChanged { speakers })
}
