//! What RoomService is asked, as what rooms understand; what makes no sense is refused here.

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;

use super::body::Encoding;
use super::error::{Code, Error};
use crate::data::{Audience, Channel, MAX_PACKET, Outgoing};
use crate::participant::Grants;
use crate::profile::MAX_TEXT;
use crate::settings::{PlayoutDelay, Settings};
use crate::signal::admit;

/// Bytes that a request may put beside the data it sends.
const NONCE: usize = 16;

impl From<proto::ParticipantPermission> for Grants {
    #[allow(deprecated)]
    fn from(said: proto::ParticipantPermission) -> Self {
        Self {
            publish: said.can_publish,
            subscribe: said.can_subscribe,
            publish_data: said.can_publish_data,
            sources: said.can_publish_sources,
            update_metadata: said.can_update_metadata,
            hidden: said.hidden,
            recorder: said.recorder,
            agent: said.agent,
            subscribe_metrics: said.can_subscribe_metrics,
        }
    }
}

/// What a room is to be created with, as far as this server can follow it: what it can't it says.
pub(super) fn settings(asked: proto::CreateRoomRequest) -> Result<Settings, Error> {
    check_metadata(&asked.metadata)?;
    if !asked.room_preset.is_empty() {
        return Err(Error::invalid(
            "room_preset",
            "names no room configuration of this server",
        ));
    }
    for (given, what) in [
        (asked.egress.is_some(), "egress"),
        (!asked.agents.is_empty(), "agents"),
        (asked.replay_enabled, "replay_enabled"),
    ] {
        if given {
            let msg = format!("{what}: this server has nothing yet that could follow it");
            return Err(Error::new(Code::Unimplemented, msg));
        }
    }
    let playout_delay = PlayoutDelay::of(asked.min_playout_delay, asked.max_playout_delay)
        .map_err(|problem| Error::invalid("min_playout_delay", problem))?;
    let usual = Settings::default();
    let or = |said: u32, usual: u32| if said == 0 { usual } else { said };
    Ok(Settings {
        empty_timeout: or(asked.empty_timeout, usual.empty_timeout),
        departure_timeout: or(asked.departure_timeout, usual.departure_timeout),
        max_participants: asked.max_participants,
        metadata: asked.metadata,
        playout_delay,
        sync_streams: asked.sync_streams,
    })
}

#[allow(deprecated)]
pub(super) fn data_packet(asked: &proto::SendDataRequest) -> Result<(Channel, Outgoing), Error> {
    if ![0, NONCE].contains(&asked.nonce.len()) {
        let length = asked.nonce.len();
        return Err(Error::invalid(
            "nonce",
            format!("should be {NONCE} bytes or not present, got: {length} bytes"),
        ));
    }
    let channel = match asked.kind() {
        proto::data_packet::Kind::Reliable => Channel::Reliable,
        proto::data_packet::Kind::Lossy => Channel::Lossy,
    };
    let user = proto::UserPacket {
        payload: asked.data.clone(),
        destination_sids: asked.destination_sids.clone(),
        destination_identities: asked.destination_identities.clone(),
        topic: asked.topic.clone(),
        nonce: asked.nonce.clone(),
        ..Default::default()
    };
    let packet = proto::DataPacket {
        kind: asked.kind,
        destination_identities: asked.destination_identities.clone(),
        value: Some(Value::User(user)),
        ..Default::default()
    };
    let bytes = packet.encode_to_vec();
    if bytes.len() > MAX_PACKET {
        let problem = format!(
            "makes a packet of {} bytes, at most {MAX_PACKET} are accepted",
            bytes.len()
        );
        return Err(Error::invalid("data", problem));
    }
    let audience = Audience::of(
        asked.destination_identities.clone(),
        asked.destination_sids.clone(),
    );
    Ok((channel, Outgoing { bytes, audience }))
}

pub(super) fn check_metadata(metadata: &str) -> Result<(), Error> {
    let length = metadata.len();
    if length <= MAX_TEXT {
        return Ok(());
    }
    let problem = format!("has {length} bytes, at most {MAX_TEXT} are accepted");
    Err(Error::invalid("metadata", problem))
}

/// Reads a body as each method would and goes as far as the room's door with it; what a fuzzer calls.
pub fn read_any(json: bool, bytes: &[u8]) {
    let encoding = if json { Encoding::Json } else { Encoding::Protobuf };
    if let Ok(asked) = encoding.read::<proto::CreateRoomRequest>(bytes) {
        let _ = settings(asked);
    }
    if let Ok(asked) = encoding.read::<proto::SendDataRequest>(bytes) {
        let _ = data_packet(&asked);
    }
    if let Ok(asked) = encoding.read::<proto::UpdateParticipantRequest>(bytes) {
        let _ = asked.permission.map(Grants::from);
    }
    let _ = encoding.read::<proto::UpdateSubscriptionsRequest>(bytes);
    let _ = encoding.read::<proto::PerformRpcRequest>(bytes);
    // Answers are made of what clients said of themselves.
    if let Ok(person) = encoding.read::<proto::ParticipantInfo>(bytes) {
        let _ = encoding.write(&person);
        let _ = admit::claims("room", person);
    }
}
