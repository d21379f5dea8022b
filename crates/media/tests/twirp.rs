//! The door for a tenant's own servers: routes, tokens, bodies and errors as Twirp has them.
#![allow(clippy::unwrap_used)]

mod peer;

use auralink_token::{Claims, VideoGrants};
use livekit_protocol as proto;
use peer::service::operator;
use peer::{Server, serve};
use prost::Message as _;
use serde_json::{Value, json};

const CREATE: &str = "POST /twirp/livekit.RoomService/CreateRoom";
const LIST: &str = "POST /twirp/livekit.RoomService/ListRooms";

async fn error(server: &Server, line: &str, head: &str, body: &[u8]) -> (u16, Value) {
    let (status, head, body) = server.request(line, head, body).await;
    assert!(
        head.to_lowercase().contains("content-type: application/json"),
        "{head}"
    );
    (status, serde_json::from_slice(&body).unwrap())
}

fn head(token: &str, kind: &str) -> String {
    format!("Authorization: Bearer {token}\r\nContent-Type: {kind}\r\n")
}

#[tokio::test]
async fn whatever_calls_no_method_is_a_bad_route_that_says_why() {
    let server = serve().await;
    let json = head(&server.pass(operator()), "application/json");
    let text = head(&server.pass(operator()), "text/plain");
    let bare = format!("Authorization: Bearer {}\r\n", server.pass(operator()));
    for (line, head, why) in [
        (
            "GET /twirp/livekit.RoomService/ListRooms",
            &json,
            "only POST is allowed",
        ),
        (
            "POST /twirp/livekit.RoomService/Dance",
            &json,
            "no handler for path",
        ),
        (
            "POST /twirp/livekit.Rooms/ListRooms",
            &json,
            "no handler for path",
        ),
        ("POST /twirp/ListRooms", &json, "no handler for path"),
        (LIST, &text, "unexpected Content-Type: \"text/plain\""),
        (LIST, &bare, "unexpected Content-Type: \"\""),
    ] {
        let (status, answer) = error(&server, line, head, b"{}").await;
        assert_eq!(
            (status, &answer["code"]),
            (404, &json!("bad_route")),
            "{line}: {answer}"
        );
        assert!(answer["msg"].as_str().unwrap().contains(why), "{line}: {answer}");
        assert_eq!(answer["meta"]["twirp_invalid_route"], line);
    }
}

#[tokio::test]
async fn a_token_has_to_be_good_and_good_for_what_is_asked() {
    let server = serve().await;
    let participant = server.token(&Claims::join("room", "anna"));
    let other_room = server.pass(VideoGrants {
        room: "elsewhere".into(),
        ..operator()
    });
    let no_room = server.pass(VideoGrants {
        room: String::new(),
        ..operator()
    });
    let powerless = server.pass(VideoGrants::default());
    let service = |method: &str| format!("POST /twirp/livekit.RoomService/{method}");
    let of_room = json!({"room": "room", "identity": "anna", "destinationIdentity": "anna"});
    for (method, tokens) in [
        ("CreateRoom", vec![&participant, &powerless]),
        ("ListRooms", vec![&participant, &powerless]),
        ("DeleteRoom", vec![&participant, &powerless]),
        (
            "ListParticipants",
            vec![&participant, &powerless, &other_room, &no_room],
        ),
        ("GetParticipant", vec![&participant, &other_room, &no_room]),
        ("RemoveParticipant", vec![&participant, &other_room, &no_room]),
        ("MutePublishedTrack", vec![&participant, &other_room, &no_room]),
        ("UpdateParticipant", vec![&participant, &other_room, &no_room]),
        ("UpdateSubscriptions", vec![&participant, &other_room, &no_room]),
        ("SendData", vec![&participant, &other_room, &no_room]),
        ("UpdateRoomMetadata", vec![&participant, &other_room, &no_room]),
        ("ForwardParticipant", vec![&participant, &other_room, &no_room]),
        ("MoveParticipant", vec![&participant, &other_room, &no_room]),
        ("PerformRpc", vec![&participant, &other_room, &no_room]),
    ] {
        for token in tokens {
            let head = head(token, "application/json");
            let body = of_room.to_string();
            let (status, answer) = error(&server, &service(method), &head, body.as_bytes()).await;
            assert_eq!(
                (status, &answer["code"], &answer["msg"]),
                (401, &json!("unauthenticated"), &json!("permissions denied")),
                "{method}"
            );
        }
    }
    for bad in ["", "nonsense", &participant[..participant.len() - 2]] {
        let (status, answer) = error(&server, LIST, &head(bad, "application/json"), b"{}").await;
        assert_eq!(
            (status, &answer["code"]),
            (401, &json!("unauthenticated")),
            "{bad}"
        );
    }
    let (status, answer) = error(&server, LIST, "Content-Type: application/json\r\n", b"{}").await;
    assert_eq!((status, &answer["code"]), (401, &json!("unauthenticated")));
}

#[tokio::test]
async fn moving_somebody_takes_a_token_that_names_both_rooms() {
    let server = serve().await;
    let mover = |destination: &str| VideoGrants {
        destination_room: destination.into(),
        ..operator()
    };
    let asked = json!({"room": "room", "identity": "anna", "destination_room": "b"});
    for method in ["MoveParticipant", "ForwardParticipant"] {
        for destination in ["", "c"] {
            let (status, answer) = server.ask_as(mover(destination), method, asked.clone()).await;
            assert_eq!(
                (status, &answer["code"]),
                (401, &json!("unauthenticated")),
                "{method}"
            );
        }
        let same = json!({"room": "room", "identity": "anna", "destination_room": "room"});
        let (status, answer) = server.ask_as(mover("room"), method, same).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("invalid_argument")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn json_names_fields_either_way_and_answers_like_livekits_server() {
    let server = serve().await;
    let created = server
        .ask(
            "CreateRoom",
            json!({"name": "a", "empty_timeout": 11, "maxParticipants": "3", "metadata": null, "newer": [1]}),
        )
        .await;
    assert_eq!(created["name"], "a");
    assert_eq!(
        (&created["empty_timeout"], &created["departure_timeout"]),
        (&json!(11), &json!(20))
    );
    assert_eq!(created["max_participants"], 3);
    assert_eq!(
        (&created["num_participants"], &created["active_recording"]),
        (&json!(0), &json!(false))
    );
    assert!(created["creation_time"].is_string() && created["sid"].as_str().unwrap().starts_with("RM_"));
    assert_eq!(
        created["enabled_codecs"][0],
        json!({"mime": "video/VP8", "fmtp_line": ""})
    );
    let named = server.ask("ListRooms", json!({"names": ["a", "b"]})).await;
    assert_eq!(named, json!({"rooms": [created]}));
    assert_eq!(
        server.ask("ListRooms", json!({"names": ["b"]})).await,
        json!({"rooms": []})
    );
}

#[tokio::test]
async fn protobuf_asks_and_answers_the_same() {
    let server = serve().await;
    let head = head(&server.pass(operator()), "application/protobuf; charset=utf-8");
    let asked = proto::CreateRoomRequest {
        name: "a".into(),
        metadata: "m".into(),
        ..Default::default()
    };
    let (status, said, body) = server.request(CREATE, &head, &asked.encode_to_vec()).await;
    assert_eq!(status, 200);
    assert!(
        said.to_lowercase().contains("content-type: application/protobuf"),
        "{said}"
    );
    let room = proto::Room::decode(body.as_slice()).unwrap();
    assert_eq!((room.name.as_str(), room.metadata.as_str()), ("a", "m"));
    let (status, _, body) = server.request(LIST, &head, b"").await;
    let listed = proto::ListRoomsResponse::decode(body.as_slice()).unwrap();
    assert_eq!((status, listed.rooms), (200, vec![room]));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_or_is_too_large_is_malformed() {
    let server = serve().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = vec![b' '; 3 << 20];
    for (kind, body) in [
        ("application/json", &b""[..]),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b"{\"names\": 3}"),
        ("application/json", b"{\"names\": [\"\xff\"]}"),
        ("application/json", deep.as_bytes()),
        ("application/json", &large),
        ("application/protobuf", b"\x0a\xff"),
        ("application/protobuf", b"\x0a\x01\xff"),
    ] {
        let head = head(&server.pass(operator()), kind);
        let (status, answer) = error(&server, LIST, &head, body).await;
        let said = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("malformed")),
            "{said}: {answer}"
        );
    }
}

#[tokio::test]
async fn services_that_are_missing_say_so() {
    let server = serve().await;
    let head = head(&server.pass(operator()), "application/json");
    for (path, what) in [
        ("livekit.Egress/StartRoomCompositeEgress", "egress"),
        ("livekit.Ingress/CreateIngress", "ingress"),
        ("livekit.SIP/CreateSIPParticipant", "SIP"),
        ("livekit.AgentDispatchService/CreateDispatch", "agent dispatch"),
    ] {
        let (status, answer) = error(&server, &format!("POST /twirp/{path}"), &head, b"{}").await;
        assert_eq!((status, &answer["code"]), (501, &json!("unimplemented")));
        assert!(answer["msg"].as_str().unwrap().contains(what), "{answer}");
    }
    for (field, value) in [
        ("egress", json!({"room": {}})),
        ("agents", json!([{"agentName": "x"}])),
    ] {
        let (status, code) = server
            .refusal("CreateRoom", json!({"name": "a", field: value}))
            .await;
        assert_eq!((status, code.as_str()), (501, "unimplemented"), "{field}");
    }
}

#[tokio::test]
async fn what_is_out_of_bounds_is_an_invalid_argument() {
    let server = serve().await;
    server.ask("CreateRoom", json!({"name": "room"})).await;
    let long = "x".repeat(100_000);
    for (method, asked) in [
        ("CreateRoom", json!({})),
        ("CreateRoom", json!({"name": "x".repeat(10_000)})),
        ("CreateRoom", json!({"name": "a\nb"})),
        ("CreateRoom", json!({"name": "a", "metadata": long})),
        ("CreateRoom", json!({"name": "a", "roomPreset": "mine"})),
        ("UpdateRoomMetadata", json!({"room": "room", "metadata": long})),
        ("SendData", json!({"room": "room", "nonce": "AAAA"})),
        ("SendData", json!({"room": "room", "data": long})),
        ("PerformRpc", json!({"room": "room", "method": "x"})),
    ] {
        let (status, code) = server.refusal(method, asked).await;
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{method}");
    }
}
