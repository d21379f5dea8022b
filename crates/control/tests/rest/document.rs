use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;

use crate::api::Api;

#[tokio::test]
async fn the_document_is_served_as_it_is_committed_and_names_every_path_once() {
    let api = Api::new().await;
    let served = api
        .send(Request::get("/api/openapi.json").body(Body::empty()).unwrap())
        .await;
    assert_eq!(served.status, StatusCode::OK);
    let committed = include_str!("../../../../docs/openapi.json");
    assert!(
        served.text == committed,
        "docs/openapi.json is stale; `./x openapi` writes it anew"
    );
    let document = served.ok();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "config",
        "metrics",
        "sessions/{session_id}",
        "performance/summary",
        "models",
        "models/performance",
        "alerts",
        "alerts/{alert_id}/ack",
        "stats/bandwidth-savings",
        "stats/quality-distribution",
        "experiments",
        "experiments/{experiment_id}",
    ] {
        assert!(paths.contains_key(&format!("/api/v1/aic/{path}")), "{path}");
    }
    let mut ids = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            let responses = operation["responses"].as_object().unwrap();
            if operation.get("security").is_some() {
                for code in ["400", "401", "403", "429", "503"] {
                    assert!(responses.contains_key(code), "{method} {path} {code}");
                }
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operation's id is its own");
    no_dangling(&document, &document);
}

fn no_dangling(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            fields.values().for_each(|value| no_dangling(document, value));
        }
        Value::Array(elements) => elements.iter().for_each(|value| no_dangling(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn the_docs_can_be_browsed_without_another_host() {
    let api = Api::new().await;
    for path in [
        "/api/docs/",
        "/api/docs/swagger-ui.css",
        "/api/docs/swagger-ui-bundle.js",
        "/api/docs/swagger-initializer.js",
    ] {
        let got = api.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        let pages = path.ends_with('/') || path.ends_with("initializer.js");
        assert!(!pages || !got.text.contains("https://"), "{path}: {}", got.text);
    }
}
