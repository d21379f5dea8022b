//! Rooms and people are ruled by LiveKit's own crate.

use std::time::Duration;

use auralink_rust_sdk_tests::{ROOM, crowd, serve};
use livekit_api::services::room::{CreateRoomOptions, RoomClient, SendDataOptions, UpdateParticipantOptions};
use livekit_api::services::{ServerError, ServiceError, ServiceResult};
use livekit_protocol as proto;

/// The code of a refusal.
fn code<T>(answer: ServiceResult<T>) -> String {
    match answer.err() {
        Some(ServiceError::Twirp(ServerError::Twirp(error))) => error.code,
        other => panic!("no error of the server's: {other:?}"),
    }
}

/// Those in the crowd, once four are there and two of them talk.
async fn people(rooms: &RoomClient) -> Vec<proto::ParticipantInfo> {
    for _ in 0..200 {
        let people = rooms.list_participants(ROOM).await.unwrap();
        let talking = people.iter().filter(|one| !one.tracks.is_empty());
        if people.len() == 4 && talking.count() == 2 {
            return people;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody came");
}

#[tokio::test]
async fn rooms_are_created_described_listed_and_deleted() {
    let (_server, address) = serve();
    let rooms = RoomClient::with_api_key(&address, "devkey", "secret");
    let options = CreateRoomOptions {
        empty_timeout: 60,
        metadata: "old".into(),
        ..Default::default()
    };
    let created = rooms.create_room("room", options).await.unwrap();
    assert_eq!((created.empty_timeout, created.metadata.as_str()), (60, "old"));
    let described = rooms.update_room_metadata("room", "new").await.unwrap();
    assert_eq!((described.sid, described.metadata.as_str()), (created.sid, "new"));
    assert_eq!(rooms.list_rooms(vec!["room".into()]).await.unwrap().len(), 1);
    rooms.delete_room("room").await.unwrap();
    assert!(rooms.list_rooms(Vec::new()).await.unwrap().is_empty());
    assert_eq!(code(rooms.delete_room("room").await), "not_found");
    let stranger = RoomClient::with_api_key(&address, "devkey", "wrong");
    assert_eq!(code(stranger.list_rooms(Vec::new()).await), "unauthenticated");
}

#[tokio::test]
async fn people_are_muted_changed_told_and_taken_out() {
    let (_server, address) = serve();
    let _crowd = crowd(&address);
    let rooms = RoomClient::with_api_key(&address, "devkey", "secret");
    let people = people(&rooms).await;
    let talks = |one: &&proto::ParticipantInfo| !one.tracks.is_empty();
    let anna = people.iter().find(talks).unwrap();
    let bert = people.iter().find(|one| !talks(one)).unwrap();
    let (anna, bert, track) = (&anna.identity, &bert.identity, anna.tracks[0].sid.clone());

    let mute = async |muted| rooms.mute_published_track(ROOM, anna, &track, muted).await;
    assert!(mute(true).await.unwrap().muted);
    assert_eq!(
        code(mute(false).await),
        "failed_precondition",
        "nobody is unmuted from afar"
    );
    rooms
        .update_subscriptions(ROOM, bert, vec![track.clone()], false)
        .await
        .unwrap();
    let data = SendDataOptions {
        topic: Some("topic".into()),
        destination_identities: vec![bert.clone()],
        ..Default::default()
    };
    rooms.send_data(ROOM, b"hello".to_vec(), data).await.unwrap();
    let change = UpdateParticipantOptions {
        name: "Anna A.".into(),
        permission: Some(proto::ParticipantPermission {
            can_subscribe: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    let changed = rooms.update_participant(ROOM, anna, change).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.tracks.len()), ("Anna A.", 0));
    assert_eq!(
        code(rooms.forward_participant(ROOM, bert, "hall").await),
        "unimplemented"
    );
    rooms.remove_participant(ROOM, bert).await.unwrap();
    assert_eq!(code(rooms.get_participant(ROOM, bert).await), "not_found");
    rooms.delete_room(ROOM).await.unwrap();
}
