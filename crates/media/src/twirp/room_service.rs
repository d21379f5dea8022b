//! LiveKit's RoomService, method by method: what a token has to say for it, and what is asked of the room.

use std::time::{Duration, SystemTime};

use auralink_types::{RoomName, TrackId, UserId, check_name};
use axum::response::Response;
use livekit_protocol as proto;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::asked::{check_metadata, data_packet, settings};
use super::error::{Code, Error};
use super::fields::Told;
use super::{Request, Twirp};
use crate::command::Command;
use crate::participant::{Grants, RoomKey};
use crate::profile::ProfileChange;
use crate::signal::{REFRESH_TTL, admit};
use crate::verb::{Answer, Call, Deed, Listed, Verb};

/// The service's name in paths.
pub const NAME: &str = "livekit.RoomService";

/// How long the answer to a call may take unless the caller says so, as LiveKit has it, and at most: the answer to the
/// request itself has to come before the server gives that up.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
const CALL_PATIENCE_MAX: Duration = Duration::from_secs(25);

impl Twirp {
    /// Answers a method; `None` for one that is not known.
    pub(super) async fn room_service(&self, request: Request) -> Result<Option<Response>, Error> {
        let response = match request.method.as_str() {
            "CreateRoom" => self.answer(&request, Self::create_room).await,
            "ListRooms" => self.answer(&request, Self::list_rooms).await,
            "DeleteRoom" => self.answer(&request, Self::delete_room).await,
            "ListParticipants" => self.answer(&request, Self::list_participants).await,
            "GetParticipant" => self.answer(&request, Self::get_participant).await,
            "RemoveParticipant" => self.answer(&request, Self::remove_participant).await,
            "MutePublishedTrack" => self.answer(&request, Self::mute_published_track).await,
            "UpdateParticipant" => self.answer(&request, Self::update_participant).await,
            "UpdateSubscriptions" => self.answer(&request, Self::update_subscriptions).await,
            "SendData" => self.answer(&request, Self::send_data).await,
            "UpdateRoomMetadata" => self.answer(&request, Self::update_room_metadata).await,
            "ForwardParticipant" => self.answer(&request, Self::forward_participant).await,
            "MoveParticipant" => self.answer(&request, Self::move_participant).await,
            "PerformRpc" => self.answer(&request, Self::perform_rpc).await,
            _ => return Ok(None),
        };
        response.map(Some)
    }

    async fn answer<Q, A>(
        &self,
        request: &Request,
        method: impl AsyncFnOnce(&Self, &Request, Q) -> Result<A, Error>,
    ) -> Result<Response, Error>
    where
        Q: Message + Default + DeserializeOwned,
        A: Message + Serialize + Told,
    {
        let asked = request.encoding.read(&request.body)?;
        let answer = method(self, request, asked).await?;
        request.encoding.write(&answer)
    }

    async fn create_room(&self, by: &Request, asked: proto::CreateRoomRequest) -> Result<proto::Room, Error> {
        by.may(by.token.claims.video.room_create)?;
        check_name("name", &asked.name).map_err(|error| Error::invalid("name", error.problem))?;
        let name = asked.name.clone();
        room_of(self.ask(by, &name, Verb::Open(settings(asked)?)).await?)
    }

    async fn list_rooms(
        &self,
        by: &Request,
        asked: proto::ListRoomsRequest,
    ) -> Result<proto::ListRoomsResponse, Error> {
        by.may(by.token.claims.video.room_list)?;
        let names: Vec<RoomName> = asked.names.into_iter().map(RoomName::from).collect();
        let listed = |reply| {
            Command::Listed(Listed {
                tenant: by.tenant(),
                names: names.clone(),
                reply,
            })
        };
        let mut rooms = self.shards.ask(listed).await.concat();
        rooms.sort_by(|a, b| (a.creation_time_ms, &a.sid).cmp(&(b.creation_time_ms, &b.sid)));
        // One that is on several shards is told by each.
        rooms.dedup_by(|a, b| a.sid == b.sid);
        Ok(proto::ListRoomsResponse { rooms })
    }

    async fn delete_room(
        &self,
        by: &Request,
        asked: proto::DeleteRoomRequest,
    ) -> Result<proto::DeleteRoomResponse, Error> {
        by.may(by.token.claims.video.room_create)?;
        self.ask(by, &asked.room, Verb::Delete).await?;
        Ok(proto::DeleteRoomResponse::default())
    }

    async fn list_participants(
        &self,
        by: &Request,
        asked: proto::ListParticipantsRequest,
    ) -> Result<proto::ListParticipantsResponse, Error> {
        by.may_rule(&asked.room)?;
        let participants = match self.ask(by, &asked.room, Verb::People).await {
            Ok(Answer::People(people)) => people,
            // Nobody is in a room that is not there.
            Err(error) if error.code == Code::NotFound => Vec::new(),
            other => return Err(other.map_or_else(|error| error, unfit)),
        };
        Ok(proto::ListParticipantsResponse { participants })
    }

    async fn get_participant(
        &self,
        by: &Request,
        asked: proto::RoomParticipantIdentity,
    ) -> Result<proto::ParticipantInfo, Error> {
        by.may_rule(&asked.room)?;
        person_of(self.deal(by, &asked.room, &asked.identity, Deed::Tell).await?)
    }

    async fn remove_participant(
        &self,
        by: &Request,
        asked: proto::RoomParticipantIdentity,
    ) -> Result<proto::RemoveParticipantResponse, Error> {
        by.may_rule(&asked.room)?;
        self.deal(by, &asked.room, &asked.identity, Deed::Remove).await?;
        Ok(proto::RemoveParticipantResponse::default())
    }

    async fn mute_published_track(
        &self,
        by: &Request,
        asked: proto::MuteRoomTrackRequest,
    ) -> Result<proto::MuteRoomTrackResponse, Error> {
        by.may_rule(&asked.room)?;
        if !asked.muted && !self.rules.remote_unmute {
            return Err(Error::new(Code::FailedPrecondition, "remote unmute not enabled"));
        }
        let deed = Deed::Mute {
            track: TrackId::from(asked.track_sid),
            muted: asked.muted,
        };
        match self.deal(by, &asked.room, &asked.identity, deed).await? {
            Answer::Track(track) => Ok(proto::MuteRoomTrackResponse { track: Some(*track) }),
            other => Err(unfit(other)),
        }
    }

    async fn update_participant(
        &self,
        by: &Request,
        asked: proto::UpdateParticipantRequest,
    ) -> Result<proto::ParticipantInfo, Error> {
        by.may_rule(&asked.room)?;
        let deed = Deed::Change {
            profile: ProfileChange {
                name: asked.name,
                metadata: asked.metadata,
                attributes: asked.attributes,
            },
            grants: asked.permission.map(Grants::from),
        };
        let person = person_of(self.deal(by, &asked.room, &asked.identity, deed).await?)?;
        // Whoever comes back is to be what they are now.
        self.renew(by, (&asked.room, &asked.room), person.clone(), false)
            .await?;
        Ok(person)
    }

    async fn update_subscriptions(
        &self,
        by: &Request,
        asked: proto::UpdateSubscriptionsRequest,
    ) -> Result<proto::UpdateSubscriptionsResponse, Error> {
        by.may_rule(&asked.room)?;
        let listed = asked.participant_tracks.into_iter().flat_map(|p| p.track_sids);
        let tracks = asked.track_sids.into_iter().chain(listed).map(TrackId::from);
        let deed = Deed::Subscribe {
            tracks: tracks.collect(),
            wanted: asked.subscribe,
        };
        self.deal(by, &asked.room, &asked.identity, deed).await?;
        Ok(proto::UpdateSubscriptionsResponse::default())
    }

    async fn send_data(
        &self,
        by: &Request,
        asked: proto::SendDataRequest,
    ) -> Result<proto::SendDataResponse, Error> {
        by.may_rule(&asked.room)?;
        let (channel, packet) = data_packet(&asked)?;
        self.ask(by, &asked.room, Verb::Send(channel, packet)).await?;
        Ok(proto::SendDataResponse::default())
    }

    async fn update_room_metadata(
        &self,
        by: &Request,
        asked: proto::UpdateRoomMetadataRequest,
    ) -> Result<proto::Room, Error> {
        by.may_rule(&asked.room)?;
        check_metadata(&asked.metadata)?;
        room_of(self.ask(by, &asked.room, Verb::Describe(asked.metadata)).await?)
    }

    async fn forward_participant(
        &self,
        by: &Request,
        asked: proto::ForwardParticipantRequest,
    ) -> Result<proto::ForwardParticipantResponse, Error> {
        by.may_rule_both(&asked.room, &asked.destination_room)?;
        let msg =
            "this server can't forward a participant's tracks to a second room yet; MoveParticipant is there";
        Err(Error::new(Code::Unimplemented, msg))
    }

    async fn move_participant(
        &self,
        by: &Request,
        asked: proto::MoveParticipantRequest,
    ) -> Result<proto::MoveParticipantResponse, Error> {
        by.may_rule_both(&asked.room, &asked.destination_room)?;
        check_name("destination_room", &asked.destination_room)
            .map_err(|error| Error::invalid("destination_room", error.problem))?;
        let person = person_of(self.deal(by, &asked.room, &asked.identity, Deed::Tell).await?)?;
        self.renew(by, (&asked.room, &asked.destination_room), person, true)
            .await?;
        Ok(proto::MoveParticipantResponse::default())
    }

    async fn perform_rpc(
        &self,
        by: &Request,
        asked: proto::PerformRpcRequest,
    ) -> Result<proto::PerformRpcResponse, Error> {
        by.may_rule(&asked.room)?;
        if asked.destination_identity.is_empty() {
            return Err(Error::invalid("destination_identity", "is required"));
        }
        let patience = match asked.response_timeout_ms {
            0 => CALL_PATIENCE,
            milliseconds => Duration::from_millis(milliseconds.into()).min(CALL_PATIENCE_MAX),
        };
        let call = Call {
            method: asked.method,
            payload: asked.payload,
            patience,
        };
        let deed = Deed::Call(call);
        match self
            .deal(by, &asked.room, &asked.destination_identity, deed)
            .await?
        {
            Answer::Payload(payload) => Ok(proto::PerformRpcResponse { payload }),
            other => Err(unfit(other)),
        }
    }

    /// Gives somebody in a room a token with which they come to the same or another one as what they are now.
    async fn renew(
        &self,
        by: &Request,
        (room, destination): (&str, &str),
        person: proto::ParticipantInfo,
        leave: bool,
    ) -> Result<(), Error> {
        let identity = person.identity.clone();
        let claims = admit::claims(destination, person);
        let now = SystemTime::now();
        let minted = self.keys.mint(&by.token.api_key, &claims, REFRESH_TTL, now);
        let token = minted.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        self.deal(by, room, &identity, Deed::Renew { token, leave })
            .await?;
        Ok(())
    }

    async fn deal(&self, by: &Request, room: &str, identity: &str, deed: Deed) -> Result<Answer, Error> {
        self.ask(by, room, Verb::To(UserId::from(identity), deed)).await
    }

    async fn ask(&self, by: &Request, room: &str, verb: Verb) -> Result<Answer, Error> {
        let key = RoomKey {
            tenant: by.tenant(),
            name: RoomName::from(room),
        };
        let answer = self.shards.ask_room(&key, verb).await;
        let failed = || Error::new(Code::Internal, "the room failed at this");
        Ok(answer.ok_or_else(failed)??)
    }
}

impl Request {
    fn tenant(&self) -> auralink_types::TenantId {
        self.token.api_key.as_str().into()
    }

    /// LiveKit calls a token unauthenticated, too, that is good but not for this.
    fn may(&self, granted: bool) -> Result<(), Error> {
        let refused = || Error::new(Code::Unauthenticated, "permissions denied");
        granted.then_some(()).ok_or_else(refused)
    }

    fn may_rule(&self, room: &str) -> Result<(), Error> {
        let grants = &self.token.claims.video;
        self.may(grants.room_admin && grants.room == room)
    }

    fn may_rule_both(&self, room: &str, destination: &str) -> Result<(), Error> {
        self.may_rule(room)?;
        self.may(self.token.claims.video.destination_room == destination)?;
        if room == destination {
            return Err(Error::invalid(
                "destination_room",
                "cannot be the same as the source room",
            ));
        }
        Ok(())
    }
}

fn room_of(answer: Answer) -> Result<proto::Room, Error> {
    match answer {
        Answer::Room(room) => Ok(*room),
        other => Err(unfit(other)),
    }
}

fn person_of(answer: Answer) -> Result<proto::ParticipantInfo, Error> {
    match answer {
        Answer::Person(person) => Ok(*person),
        other => Err(unfit(other)),
    }
}

fn unfit(answer: Answer) -> Error {
    Error::new(
        Code::Internal,
        format!("the room answered something else: {answer:?}"),
    )
}
