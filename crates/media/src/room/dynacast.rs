//! What of a video nobody wants is not sent: publishers are told up to which layer each of their videos is wanted, and parts
//! of a room each other.

use livekit_protocol as proto;
use proto::signal_response::Message;

use super::{Cx, Room};
use crate::participant::Pid;
use crate::relay::{Note, Relay};
use crate::track::Track;
use crate::video::Wanted;

impl Room {
    /// Who wants how much of a track may have changed: its publisher, or the part it comes from, is told.
    pub(super) fn demand_changed(&mut self, cx: &mut Cx<'_>, pid: Pid, serial: u32) {
        let Some(track) = self.track_mut(pid, serial) else {
            return;
        };
        let wanted = track.wanted();
        if let Relay::From { shard, wanted: told } = &mut track.relay {
            if std::mem::replace(told, wanted) != wanted {
                let (shard, id) = (*shard, track.id.clone());
                self.parts.write_to(shard, Note::Want(id, wanted));
            }
            return;
        }
        if track.is_video()
            && track.is_live()
            && let Some(news) = track.demand.look(cx.now, wanted)
        {
            let update = subscribed_quality(track, news);
            self.tell(pid, Message::SubscribedQualityUpdate(update));
        }
    }

    /// Tells publishers of what has not been wanted for a while.
    pub(super) fn lower_demands(&mut self, cx: &mut Cx<'_>) {
        let due: Vec<(Pid, u32)> = self
            .people
            .iter()
            .flat_map(|(handle, person)| {
                let due = person.tracks.iter().filter(|track| track.demand.is_due(cx.now));
                due.map(move |track| (Pid(handle), track.serial))
            })
            .collect();
        for (pid, serial) in due {
            self.demand_changed(cx, pid, serial);
        }
    }

    /// Tells somebody who is back what is wanted of their videos: what was told while they were away is lost.
    pub(super) fn tell_demands(&mut self, pid: Pid) {
        let Some(person) = self.person_mut(pid) else {
            return;
        };
        let videos = person
            .tracks
            .iter()
            .filter(|track| track.is_video() && track.is_live());
        let updates: Vec<_> = videos
            .map(|track| subscribed_quality(track, track.demand.told()))
            .collect();
        for update in updates {
            self.tell(pid, Message::SubscribedQualityUpdate(update));
        }
    }
}

/// How clients are told up to which layer a video is wanted.
#[allow(deprecated)]
fn subscribed_quality(track: &Track, wanted: Wanted) -> proto::SubscribedQualityUpdate {
    use proto::VideoQuality::{High, Low, Medium};
    let layers = [Low, Medium, High].into_iter().enumerate();
    let qualities: Vec<_> = layers
        .map(|(layer, quality)| proto::SubscribedQuality {
            quality: quality as i32,
            enabled: Some(layer) <= wanted,
        })
        .collect();
    proto::SubscribedQualityUpdate {
        track_sid: track.id.as_str().into(),
        subscribed_codecs: vec![proto::SubscribedCodec {
            codec: track.info.mime_type.trim_start_matches("video/").to_lowercase(),
            qualities: qualities.clone(),
        }],
        subscribed_qualities: qualities,
    }
}
