//! The lines on which a client speaks and listens, and its offers of them.

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use str0m::change::{SdpApi, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};

use super::Peer;

impl Peer {
    /// Announces a track and offers its line.
    pub async fn publish(&mut self, cid: &str, kind: MediaKind) {
        self.announce(cid, kind, proto::AddTrackRequest::default()).await;
        self.offer_line(cid, cid, kind).await;
    }

    /// The same for a track that says how it is encrypted from end to end.
    pub async fn publish_as(&mut self, cid: &str, kind: MediaKind, encryption: proto::encryption::Type) {
        let request = proto::AddTrackRequest {
            encryption: encryption as i32,
            ..Default::default()
        };
        self.announce(cid, kind, request).await;
        self.offer_line(cid, cid, kind).await;
    }

    /// Announces a track.
    pub async fn announce(&mut self, cid: &str, kind: MediaKind, request: proto::AddTrackRequest) {
        let r#type = match kind {
            MediaKind::Video => proto::TrackType::Video,
            MediaKind::Audio => proto::TrackType::Audio,
        };
        self.ask(Ask::AddTrack(proto::AddTrackRequest {
            cid: cid.into(),
            name: cid.into(),
            r#type: r#type as i32,
            ..request
        }))
        .await;
    }

    /// Offers the line of a track; `id` is what its `a=msid` calls it.
    pub async fn offer_line(&mut self, cid: &str, id: &str, kind: MediaKind) {
        let mut api = self.publisher.rtc.sdp_api();
        let stream = Some(format!("stream-{cid}"));
        let mid = api.add_media(kind, Direction::SendOnly, stream, Some(id.into()), None);
        self.sending.insert(cid.into(), mid);
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer, pending).await;
    }

    pub async fn unpublish(&mut self, cid: &str) {
        let mid = self.sending[cid];
        let mut api = self.publisher.rtc.sdp_api();
        api.set_direction(mid, Direction::Inactive);
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer, pending).await;
    }

    async fn send_offer(&mut self, offer: SdpOffer, pending: SdpPendingOffer) {
        self.offers += 1;
        self.pending = Some((self.offers, pending));
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: offer.to_sdp_string(),
            id: self.offers,
            ..Default::default()
        };
        self.ask(Ask::Offer(offer)).await;
    }

    pub(super) async fn require(&mut self, need: proto::MediaSectionsRequirement) {
        let mut api = self.publisher.rtc.sdp_api();
        for mid in &self.receiving {
            api.set_direction(*mid, Direction::RecvOnly);
        }
        for (kind, count) in [
            (MediaKind::Audio, need.num_audios),
            (MediaKind::Video, need.num_videos),
        ] {
            for _ in 0..count {
                self.receiving
                    .push(api.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        if !api.has_changes() {
            touch(&mut api, self.receiving.first(), Direction::RecvOnly);
        }
        if !api.has_changes() {
            touch(&mut api, self.sending.values().next(), Direction::SendOnly);
        }
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer, pending).await;
    }

    /// Whether no offer of this client's is under way, and the line of that track is agreed.
    pub fn agreed(&self, cid: &str) -> bool {
        self.pending.is_none() && self.publisher.rtc.media(self.sending[cid]).is_some()
    }
}

/// Changes a line and changes it back: an offer for a client that has nothing else to say.
fn touch(api: &mut SdpApi<'_>, mid: Option<&Mid>, direction: Direction) {
    if let Some(mid) = mid {
        api.set_direction(*mid, Direction::Inactive);
        api.set_direction(*mid, direction);
    }
}
