//! Offers of the server's own, on a peer connection over which it only sends.

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::media::{Direction, MediaKind, Mid};

use super::{Session, SessionError, guarded};
use crate::data::Channel;
use crate::outbox::Outbox;
use crate::sdp::LineKind;

/// What an answer completes.
pub type PendingOffer = SdpPendingOffer;

/// What an offer is to say.
#[derive(Debug, Default)]
pub struct OfferPlan {
    /// Whether the data channels are to be opened.
    pub open_channels: bool,
    /// Whether ICE starts anew, because the client came back.
    pub restart_ice: bool,
    /// Lines there are, and whether the server sends on them.
    pub lines: Vec<(Mid, bool)>,
    /// Kinds of the lines to add.
    pub add: Vec<LineKind>,
}

/// An offer made.
pub struct Offered {
    /// The text: the base that is rewritten line by line.
    pub sdp: String,
    /// What the answer completes.
    pub pending: PendingOffer,
    /// The lines added, in the order asked for.
    pub added: Vec<Mid>,
}

impl Session {
    /// Makes an offer; `None` when there is nothing to say. An earlier one that was not answered is void.
    pub fn offer(&mut self, out: &mut Outbox, plan: &OfferPlan) -> Result<Option<Offered>, SessionError> {
        let offered = guarded(|| {
            let mut api = self.rtc.sdp_api();
            if plan.open_channels {
                for channel in [Channel::Reliable, Channel::Lossy] {
                    api.add_channel_with_config(config_of(channel));
                }
            }
            if plan.restart_ice {
                api.ice_restart(true);
            }
            for (mid, sends) in &plan.lines {
                let direction = if *sends {
                    Direction::SendOnly
                } else {
                    Direction::Inactive
                };
                api.set_direction(*mid, direction);
            }
            let kind = |kind: &LineKind| match kind {
                LineKind::Video => MediaKind::Video,
                LineKind::Audio | LineKind::Other => MediaKind::Audio,
            };
            let mut add = |line| api.add_media(kind(line), Direction::SendOnly, None, None, None);
            let added: Vec<Mid> = plan.add.iter().map(&mut add).collect();
            if !api.has_changes()
                && let Some((mid, sends)) = plan.lines.first()
            {
                // What changed is written in later, but str0m makes an offer only for a change that it knows.
                let (now, other) = if *sends {
                    (Direction::SendOnly, Direction::Inactive)
                } else {
                    (Direction::Inactive, Direction::SendOnly)
                };
                api.set_direction(*mid, other);
                api.set_direction(*mid, now);
            }
            Ok(api.apply().map(|(offer, pending)| Offered {
                sdp: offer.to_sdp_string(),
                pending,
                added,
            }))
        });
        self.drain(out);
        offered
    }

    /// Takes the answer to an offer.
    pub fn accept_answer(
        &mut self,
        out: &mut Outbox,
        pending: PendingOffer,
        answer: &str,
    ) -> Result<(), SessionError> {
        let accepted = guarded(|| {
            let answer = SdpAnswer::from_sdp_string(answer)
                .map_err(|error| SessionError::Answer(error.to_string()))?;
            Ok(self.rtc.sdp_api().accept_answer(pending, answer)?)
        });
        self.keep_asleep();
        self.rename(out);
        self.drain(out);
        accepted
    }

    /// Whether both sides have agreed on that line.
    pub fn has_line(&self, mid: Mid) -> bool {
        self.rtc.media(mid).is_some()
    }
}

fn config_of(channel: Channel) -> ChannelConfig {
    let (ordered, reliability) = match channel {
        Channel::Reliable => (true, Reliability::Reliable),
        Channel::Lossy => (false, Reliability::MaxRetransmits { retransmits: 0 }),
    };
    ChannelConfig {
        label: channel.label().into(),
        ordered,
        reliability,
        ..Default::default()
    }
}
