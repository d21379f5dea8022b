use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use auralink_control::{Dispatcher, Reach};
use auralink_store::{Announcement, Timestamp};
use auralink_types::{Event, EventKind, Objects};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::{Api, CONFIG};

const WEBHOOKS: &str = "/api/v1/aic/webhooks";

/// A receiver on a real socket that refuses the first attempts of each event.
struct Receiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    _server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Inbox {
    refuse: u32,
    /// Every attempt, as (token, body).
    attempts: Mutex<Vec<(HeaderMap, String)>>,
}

impl Receiver {
    async fn start(refuse: u32) -> Self {
        let inbox = Arc::new(Inbox {
            refuse,
            ..Inbox::default()
        });
        let app = Router::new()
            .route("/hook", post(receive))
            .with_state(Arc::clone(&inbox));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            inbox,
            _server: server,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What has arrived for good, in order of arrival.
    fn taken(&self) -> Vec<Value> {
        let attempts = self.inbox.attempts.lock().unwrap();
        let mut tries: HashMap<String, u32> = HashMap::new();
        let bodies = attempts
            .iter()
            .map(|(_, body)| serde_json::from_str::<Value>(body).unwrap());
        bodies
            .filter(|body| {
                let tried = tries.entry(body["id"].as_str().unwrap().to_owned()).or_default();
                *tried += 1;
                *tried > self.inbox.refuse
            })
            .collect()
    }

    async fn until(&self, count: usize) -> Vec<Value> {
        for _ in 0..400 {
            let taken = self.taken();
            if taken.len() >= count {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("only {:?}", self.taken());
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: String) -> StatusCode {
    let id = serde_json::from_str::<Value>(&body).unwrap()["id"].clone();
    let mut attempts = inbox.attempts.lock().unwrap();
    let before = attempts
        .iter()
        .filter(|(_, body)| serde_json::from_str::<Value>(body).unwrap()["id"] == id)
        .count();
    attempts.push((headers, body));
    if before < inbox.refuse as usize {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

fn dispatcher(api: &Api) -> Dispatcher {
    let state = &api.state;
    Dispatcher::start(
        state.store.clone(),
        Arc::clone(&state.keys),
        state.clock.clone(),
        state.reach,
    )
    .unwrap()
}

async fn add(api: &Api, url: &str, events: &[&str]) -> String {
    let body = json!({ "url": url, "events": events }).to_string();
    let made = api.post(&api.operator("one"), WEBHOOKS, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.body["webhook_id"].as_str().unwrap().to_owned()
}

async fn tell(api: &Api, subject: &str, n: u32) {
    let announcement = Announcement {
        tenant: "one".into(),
        user: None,
        subject: subject.into(),
        event: "aic.alert.raised".into(),
        payload: json!({ "n": n }),
        at: Timestamp::from(SystemTime::now()),
    };
    api.state.store.announce(&announcement).await.unwrap();
}

#[tokio::test]
async fn events_arrive_signed_and_in_order_although_the_receiver_fails_first() {
    let api = Api::new().await;
    let receiver = Receiver::start(1).await;
    add(&api, &receiver.url(), &[]).await;
    for n in 0..4 {
        tell(&api, "a", n).await;
        tell(&api, "b", n).await;
    }
    let _sending = dispatcher(&api);
    let taken = receiver.until(8).await;
    assert_eq!(taken.len(), 8);
    // Events tell their number; of one subject they come in order.
    let ids: Vec<_> = taken
        .iter()
        .map(|body| body["id"].as_str().unwrap()[3..].parse::<u64>().unwrap())
        .collect();
    for subject in 0..2 {
        let of: Vec<_> = ids.iter().filter(|id| *id % 2 == subject).collect();
        assert_eq!(of.len(), 4);
        assert!(of.is_sorted(), "{ids:?}");
    }
    let attempts = receiver.inbox.attempts.lock().unwrap();
    assert_eq!(attempts.len(), 16, "each was refused once");
    for (headers, body) in attempts.iter() {
        assert_eq!(headers["content-type"], "application/webhook+json");
        let token = headers["authorization"].to_str().unwrap();
        let verified = api.state.keys.verify(token, SystemTime::now()).unwrap();
        assert_eq!(verified.api_key, "one");
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(body.as_bytes()));
        assert_eq!(verified.claims.sha256, Some(hash));
    }
}

#[tokio::test]
async fn an_event_of_a_call_has_livekits_form_and_a_filter_keeps_the_others_out() {
    let api = Api::new().await;
    let receiver = Receiver::start(0).await;
    add(&api, &receiver.url(), &["room_started", "participant_joined"]).await;
    let event = |kind| Event {
        ts_us: 1_790_000_000_000_000,
        tenant: "one".into(),
        call_id: "RM_1".into(),
        room: "lobby".into(),
        kind,
        objects: Objects::default(),
    };
    let joined = EventKind::ParticipantJoined {
        user: "ada".into(),
        participant: "PA_1".into(),
    };
    let left = EventKind::ParticipantLeft {
        user: "ada".into(),
        participant: "PA_1".into(),
    };
    for kind in [EventKind::CallStarted, left, joined, EventKind::CallEnded] {
        api.state.store.record(&event(kind)).await.unwrap();
    }
    let _sending = dispatcher(&api);
    let taken = receiver.until(2).await;
    let names: Vec<_> = taken.iter().map(|body| body["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["room_started", "participant_joined"]);
    assert_eq!(taken[1]["room"], json!({ "sid": "RM_1", "name": "lobby" }));
    assert_eq!(
        taken[1]["participant"],
        json!({ "sid": "PA_1", "identity": "ada" })
    );
}

#[tokio::test]
async fn a_change_of_configuration_is_told_and_can_be_replayed_under_the_same_id() {
    let api = Api::new().await;
    let receiver = Receiver::start(0).await;
    let id = add(&api, &receiver.url(), &["aic.*"]).await;
    let _sending = dispatcher(&api);
    let ada = api.token("one", "ada");
    api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.ok();
    let first = receiver.until(1).await.remove(0);
    assert_eq!(
        (&first["event"], &first["aic"]["user_id"]),
        (&json!("aic.config.updated"), &json!("ada"))
    );

    let boss = api.operator("one");
    let replay = format!("{WEBHOOKS}/{id}/replay");
    let answer = api
        .post(&boss, &replay, r#"{"from":"2020-01-01T00:00:00Z"}"#)
        .await
        .ok();
    assert_eq!(answer["replayed"], json!(1));
    let again = receiver.until(2).await.remove(1);
    assert_eq!(again["id"], first["id"]);

    let list = format!("{WEBHOOKS}/{id}/deliveries");
    let mut delivered = Value::Null;
    for _ in 0..100 {
        delivered = api.get(&boss, &format!("{list}?state=delivered")).await.ok();
        if delivered["deliveries"].as_array().unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let delivery = delivered["deliveries"][0]["delivery_id"]
        .as_i64()
        .unwrap_or_else(|| panic!("{delivered}"));
    api.post(&boss, &format!("{list}/{delivery}/replay"), "")
        .await
        .ok();
    receiver.until(3).await;
    api.post(&boss, &format!("{list}/999999/replay"), "")
        .await
        .refused(StatusCode::NOT_FOUND, None);
}

#[tokio::test]
async fn a_disabled_webhook_gets_nothing_not_even_what_waited_or_is_replayed_until_it_is_enabled() {
    let api = Api::new().await;
    let (quiet, other) = (Receiver::start(0).await, Receiver::start(0).await);
    let id = add(&api, &quiet.url(), &[]).await;
    add(&api, &other.url(), &[]).await;
    let boss = api.operator("one");
    let uri = format!("{WEBHOOKS}/{id}");
    let switch = async |enabled: bool| {
        let body = json!({ "enabled": enabled }).to_string();
        let json = [("content-type", "application/json")];
        api.ask("PATCH", &boss, &uri, &json, body).await.ok();
    };
    let _sending = dispatcher(&api);
    tell(&api, "a", 1).await;
    quiet.until(1).await;
    switch(false).await;
    let since = r#"{"from":"2020-01-01T00:00:00Z"}"#;
    let replayed = api.post(&boss, &format!("{uri}/replay"), since).await.ok();
    assert_eq!(replayed["replayed"], json!(1));
    tell(&api, "a", 2).await;
    // Once the other has it, both would have had their turn.
    other.until(2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(quiet.taken().len(), 1);
    switch(true).await;
    let taken = quiet.until(2).await;
    let told: Vec<_> = taken.iter().map(|body| &body["aic"]["n"]).collect();
    assert_eq!(
        told,
        [&json!(1), &json!(1)],
        "what happened meanwhile is not told later"
    );
}

#[tokio::test]
async fn what_was_not_sent_before_a_restart_is_sent_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aura.db");
    let path = path.to_str().unwrap();
    let receiver = Receiver::start(0).await;
    {
        let api = Api::on(
            auralink_store::Store::open(path).await.unwrap(),
            auralink_control::RateLimit::default(),
        );
        add(&api, &receiver.url(), &[]).await;
        tell(&api, "a", 1).await;
        tell(&api, "a", 2).await;
        api.state.store.close().await;
    }
    assert!(receiver.taken().is_empty());
    let api = Api::on(
        auralink_store::Store::open(path).await.unwrap(),
        auralink_control::RateLimit::default(),
    );
    let _sending = dispatcher(&api);
    let taken = receiver.until(2).await;
    let told: Vec<_> = taken.iter().map(|body| &body["aic"]["n"]).collect();
    assert_eq!(told, [&json!(1), &json!(2)]);
}

#[tokio::test]
async fn a_receiver_that_is_away_holds_up_nobody_else() {
    let api = Api::new().await;
    let receiver = Receiver::start(0).await;
    // A port that nobody listens on: it was bound and given back.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let away = add(&api, &format!("http://{gone}/"), &[]).await;
    add(&api, &receiver.url(), &[]).await;
    tell(&api, "a", 1).await;
    tell(&api, "a", 2).await;
    let _sending = dispatcher(&api);
    receiver.until(2).await;
    let boss = api.operator("one");
    let waiting = api.get(&boss, &format!("{WEBHOOKS}/{away}")).await.ok();
    assert_eq!(waiting["pending"], json!(2), "{waiting}");
    // The address may hold a secret; what is kept of the error does not.
    let list = api
        .get(&boss, &format!("{WEBHOOKS}/{away}/deliveries"))
        .await
        .text;
    assert!(!list.contains(&gone.port().to_string()), "{list}");
}

#[tokio::test]
async fn a_webhook_knocks_at_no_door_inside_the_operators_network() {
    let receiver = Receiver::start(0).await;
    let api = Api::new().await;
    let inside = add(&api, &receiver.url(), &[]).await;
    let api = api.reaching(Reach::Public);
    let boss = api.operator("one");
    let body = json!({ "url": "http://169.254.169.254/latest/meta-data", "events": [] }).to_string();
    let refused = api.post(&boss, WEBHOOKS, body).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    assert!(
        refused.text.contains("url") && refused.text.contains("link-local"),
        "{}",
        refused.text
    );

    // One that was there before the operator closed the door.
    tell(&api, "a", 1).await;
    let _sending = dispatcher(&api);
    let uri = format!("{WEBHOOKS}/{inside}/deliveries");
    let mut tried = Value::Null;
    for _ in 0..200 {
        tried = api.get(&boss, &uri).await.ok();
        if tried.to_string().contains("loopback") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(tried.to_string().contains("loopback"), "{tried}");
    assert!(receiver.inbox.attempts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn endpoints_are_made_changed_and_removed_and_a_repetition_makes_nothing_new() {
    let api = Api::new().await;
    let boss = api.operator("one");
    let id = add(
        &api,
        "https://example.com/hook",
        &["room_started", "aic.alert.cleared"],
    )
    .await;
    assert_eq!(
        add(
            &api,
            "https://example.com/hook",
            &["aic.alert.cleared", "room_started"]
        )
        .await,
        id
    );
    let uri = format!("{WEBHOOKS}/{id}");
    let seen = api.get(&boss, &uri).await.ok();
    let mut events: Vec<_> = seen["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    events.sort_unstable();
    assert_eq!(events, ["aic.alert.cleared", "room_started"]);
    let json = [("content-type", "application/json")];
    let changed = api
        .ask("PATCH", &boss, &uri, &json, r#"{"enabled":false,"events":[]}"#)
        .await
        .ok();
    assert_eq!(
        (&changed["enabled"], &changed["events"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(
        api.ask("DELETE", &boss, &uri, &[], "").await.status,
        StatusCode::NO_CONTENT
    );
    api.get(&boss, &uri).await.refused(StatusCode::NOT_FOUND, None);
    api.ask("DELETE", &boss, &uri, &[], "")
        .await
        .refused(StatusCode::NOT_FOUND, None);
}
