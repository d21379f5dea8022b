use auralink_token::Claims;
use auralink_types::{Event, EventKind, Objects};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::api::{Api, CONFIG, now_us, row};

#[tokio::test]
async fn nobody_sees_past_himself_and_no_operator_past_his_tenant() {
    let api = Api::new().await;
    api.write(vec![
        row("one", "ada", "AS_1", 1),
        row("one", "bob", "AS_2", 1),
        row("two", "eve", "AS_3", 1),
    ])
    .await;
    let (ada, boss) = (api.token("one", "ada"), api.operator("one"));
    for path in [
        "config",
        "metrics",
        "sessions/AS_2",
        "stats/bandwidth-savings",
        "models",
    ] {
        let got = api.get(&ada, &format!("/api/v1/aic/{path}?user_id=bob")).await;
        got.refused(StatusCode::FORBIDDEN, Some("user_id"));
    }
    let posted = api
        .post(&ada, &format!("{CONFIG}?user_id=bob"), r#"{"enabled":true}"#)
        .await;
    posted.refused(StatusCode::FORBIDDEN, Some("user_id"));
    assert_eq!(api.state.book.version(), 0);

    let owners = async |token: &str, query: &str| {
        let got = api.get(token, &format!("/api/v1/aic/metrics{query}")).await;
        let rows = got.body["metrics"].as_array().unwrap().clone();
        let mut owners: Vec<_> = rows
            .iter()
            .map(|row| row["user_id"].as_str().unwrap().to_owned())
            .collect();
        owners.sort();
        owners
    };
    assert_eq!(owners(&ada, "").await, ["ada"]);
    assert_eq!(owners(&boss, "").await, ["ada", "bob"]);
    assert_eq!(owners(&boss, "?user_id=bob").await, ["bob"]);
    assert_eq!(owners(&boss, "?user_id=eve").await, [""; 0]);
    assert_eq!(owners(&ada, "?call_id=RM_bob").await, [""; 0]);

    for (token, session, status) in [
        (&ada, "AS_1", StatusCode::OK),
        (&ada, "AS_2", StatusCode::NOT_FOUND),
        (&ada, "AS_3", StatusCode::NOT_FOUND),
        (&boss, "AS_2", StatusCode::OK),
        (&boss, "AS_3", StatusCode::NOT_FOUND),
    ] {
        let got = api.get(token, &format!("/api/v1/aic/sessions/{session}")).await;
        assert_eq!(got.status, status, "{session}");
    }
    // An operator without an identity has to say whose configuration he means.
    api.get(&boss, CONFIG)
        .await
        .refused(StatusCode::BAD_REQUEST, Some("user_id"));
}

#[tokio::test]
async fn what_is_the_tenants_is_for_its_operators_alone() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let experiment = r#"{"name":"e","arms":[{"name":"a"},{"name":"b"}]}"#;
    let webhook = r#"{"url":"http://127.0.0.1:9/"}"#;
    let boss = api.operator("one");
    let made = api.post(&boss, "/api/v1/aic/experiments", experiment).await.body;
    let id = made["experiment_id"].as_str().unwrap();
    let hook = api.post(&boss, "/api/v1/aic/webhooks", webhook).await.body;
    let hook = hook["webhook_id"].as_str().unwrap();
    let routes = [
        ("GET", "experiments".to_owned(), ""),
        ("POST", "experiments".into(), experiment),
        ("GET", format!("experiments/{id}"), ""),
        ("POST", format!("experiments/{id}/end"), ""),
        ("GET", "webhooks".into(), ""),
        ("POST", "webhooks".into(), webhook),
        ("GET", format!("webhooks/{hook}"), ""),
        ("PATCH", format!("webhooks/{hook}"), r#"{"enabled":false}"#),
        ("DELETE", format!("webhooks/{hook}"), ""),
        ("GET", format!("webhooks/{hook}/deliveries"), ""),
        (
            "POST",
            format!("webhooks/{hook}/replay"),
            r#"{"from":"2026-01-01T00:00:00Z"}"#,
        ),
        ("POST", format!("webhooks/{hook}/deliveries/1/replay"), ""),
        ("GET", "audit".into(), ""),
    ];
    let other = api.operator("two");
    let moderator = api.room_admin("one", "mod", "lobby");
    for (method, path, body) in routes {
        let uri = format!("/api/v1/aic/{path}");
        let headers = [("content-type", "application/json")];
        for token in [&ada, &moderator] {
            let got = api.ask(method, token, &uri, &headers, body).await;
            assert_eq!(got.status, StatusCode::FORBIDDEN, "{method} {path}: {}", got.text);
        }
        // Another tenant's operator finds nothing there.
        if path.contains(id) || path.contains(hook) {
            let got = api.ask(method, &other, &uri, &headers, body).await;
            assert_eq!(got.status, StatusCode::NOT_FOUND, "{method} {path}: {}", got.text);
        }
    }
    assert_eq!(
        api.get(&boss, &format!("/api/v1/aic/webhooks/{hook}")).await.ok()["enabled"],
        json!(true)
    );
    assert_eq!(
        api.get(&boss, &format!("/api/v1/aic/experiments/{id}"))
            .await
            .ok()["state"],
        json!("running")
    );
}

#[tokio::test]
async fn who_controls_a_room_sees_its_calls_sessions_and_rows_and_rules_nobody() {
    let api = Api::new().await;
    let happened = |room: &str, user: &str, kind| Event {
        ts_us: now_us(),
        tenant: "one".into(),
        call_id: format!("RM_{user}").into(),
        room: room.into(),
        kind,
        objects: Objects::default(),
    };
    for (user, room) in [("ada", "lobby"), ("bob", "office")] {
        let joined = EventKind::ParticipantJoined {
            user: user.into(),
            participant: format!("PA_{user}").into(),
        };
        api.state
            .store
            .record(&happened(room, user, joined))
            .await
            .unwrap();
    }
    api.write(vec![row("one", "ada", "AS_1", 1), row("one", "bob", "AS_2", 1)])
        .await;
    let mut nobody = Claims::default();
    (nobody.video.room_admin, nobody.video.room) = (true, "lobby".into());
    for token in [api.room_admin("one", "mod", "lobby"), api.mint("one", &nobody)] {
        for read in [
            "calls",
            "sessions",
            "metrics",
            "metrics?call_id=RM_bob",
            "sessions/AS_1",
        ] {
            let got = api.get(&token, &format!("/api/v1/aic/{read}")).await;
            assert_eq!(got.status, StatusCode::OK, "{read}: {}", got.text);
            assert!(
                !got.text.contains("bob") && !got.text.contains("AS_2"),
                "{read}: {}",
                got.text
            );
            assert_eq!(
                got.text.contains("ada"),
                !read.contains("RM_bob"),
                "{read}: {}",
                got.text
            );
        }
        api.get(&token, "/api/v1/aic/sessions/AS_2")
            .await
            .refused(StatusCode::NOT_FOUND, None);
        for (method, path) in [
            ("GET", "config?user_id=ada"),
            ("POST", "config?user_id=ada"),
            ("GET", "users/ada/export"),
            ("DELETE", "users/ada"),
            ("GET", "metrics?user_id=ada"),
        ] {
            let uri = format!("/api/v1/aic/{path}");
            let json = [("content-type", "application/json")];
            let got = api.ask(method, &token, &uri, &json, r#"{"enabled":true}"#).await;
            got.refused(StatusCode::FORBIDDEN, Some("user_id"));
        }
        let figures = api.get(&token, "/api/v1/aic/performance/summary").await.ok();
        assert_eq!(figures["sessions"], json!(0), "figures are a user's own");
    }
    let log = api.get(&api.operator("one"), "/api/v1/aic/audit").await.ok();
    let looks: Vec<_> = log["entries"].as_array().unwrap().iter().collect();
    for actor in ["mod", "one"] {
        assert!(
            looks.iter().any(|look| look["actor"] == actor
                && look["action"] == "read.calls"
                && look["detail"]["room"] == "lobby"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn a_user_is_told_how_many_were_in_their_call_and_not_who() {
    let api = Api::new().await;
    for user in ["ada", "bob"] {
        let event = Event {
            ts_us: now_us(),
            tenant: "one".into(),
            call_id: "RM_1".into(),
            room: "lobby".into(),
            kind: EventKind::ParticipantJoined {
                user: user.into(),
                participant: format!("PA_{user}").into(),
            },
            objects: Objects::default(),
        };
        api.state.store.record(&event).await.unwrap();
    }
    let got = api.get(&api.token("one", "ada"), "/api/v1/aic/calls").await;
    assert_eq!(got.body["calls"][0]["participants"], json!(2), "{}", got.text);
    assert!(!got.text.contains("bob"), "{}", got.text);
}

#[tokio::test]
async fn an_id_that_nothing_can_have_is_not_found() {
    let api = Api::new().await;
    let boss = api.operator("one");
    for path in [
        "sessions/%00",
        "experiments/%00",
        "webhooks/a%00",
        "webhooks/%00/deliveries",
    ] {
        let got = api.get(&boss, &format!("/api/v1/aic/{path}")).await;
        got.refused(StatusCode::NOT_FOUND, None);
    }
    let replay = "/api/v1/aic/webhooks/%00/deliveries/1/replay";
    api.post(&boss, replay, "")
        .await
        .refused(StatusCode::NOT_FOUND, None);
    let ack = "/api/v1/aic/alerts/%00/ack";
    api.post(&boss, ack, "")
        .await
        .refused(StatusCode::NOT_FOUND, None);
}

#[tokio::test]
async fn no_read_shows_a_foreign_row() {
    let api = Api::new().await;
    api.write(vec![
        row("one", "ada", "AS_1", 1),
        row("one", "bob", "AS_2", 1),
        row("two", "eve", "AS_3", 1),
    ])
    .await;
    let reads = [
        "config",
        "metrics",
        "sessions",
        "calls",
        "performance/summary",
        "performance/series",
        "models/performance",
        "alerts",
        "stats/bandwidth-savings",
        "stats/quality-distribution",
    ];
    for (token, foreign) in [
        (api.token("one", "ada"), ["bob", "eve", "AS_2", "AS_3"]),
        (api.operator_named("two", "op"), ["ada", "bob", "AS_1", "AS_2"]),
    ] {
        for prefix in ["/api/v1/aic", "/api/v1/dashboard/aic"] {
            for read in reads {
                let got = api.get(&token, &format!("{prefix}/{read}")).await;
                assert_eq!(got.status, StatusCode::OK, "{read}: {}", got.text);
                for name in foreign {
                    // In quotes: "adaptive" is nobody's name.
                    assert!(
                        !got.text.contains(&format!("\"{name}\"")),
                        "{read} shows {name}: {}",
                        got.text
                    );
                }
                // One of three seconds is the caller's own.
                if let Some(seconds) = got.body.pointer("/traffic/seconds") {
                    assert_eq!(seconds, &json!(1), "{read}");
                }
                if let Some(seconds) = got.body.get("measured_seconds") {
                    assert_eq!(seconds, &json!(1), "{read}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_refused_with_those_it_has() {
    let api = Api::new().await;
    for (method, path) in [
        ("DELETE", "config"),
        ("POST", "metrics"),
        ("PATCH", "experiments"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/aic/{path}"));
        let got = api.send(request.body(Body::empty()).unwrap()).await;
        got.refused(StatusCode::METHOD_NOT_ALLOWED, None);
        let allowed = got
            .headers
            .get(header::ALLOW)
            .map(|value| value.to_str().unwrap().to_owned());
        assert!(
            allowed.as_deref().is_some_and(|allowed| allowed.contains("GET")),
            "{path}: {allowed:?}"
        );
    }
    let _: Value = api
        .get(&api.token("one", "ada"), "/api/problems/invalid-field")
        .await
        .ok();
}
