//! What the server and the client's owner say, and what is done about it.

use std::time::Instant;

use auralink_types::{HINT_TOPIC, PublisherHint};
use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use str0m::Input;

use super::{Command, Driver, unix_ms};
use crate::client::ClientEvent;
use crate::error::JoinError;
use crate::session::Session;

impl Driver {
    pub(super) async fn message(&mut self, message: Response) -> Result<Option<String>, JoinError> {
        match message {
            Response::Answer(answer) => {
                let next = self.session.answer(&answer)?;
                self.session.rtc.handle_input(Input::Timeout(Instant::now()))?;
                self.negotiated()?;
                if let Some(offer) = next {
                    self.signal.send(Request::Offer(offer)).await?;
                }
            }
            Response::MediaSectionsRequirement(requirement) => {
                if let Some(offer) = self.session.require(&requirement) {
                    self.signal.send(Request::Offer(offer)).await?;
                }
            }
            Response::TrackPublished(published) if published.cid == self.cid => {
                if let Some(track) = published.track {
                    self.published = Some(track.sid.clone());
                    self.tell(ClientEvent::Published { track: track.sid });
                }
            }
            Response::Update(update) => {
                for participant in &update.participants {
                    self.participant(participant);
                }
            }
            Response::Mute(mute) if Some(&mute.sid) == self.published.as_ref() => {
                self.mute(mute.muted).await?
            }
            Response::PongResp(pong) => self.rtt_ms = (unix_ms() - pong.last_ping_timestamp).max(0),
            Response::Trickle(trickle) => self.trickle(&trickle),
            Response::Leave(leave) => return Ok(Some(leave_reason(&leave))),
            _ => {}
        }
        Ok(None)
    }

    pub(super) fn trickle(&mut self, trickle: &proto::TrickleRequest) {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&trickle.candidate_init).ok();
        let text = parsed
            .as_ref()
            .and_then(|init| init.get("candidate"))
            .and_then(|text| text.as_str());
        if let Some(Ok(candidate)) = text.map(str0m::Candidate::from_sdp_string) {
            self.session.rtc.add_remote_candidate(candidate);
        }
    }

    pub(super) async fn command(&mut self, command: Command) -> Result<Option<String>, JoinError> {
        match command {
            Command::Stats(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.stats(Instant::now()));
            }
            Command::Mute(muted) => self.mute(muted).await?,
            Command::Data {
                topic,
                payload,
                reliable,
            } => {
                if !self.session.send_data(&topic, &payload, reliable)? {
                    tracing::warn!(%topic, "the data channel took no message");
                }
            }
            Command::Leave => return Ok(Some("left".to_owned())),
        }
        Ok(None)
    }

    pub(super) async fn mute(&mut self, muted: bool) -> Result<(), JoinError> {
        if let Some(publisher) = &mut self.publisher {
            publisher.set_muted(muted);
        }
        if let Some(sid) = self.published.clone() {
            self.signal
                .send(Request::Mute(proto::MuteTrackRequest { sid, muted }))
                .await?;
        }
        Ok(())
    }

    pub(super) fn data(&mut self, data: &str0m::channel::ChannelData) {
        let Some((user, from)) = Session::user_packet(data) else {
            return;
        };
        let topic = user.topic.unwrap_or_default();
        if topic != HINT_TOPIC {
            self.tell(ClientEvent::Data {
                from,
                topic,
                payload: user.payload,
            });
            return;
        }
        let hint: PublisherHint = match serde_json::from_slice(&user.payload) {
            Ok(hint) => hint,
            Err(error) => {
                tracing::warn!(%error, "a hint that cannot be read");
                return;
            }
        };
        // Hints come from the server alone, and a server names no sender.
        let mine = self.options.aic && from.is_empty() && self.concerns_us(&hint);
        let obeyed = mine
            && self
                .publisher
                .as_mut()
                .is_some_and(|publisher| publisher.hint(hint.source));
        self.tell(ClientEvent::Hint { hint, obeyed });
    }

    /// Whether a hint is about our track. It may come before the answer that names the track, and we publish one.
    pub(super) fn concerns_us(&self, hint: &PublisherHint) -> bool {
        self.published
            .as_deref()
            .is_none_or(|track| track == hint.track.as_str())
    }
}

pub(super) fn leave_reason(leave: &proto::LeaveRequest) -> String {
    let reason =
        proto::DisconnectReason::try_from(leave.reason).unwrap_or(proto::DisconnectReason::UnknownReason);
    reason.as_str_name().to_lowercase()
}
