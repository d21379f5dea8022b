//! The API as its callers see it, on a database in memory.
#![allow(clippy::unwrap_used)] // a test may panic

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auralink_control::{ControlState, router};
use auralink_engine::PolicyBook;
use auralink_store::{MetricWriter, Store};
use auralink_token::{Claims, KeyRing};
use auralink_types::{Media, MetricRow, NetworkClass, QualityMetric, Reason, SavingsBasis, UserKey};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const CONFIG: &str = "/api/v1/aic/config";

struct Api {
    app: Router,
    state: ControlState,
}

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    async fn new() -> Self {
        let state = ControlState {
            store: Store::open("memory").await.unwrap(),
            keys: Arc::new(KeyRing::new([("one", "secret-one"), ("two", "secret-two")])),
            book: Arc::new(PolicyBook::new()),
            model_version: "aic-speech-1".into(),
            price_per_gb: 0.09,
        };
        Self {
            app: router(state.clone()),
            state,
        }
    }

    fn token(&self, tenant: &str, user: &str) -> String {
        let claims = Claims::join("lobby", user);
        let hour = Duration::from_secs(3600);
        self.state
            .keys
            .mint(tenant, &claims, hour, SystemTime::now())
            .unwrap()
    }

    fn operator(&self, tenant: &str) -> String {
        let mut claims = Claims::default();
        claims.video.room_list = true;
        let hour = Duration::from_secs(3600);
        self.state
            .keys
            .mint(tenant, &claims, hour, SystemTime::now())
            .unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Got {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Got {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn get(&self, token: &str, uri: &str) -> Got {
        let request = Request::get(uri).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, token: &str, uri: &str, body: impl Into<Body>) -> Got {
        let request = Request::post(uri)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn write(&self, rows: Vec<MetricRow>) {
        let writer = MetricWriter::start(self.state.store.clone());
        rows.into_iter().for_each(|row| writer.push(row));
        assert!(writer.flush().await);
    }
}

impl Got {
    fn refused(&self, status: StatusCode, field: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.body["status"], json!(status.as_u16()));
        for name in ["type", "title", "detail"] {
            assert!(self.body[name].is_string(), "{name} in {}", self.body);
        }
        assert_eq!(
            self.body.get("field").and_then(Value::as_str),
            field,
            "{}",
            self.body
        );
    }
}

fn row(tenant: &str, user: &str, session: &str, ago_s: i64) -> MetricRow {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    MetricRow {
        owner: UserKey::new(tenant, user),
        call_id: format!("RM_{user}").into(),
        session_id: session.into(),
        track_id: "TR_1".into(),
        ts_us: now - ago_s * 1_000_000,
        media: Media::Audio,
        original_bandwidth_kbps: 120.0,
        compressed_bandwidth_kbps: 24.0,
        savings_basis: SavingsBasis::Measured,
        inference_latency_ms: Some(0.4),
        inference_latency_p99_ms: Some(0.9),
        quality_score: Some(0.9),
        quality_metric: QualityMetric::EstimatedPesqWb,
        psnr_db: None,
        model_used: "lean-12k-60ms".into(),
        frames: 50,
        fallback_triggered: true,
        fallback_reason: Some(Reason::Late),
        network_class: NetworkClass::Good,
    }
}

#[tokio::test]
async fn a_user_who_never_set_anything_has_the_defaults_and_no_id() {
    let api = Api::new().await;
    let got = api.get(&api.token("one", "ada"), CONFIG).await;
    assert_eq!(got.status, StatusCode::OK);
    let expected = json!({
        "config_id": null, "user_id": "ada", "enabled": false, "mode": "adaptive",
        "target_compression_ratio": 0.8, "max_latency_ms": 20, "model_type": "encodec",
        "min_quality_score": 0.85, "enable_predictive_compression": true,
        "enable_perceptual_optimization": true, "opt_out": false, "model_version": "aic-speech-1",
        "created_at": null, "updated_at": null,
    });
    assert_eq!(got.body, expected);
}

#[tokio::test]
async fn a_change_is_stored_and_reaches_the_book() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let change =
        json!({ "enabled": true, "mode": "aggressive", "min_quality_score": 0.5, "max_latency_ms": null });
    let posted = api.post(&ada, CONFIG, change.to_string()).await;
    assert_eq!(posted.status, StatusCode::OK, "{}", posted.body);
    assert_eq!(posted.body["target_compression_ratio"], json!(0.9));
    assert_eq!(posted.body["min_quality_score"], json!(0.5));
    assert_eq!(posted.body["config_id"].as_str().unwrap().len(), 36);
    assert!(posted.body["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(api.get(&ada, CONFIG).await.body, posted.body);
    let policy = api.state.book.get(&UserKey::new("one", "ada"));
    assert!(policy.active);
    assert_eq!(policy.target, 0.9);
    assert!(!api.state.book.get(&UserKey::new("two", "ada")).active);

    let again = api.post(&ada, CONFIG, r#"{"max_latency_ms":5}"#).await;
    assert_eq!(again.body["config_id"], posted.body["config_id"]);
    assert_eq!(again.body["mode"], json!("aggressive"));
}

#[tokio::test]
async fn every_bad_body_is_refused_by_name_and_changes_nothing() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let before = api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.body;
    let version = api.state.book.version();
    let deep = |open: &str| open.repeat(10_000);
    let table: Vec<(Vec<u8>, Option<&str>)> = vec![
        (br#"{"colour":1}"#.to_vec(), Some("colour")),
        (br#"{"enabled":"yes"}"#.to_vec(), Some("enabled")),
        (br#"{"enabled":1}"#.to_vec(), Some("enabled")),
        (br#"{"mode":"turbo"}"#.to_vec(), Some("mode")),
        (br#"{"mode":3}"#.to_vec(), Some("mode")),
        (br#"{"mode":{"adaptive":null}}"#.to_vec(), Some("mode")),
        (
            br#"{"target_compression_ratio":1.01}"#.to_vec(),
            Some("target_compression_ratio"),
        ),
        (
            br#"{"target_compression_ratio":-0.1}"#.to_vec(),
            Some("target_compression_ratio"),
        ),
        (
            br#"{"target_compression_ratio":"0.5"}"#.to_vec(),
            Some("target_compression_ratio"),
        ),
        (
            br#"{"target_compression_ratio":NaN}"#.to_vec(),
            Some("target_compression_ratio"),
        ),
        (
            br#"{"target_compression_ratio":1e999}"#.to_vec(),
            Some("target_compression_ratio"),
        ),
        (br#"{"min_quality_score":2}"#.to_vec(), Some("min_quality_score")),
        (
            br#"{"min_quality_score":Infinity}"#.to_vec(),
            Some("min_quality_score"),
        ),
        (br#"{"max_latency_ms":0}"#.to_vec(), Some("max_latency_ms")),
        (br#"{"max_latency_ms":201}"#.to_vec(), Some("max_latency_ms")),
        (br#"{"max_latency_ms":-1}"#.to_vec(), Some("max_latency_ms")),
        (br#"{"max_latency_ms":20.5}"#.to_vec(), Some("max_latency_ms")),
        (
            br#"{"max_latency_ms":4294967297}"#.to_vec(),
            Some("max_latency_ms"),
        ),
        (br#"{"model_type":""}"#.to_vec(), Some("model_type")),
        (br#"{"model_type":"a b"}"#.to_vec(), Some("model_type")),
        (br#"{"model_type":[]}"#.to_vec(), Some("model_type")),
        (br#"{"opt_out":{}}"#.to_vec(), Some("opt_out")),
        (
            br#"{"enabled":false,"max_latency_ms":999}"#.to_vec(),
            Some("max_latency_ms"),
        ),
        (
            format!(r#"{{"enabled":{}"#, deep("[")).into_bytes(),
            Some("enabled"),
        ),
        (
            format!(r#"{{"colour":{}"#, deep("[")).into_bytes(),
            Some("colour"),
        ),
        (deep("[").into_bytes(), None),
        (deep("{\"a\":").into_bytes(), Some("a")),
        (b"".to_vec(), None),
        (b"[]".to_vec(), None),
        (b"[true]".to_vec(), None),
        (b"null".to_vec(), None),
        (b"{} {}".to_vec(), None),
        (b"{\"model_type\":\"\xff\xfe\"}".to_vec(), None),
    ];
    for (body, field) in table {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let got = api.post(&ada, CONFIG, body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{shown}: {}", got.body);
        got.refused(StatusCode::BAD_REQUEST, field);
    }
    let twice = api
        .post(&ada, CONFIG, r#"{"enabled":true,"enabled":false}"#)
        .await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    for broken in [
        r#"{"enabled":false"#,
        r#"{"enabled":fal"#,
        r#"{"enabled":false,}"#,
    ] {
        assert_eq!(
            api.post(&ada, CONFIG, broken).await.status,
            StatusCode::BAD_REQUEST
        );
    }
    assert_eq!(api.get(&ada, CONFIG).await.body, before);
    assert_eq!(api.state.book.version(), version);
}

#[tokio::test]
async fn a_body_too_long_or_of_another_type_is_refused_and_changes_nothing() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let padded = |length: usize| format!("{{\"enabled\":true{}}}", " ".repeat(length));
    for length in [64 * 1024, 2 * 1024 * 1024] {
        let got = api.post(&ada, CONFIG, padded(length)).await;
        got.refused(StatusCode::PAYLOAD_TOO_LARGE, None);
    }
    for kind in [
        None,
        Some("text/plain"),
        Some("application/xml"),
        Some("application/jsonx"),
    ] {
        let mut request = Request::post(CONFIG).header(header::AUTHORIZATION, format!("Bearer {ada}"));
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let got = api.send(request.body(Body::from(padded(0))).unwrap()).await;
        got.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, None);
    }
    assert_eq!(api.get(&ada, CONFIG).await.body["config_id"], Value::Null);
    assert_eq!(api.state.book.version(), 0);
    assert_eq!(
        api.post(&ada, CONFIG, padded(60_000)).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_answered() {
    let api = Api::new().await;
    let day = Duration::from_secs(86_400);
    let claims = Claims::join("lobby", "ada");
    let past = SystemTime::now() - day;
    let expired = api
        .state
        .keys
        .mint("one", &claims, Duration::from_secs(60), past)
        .unwrap();
    let others = KeyRing::new([("one", "another secret"), ("three", "s")]);
    let forged = others.mint("one", &claims, day, SystemTime::now()).unwrap();
    let unknown = others.mint("three", &claims, day, SystemTime::now()).unwrap();
    let good = api.token("one", "ada");
    let headers = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer x.y.z".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {expired}")),
        Some(format!("Bearer {forged}")),
        Some(format!("Bearer {unknown}")),
    ];
    for value in headers {
        for (method, path) in [
            ("GET", "config"),
            ("POST", "config"),
            ("GET", "metrics"),
            ("GET", "sessions/AS_1"),
            ("GET", "stats/bandwidth-savings"),
            ("GET", "models"),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("/api/v1/aic/{path}"))
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(value) = &value {
                request = request.header(header::AUTHORIZATION, value);
            }
            let got = api
                .send(request.body(Body::from(r#"{"enabled":true}"#)).unwrap())
                .await;
            got.refused(StatusCode::UNAUTHORIZED, None);
            let challenge = got.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer"));
        }
    }
    assert_eq!(api.get(&good, CONFIG).await.body["enabled"], json!(false));
    let nobody = api.token("one", "");
    api.get(&nobody, CONFIG)
        .await
        .refused(StatusCode::FORBIDDEN, None);
}

#[tokio::test]
async fn an_opt_out_reaches_the_book_and_only_the_user_takes_it_back() {
    let api = Api::new().await;
    let (ada, boss) = (api.token("one", "ada"), api.operator("one"));
    let key = UserKey::new("one", "ada");
    let named = format!("{CONFIG}?user_id=ada");
    let enabled = api.post(&boss, &named, r#"{"enabled":true}"#).await;
    assert_eq!(
        (enabled.status, &enabled.body["user_id"]),
        (StatusCode::OK, &json!("ada"))
    );
    assert!(api.state.book.get(&key).active);

    api.post(&ada, CONFIG, r#"{"opt_out":true}"#).await;
    let policy = api.state.book.get(&key);
    assert!(policy.opt_out && !policy.active);

    let lifted = api
        .post(&boss, &named, r#"{"opt_out":false,"enabled":true}"#)
        .await;
    lifted.refused(StatusCode::FORBIDDEN, Some("opt_out"));
    assert!(api.state.book.get(&key).opt_out);
    assert_eq!(api.get(&ada, CONFIG).await.body["opt_out"], json!(true));

    api.post(&ada, CONFIG, r#"{"opt_out":false}"#).await;
    assert!(api.state.book.get(&key).active);
}

#[tokio::test]
async fn changes_at_the_same_time_leave_book_and_store_agreed() {
    let api = Arc::new(Api::new().await);
    let ada = api.token("one", "ada");
    let posts = (1..=40u32).map(|ms| {
        let (api, ada) = (Arc::clone(&api), ada.clone());
        tokio::spawn(async move {
            let body = json!({ "max_latency_ms": ms, "opt_out": ms % 2 == 0 }).to_string();
            api.post(&ada, CONFIG, body).await.status
        })
    });
    for post in posts.collect::<Vec<_>>() {
        assert_eq!(post.await.unwrap(), StatusCode::OK);
    }
    let stored = api.get(&ada, CONFIG).await.body;
    let policy = api.state.book.get(&UserKey::new("one", "ada"));
    assert_eq!(
        stored["max_latency_ms"],
        json!(policy.max_latency.as_millis() as u64)
    );
    assert_eq!(stored["opt_out"], json!(policy.opt_out));
}

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
async fn a_metric_row_carries_every_name_and_pages_follow_each_other() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    api.write((0..5).map(|ago| row("one", "ada", "AS_1", ago)).collect())
        .await;
    let mut uri = "/api/v1/aic/metrics?limit=2&call_id=RM_ada".to_owned();
    let mut seen = Vec::new();
    loop {
        let got = api.get(&ada, &uri).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.body);
        seen.extend(got.body["metrics"].as_array().unwrap().clone());
        let Some(next) = got.body["next_cursor"].as_str() else {
            break;
        };
        uri = format!("/api/v1/aic/metrics?limit=2&call_id=RM_ada&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    let first = seen[0].as_object().unwrap();
    for name in [
        "metric_id",
        "call_id",
        "session_id",
        "track_id",
        "user_id",
        "ts",
        "media",
        "original_bandwidth_kbps",
        "compressed_bandwidth_kbps",
        "compression_ratio",
        "bandwidth_savings_percent",
        "savings_basis",
        "inference_latency_ms",
        "inference_latency_p99_ms",
        "quality_score",
        "quality_metric",
        "psnr_db",
        "model_used",
        "fallback_triggered",
        "fallback_reason",
        "network_class",
    ] {
        assert!(first.contains_key(name), "{name}");
    }
    assert_eq!(first["fallback_reason"], json!("late"));
    assert!((first["bandwidth_savings_percent"].as_f64().unwrap() - 80.0).abs() < 1e-9);
    let times: Vec<_> = seen
        .iter()
        .map(|row| row["ts"].as_str().unwrap().to_owned())
        .collect();
    // From the third on, before the first: two rows of five are left in between.
    let uri = format!("/api/v1/aic/metrics?from={}&to={}", times[2], times[0]);
    assert_eq!(
        api.get(&ada, &uri).await.body["metrics"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_session_and_the_savings_add_up() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let mut rows: Vec<_> = (0..10).map(|ago| row("one", "ada", "AS_1", ago)).collect();
    rows.push(row("one", "ada", "AS_old", 40 * 86_400));
    api.write(rows).await;
    let session = api.get(&ada, "/api/v1/aic/sessions/AS_1").await.body;
    assert_eq!(session["frames"], json!(500));
    assert_eq!(session["original_bytes"], json!(150_000));
    assert_eq!(session["compressed_bytes"], json!(30_000));
    assert_eq!(
        (&session["fallbacks"], &session["ended_at"]),
        (&json!(10), &Value::Null)
    );

    let savings = api
        .get(&ada, "/api/v1/aic/stats/bandwidth-savings?days=7")
        .await
        .body;
    assert!((savings["total_saved_mb"].as_f64().unwrap() - 0.12).abs() < 1e-9);
    assert!((savings["total_saved_gb"].as_f64().unwrap() - 0.00012).abs() < 1e-12);
    assert!((savings["avg_savings_percent"].as_f64().unwrap() - 80.0).abs() < 1e-9);
    assert!((savings["estimated_cost_savings_usd"].as_f64().unwrap() - 0.00012 * 0.09).abs() < 1e-12);
    assert_eq!(
        (&savings["total_frames"], &savings["period_days"]),
        (&json!(500), &json!(7))
    );
    let longer = api
        .get(&ada, "/api/v1/aic/stats/bandwidth-savings?days=60")
        .await
        .body;
    assert_eq!(longer["total_frames"], json!(550));
    let nothing = api
        .get(&api.token("one", "bob"), "/api/v1/aic/stats/bandwidth-savings")
        .await
        .body;
    assert_eq!(
        (&nothing["avg_savings_percent"], &nothing["period_days"]),
        (&json!(0.0), &json!(30))
    );
}

#[tokio::test]
async fn a_query_that_means_nothing_is_refused_by_name() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    for (query, field) in [
        ("metrics?limit=0", "limit"),
        ("metrics?limit=1001", "limit"),
        ("metrics?limit=-1", "limit"),
        ("metrics?limit=many", "limit"),
        ("metrics?from=yesterday", "from"),
        ("metrics?to=1790000000", "to"),
        ("metrics?cursor=zz", "cursor"),
        ("metrics?call=RM_1", "call"),
        ("metrics?limit=1&limit=2", "limit"),
        ("config?user_id=", "user_id"),
        ("stats/bandwidth-savings?days=0", "days"),
        ("stats/bandwidth-savings?days=99999999999", "days"),
        ("models?x=1", "x"),
    ] {
        let got = api.get(&ada, &format!("/api/v1/aic/{query}")).await;
        got.refused(StatusCode::BAD_REQUEST, Some(field));
    }
}

#[tokio::test]
async fn models_health_and_wrong_turns() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let models = api.get(&ada, "/api/v1/aic/models").await.body;
    assert_eq!(models["models"][0]["model_version"], json!("aic-speech-1"));
    let health = api
        .send(Request::get("/healthz").body(Body::empty()).unwrap())
        .await;
    assert_eq!(health.status, StatusCode::OK);
    api.get(&ada, "/api/v1/aic/nothing")
        .await
        .refused(StatusCode::NOT_FOUND, None);
    let request = Request::delete(CONFIG).body(Body::empty()).unwrap();
    api.send(request)
        .await
        .refused(StatusCode::METHOD_NOT_ALLOWED, None);

    api.state.store.close().await;
    let health = api
        .send(Request::get("/healthz").body(Body::empty()).unwrap())
        .await;
    health.refused(StatusCode::SERVICE_UNAVAILABLE, None);
    api.get(&ada, CONFIG)
        .await
        .refused(StatusCode::SERVICE_UNAVAILABLE, None);
}
