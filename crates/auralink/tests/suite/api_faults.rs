//! Everything that a hostile client may send to the API, while people talk.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use auralink_token::{Claims, KeyRing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;

use crate::call::{Call, Process, codes, configure, http_client, token, until};

/// Tokens that let nobody in.
fn bad_tokens() -> Vec<String> {
    let claims = Claims::join("room", "ada");
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    let ours = KeyRing::new([("devkey", "secret")]);
    let theirs = KeyRing::new([("devkey", "guessed")]);
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let good = ours.mint("devkey", &claims, hour, now).unwrap();
    let body = good.split('.').nth(1).unwrap().to_owned();
    vec![
        String::from("nonsense"),
        ours.mint("devkey", &claims, hour, now - 2 * hour).unwrap(),
        theirs.mint("devkey", &claims, hour, now).unwrap(),
        format!("{}.{body}.", part(r#"{"alg":"none","typ":"JWT"}"#)),
    ]
}

/// Bodies, how they are declared, and what they are answered.
fn bad_bodies() -> Vec<(Vec<u8>, [&'static str; 2], StatusCode)> {
    let json = ["application/json", "identity"];
    let text = |body: &str| (body.as_bytes().to_vec(), json, StatusCode::BAD_REQUEST);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 32 << 20]).unwrap();
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    vec![
        (vec![b' '; 2 << 20], json, StatusCode::PAYLOAD_TOO_LARGE),
        (bomb.finish().unwrap(), ["application/json", "gzip"], unsupported),
        (b"{}".to_vec(), ["text/plain", "identity"], unsupported),
        (b"{\"mode\":\"\xff\"}".to_vec(), json, StatusCode::BAD_REQUEST),
        text(&"[".repeat(20_000)),
        text(r#"{"quality_floor":NaN}"#),
        text(r#"{"quality_floor":1e308}"#),
        text(r#"{"quality_floor":-1}"#),
        text(r#"{"colour":1}"#),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_refused_and_cost_a_running_call_nothing() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::coded(http).await;

    // A hundred clients that never come to the end of their headers.
    let mut slow: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = TcpStream::connect(http).unwrap();
            socket
                .write_all(b"GET /api/v1/aic/config HTTP/1.1\r\nx: ")
                .unwrap();
            socket
        })
        .collect();
    let url = format!("http://{http}/api/v1/aic/config");
    for _ in 0..10 {
        for bad in bad_tokens() {
            let answer = http_client().get(&url).bearer_auth(bad).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
        for (body, [kind, coding], expected) in bad_bodies() {
            let sent = http_client()
                .post(&url)
                .bearer_auth(token("ada"))
                .header("content-type", kind)
                .header("content-encoding", coding)
                .body(body)
                .send()
                .await;
            // Even one that is refused by its length is answered, and not reset.
            let answer = sent.unwrap();
            assert_eq!(answer.status(), expected, "{kind} {coding}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
        }
        let foreign = format!("http://{http}/api/v1/aic/users/ben/export");
        let answer = http_client()
            .get(foreign)
            .bearer_auth(token("ada"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        for socket in &mut slow {
            // Who was hung up on has had the answer to it.
            let _ = socket.write_all(b"x");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The same request again is the same state.
    for _ in 0..3 {
        let again = configure(http, "ada", serde_json::json!({ "enabled": true })).await;
        assert_eq!(again.status(), StatusCode::OK);
    }
    until("the core codes on", http, codes).await;
    call.end().await;
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_signalling_and_read_why_it_refuses() {
    let server = Process::serve("memory");
    for path in ["rtc/v1/validate", "rtc/validate"] {
        let url = format!("http://{}/{path}", server.address);
        let preflight = http_client()
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
            .send()
            .await
            .unwrap();
        assert!(preflight.status().is_success(), "{}", preflight.status());
        let allowed = preflight.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap();
        assert!(allowed.to_lowercase().contains("authorization"), "{allowed}");
        let refused = http_client()
            .get(&url)
            .header("origin", "https://app.example")
            .bearer_auth("nonsense")
            .send()
            .await
            .unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.headers()["access-control-allow-origin"], "*");
        assert_eq!(refused.headers()["x-content-type-options"], "nosniff");
        assert!(!refused.text().await.unwrap().is_empty());
    }
}
