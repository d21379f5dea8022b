//! Pages of other origins: what browsers ask before they send, and what they may read of answers.

use auralink_control::open_to;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};

use crate::api::{Api, CONFIG, Got};

/// An API that such pages may call.
async fn opened(origins: &[&str]) -> Api {
    let mut api = Api::new().await;
    let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
    api.app = open_to(api.app, &origins).unwrap();
    api
}

async fn preflight(api: &Api, origin: &str, method: &str) -> Got {
    let request = Request::builder()
        .method("OPTIONS")
        .uri(CONFIG)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization,content-type,if-match",
        );
    api.send(request.body(Body::empty()).unwrap()).await
}

fn names(headers: &HeaderMap, header: &str) -> Vec<String> {
    let text = headers
        .get(header)
        .map(|value| value.to_str().unwrap())
        .unwrap_or_default();
    text.split(',').map(|name| name.trim().to_lowercase()).collect()
}

#[tokio::test]
async fn a_page_may_opt_its_user_out() {
    let api = opened(&["*"]).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let got = preflight(&api, "https://app.example", method).await;
        assert!(got.status.is_success(), "{}", got.status);
        assert_eq!(got.headers["access-control-allow-origin"], "*");
        // A wildcard would not stand for `authorization`.
        let allowed = names(&got.headers, "access-control-allow-headers");
        for name in ["authorization", "content-type", "if-match", "if-none-match"] {
            assert!(
                allowed.iter().any(|allowed| allowed == name),
                "{name} in {allowed:?}"
            );
        }
        let methods = names(&got.headers, "access-control-allow-methods");
        assert!(methods.contains(&method.to_lowercase()), "{methods:?}");
    }
    let headers = [
        ("content-type", "application/json"),
        ("origin", "https://app.example"),
    ];
    let ada = api.token("one", "ada");
    let got = api
        .ask("POST", &ada, CONFIG, &headers, r#"{"opt_out":true}"#)
        .await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text);
    assert_eq!(got.headers["access-control-allow-origin"], "*");
    assert!(names(&got.headers, "access-control-expose-headers").contains(&"etag".to_owned()));
    // Refusals are read by pages as well.
    let got = api.ask("GET", "no token", CONFIG, &headers, Body::empty()).await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED);
    assert_eq!(got.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn only_pages_of_origins_that_were_named_may_read_answers() {
    let api = opened(&["https://app.example", "http://localhost:3000"]).await;
    for origin in ["https://app.example", "http://localhost:3000"] {
        let got = preflight(&api, origin, "POST").await;
        assert_eq!(got.headers["access-control-allow-origin"], origin);
        assert!(names(&got.headers, "vary").contains(&"origin".to_owned()));
    }
    for origin in ["https://evil.example", "https://app.example.evil.example", "null"] {
        let got = preflight(&api, origin, "POST").await;
        assert!(
            !got.headers.contains_key("access-control-allow-origin"),
            "{origin}"
        );
    }
    let none = opened(&[]).await;
    let got = preflight(&none, "https://app.example", "POST").await;
    assert!(!got.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn answers_are_kept_by_nobody_and_are_what_they_say_they_are() {
    let api = opened(&["*"]).await;
    let ada = api.token("one", "ada");
    for (token, path, status) in [
        (ada.as_str(), CONFIG, 200),
        (&ada, "/api/v1/aic/metrics", 200),
        (&ada, "/api/v1/aic/nothing", 404),
        ("none", CONFIG, 401),
        (&ada, "/nowhere", 404),
        (&ada, "/api/openapi.json", 200),
    ] {
        let got = api.get(token, path).await;
        assert_eq!(got.status.as_u16(), status, "{path}");
        assert_eq!(got.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(got.headers["cache-control"], "no-store", "{path}");
    }
    // An ETag still saves reading again.
    let etag = api.get(&ada, CONFIG).await.etag().to_owned();
    let again = api
        .ask("GET", &ada, CONFIG, &[("if-none-match", &etag)], Body::empty())
        .await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}
