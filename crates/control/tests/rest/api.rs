//! An API of its own for each test, and what comes back from it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use auralink_control::{Clock, ControlState, InstalledModel, Now, RateLimit, Reach, Turn, router};
use auralink_engine::PolicyBook;
use auralink_store::{MetricWriter, Store};
use auralink_token::{Claims, KeyRing};
use auralink_types::{
    Media, MetricRow, NetworkClass, Prediction, QualityMetric, Reason, SavingsBasis, UserKey,
};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub const CONFIG: &str = "/api/v1/aic/config";

pub struct Api {
    pub app: Router,
    pub state: ControlState,
    /// What is added to the wall clock, in seconds.
    pub step: Arc<Mutex<i64>>,
}

pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Api {
    pub async fn new() -> Self {
        Self::with_rate(RateLimit {
            per_second: 100_000,
            burst: 100_000,
        })
        .await
    }

    pub async fn with_rate(rate: RateLimit) -> Self {
        Self::on(Store::open("memory").await.unwrap(), rate)
    }

    /// The same with webhooks kept to such addresses.
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.state.reach = reach;
        self.app = router(self.state.clone());
        self
    }

    pub fn on(store: Store, rate: RateLimit) -> Self {
        let step = Arc::new(Mutex::new(0_i64));
        let stepped = Arc::clone(&step);
        let state = ControlState {
            store,
            keys: Arc::new(KeyRing::new([("one", "secret-one"), ("two", "secret-two")])),
            book: Arc::new(PolicyBook::new()),
            turn: Turn::default(),
            models: vec![InstalledModel {
                model_type: "encodec".into(),
                model_version: "aic-speech-1".into(),
                media: Media::Audio,
                sha256: None,
            }],
            price_per_gb: 0.09,
            reach: Reach::Anywhere,
            rate,
            clock: Clock::from_fn(move || {
                let seconds = *stepped.lock().unwrap();
                let by = Duration::from_secs(seconds.unsigned_abs());
                let wall = SystemTime::now();
                Now {
                    wall: if seconds < 0 { wall - by } else { wall + by },
                    steady: Instant::now(),
                }
            }),
        };
        Self {
            app: router(state.clone()),
            state,
            step,
        }
    }

    pub fn token(&self, tenant: &str, user: &str) -> String {
        self.mint(tenant, &Claims::join("lobby", user))
    }

    pub fn operator(&self, tenant: &str) -> String {
        self.operator_named(tenant, "")
    }

    pub fn operator_named(&self, tenant: &str, user: &str) -> String {
        let mut claims = Claims {
            identity: user.into(),
            ..Claims::default()
        };
        claims.video.room_list = true;
        self.mint(tenant, &claims)
    }

    /// A token of whoever controls one room.
    pub fn room_admin(&self, tenant: &str, user: &str, room: &str) -> String {
        let mut claims = Claims::join(room, user);
        claims.video.room_admin = true;
        self.mint(tenant, &claims)
    }

    pub fn mint(&self, tenant: &str, claims: &Claims) -> String {
        let hour = Duration::from_secs(3600);
        self.state
            .keys
            .mint(tenant, claims, hour, SystemTime::now())
            .unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Got {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Got {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub async fn ask(
        &self,
        method: &str,
        token: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Got {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, token: &str, uri: &str) -> Got {
        self.ask("GET", token, uri, &[], Body::empty()).await
    }

    pub async fn post(&self, token: &str, uri: &str, body: impl Into<Body>) -> Got {
        self.ask("POST", token, uri, &[("content-type", "application/json")], body)
            .await
    }

    pub async fn write(&self, rows: Vec<MetricRow>) {
        let writer = MetricWriter::start(self.state.store.clone());
        for row in rows {
            writer.push(row);
        }
        assert!(writer.flush().await);
    }
}

impl Got {
    pub fn refused(&self, status: StatusCode, field: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.body["status"], json!(status.as_u16()));
        for name in ["type", "title", "detail"] {
            assert!(self.body[name].is_string(), "{name} in {}", self.body);
        }
        assert!(
            self.body["type"].as_str().unwrap().starts_with("/api/problems/"),
            "{}",
            self.body
        );
        assert_eq!(
            self.body.get("field").and_then(Value::as_str),
            field,
            "{}",
            self.body
        );
    }

    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.body
    }

    pub fn etag(&self) -> &str {
        self.headers[header::ETAG].to_str().unwrap()
    }
}

pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

pub fn row(tenant: &str, user: &str, session: &str, ago_s: i64) -> MetricRow {
    MetricRow {
        owner: UserKey::new(tenant, user),
        call_id: format!("RM_{user}").into(),
        session_id: session.into(),
        track_id: "TR_1".into(),
        ts_us: now_us() - ago_s * 1_000_000,
        media: Media::Audio,
        original_bandwidth_kbps: 120.0,
        compressed_bandwidth_kbps: 24.0,
        savings_basis: SavingsBasis::Measured,
        inference_latency_ms: Some(0.4),
        inference_latency_p99_ms: Some(0.9),
        quality_score: Some(0.9),
        quality_metric: QualityMetric::EstimatedPesqWb,
        psnr_db: None,
        prediction: Some(Prediction {
            quality_score: 0.82,
            compression_ratio: 0.79,
            confidence: 0.6,
        }),
        model_used: "lean-12k-60ms".into(),
        frames: 50,
        fallback_triggered: true,
        fallback_reason: Some(Reason::Late),
        network_class: NetworkClass::Good,
    }
}
