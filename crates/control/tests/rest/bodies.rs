//! Bodies and queries that strangers send.

use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::api::{Api, CONFIG};

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
        ("metrics?call_id=RM_%00", "call_id"),
        ("sessions?call_id=%1f", "call_id"),
    ] {
        let got = api.get(&ada, &format!("/api/v1/aic/{query}")).await;
        got.refused(StatusCode::BAD_REQUEST, Some(field));
    }
}

#[tokio::test]
async fn a_whole_number_may_be_written_as_a_float_and_no_other() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    for (body, ms) in [
        (r#"{"max_latency_ms":35.0}"#, 35),
        (r#"{"max_latency_ms":4e1}"#, 40),
    ] {
        assert_eq!(
            api.post(&ada, CONFIG, body).await.ok()["max_latency_ms"],
            json!(ms)
        );
    }
    for body in [
        r#"{"max_latency_ms":35.5}"#,
        r#"{"max_latency_ms":201.0}"#,
        r#"{"max_latency_ms":1e308}"#,
        r#"{"max_latency_ms":-0.5}"#,
    ] {
        api.post(&ada, CONFIG, body)
            .await
            .refused(StatusCode::BAD_REQUEST, Some("max_latency_ms"));
    }
    api.post(&ada, CONFIG, r#"{"max_latency_ms":35.0,"colour":1}"#)
        .await
        .refused(StatusCode::BAD_REQUEST, Some("max_latency_ms"));
}

#[tokio::test]
async fn a_gzip_bomb_is_not_even_opened() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // 32 MiB of spaces in a JSON object shrink to 32 KiB.
    bomb.write_all(b"{\"enabled\":true").unwrap();
    bomb.write_all(&vec![b' '; 32 << 20]).unwrap();
    bomb.write_all(b"}").unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, identity"] {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        let got = api.ask("POST", &ada, CONFIG, &headers, bomb.clone()).await;
        got.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, None);
    }
    // Sent as what it is not, it is no text.
    api.post(&ada, CONFIG, bomb)
        .await
        .refused(StatusCode::BAD_REQUEST, None);
    assert_eq!(api.get(&ada, CONFIG).await.body["config_id"], Value::Null);
}

#[tokio::test]
async fn a_body_that_never_says_its_length_is_cut_off_at_the_same_size() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let chunks =
        futures_util::stream::iter((0..200).map(|_| Ok::<_, std::convert::Infallible>(vec![b' '; 1024])));
    let got = api.post(&ada, CONFIG, Body::from_stream(chunks)).await;
    got.refused(StatusCode::PAYLOAD_TOO_LARGE, None);
}

#[tokio::test]
async fn a_body_that_trickles_in_for_ever_is_given_up() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let drops = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::convert::Infallible>(" "), ()))
    });
    let got = api.post(&ada, CONFIG, Body::from_stream(drops)).await;
    got.refused(StatusCode::REQUEST_TIMEOUT, None);
}

#[tokio::test]
async fn every_other_body_is_checked_as_strictly() {
    let api = Api::new().await;
    let boss = api.operator("one");
    let webhooks = "/api/v1/aic/webhooks";
    let experiments = "/api/v1/aic/experiments";
    let arms = |second: &str| format!(r#"{{"name":"e","arms":[{{"name":"a"}},{second}]}}"#);
    for (uri, body, field) in [
        (webhooks, "{}".into(), "url"),
        (webhooks, r#"{"url":"http://2*"}"#.into(), "url"),
        (
            webhooks,
            format!(
                r#"{{"url":"http://example.com/","events":[{}]}}"#,
                [r#""aic.*""#; 33].join(",")
            ),
            "events",
        ),
        (webhooks, r#"{"url":"ftp://example.com/"}"#.into(), "url"),
        (
            webhooks,
            r#"{"url":"http://user:pass@example.com/"}"#.into(),
            "url",
        ),
        (webhooks, r#"{"url":"/relative"}"#.into(), "url"),
        (
            webhooks,
            format!(r#"{{"url":"http://example.com/{}"}}"#, "x".repeat(3000)),
            "url",
        ),
        (
            webhooks,
            r#"{"url":"http://example.com/","events":["party"]}"#.into(),
            "events[0]",
        ),
        (
            webhooks,
            r#"{"url":"http://example.com/","events":["call.started"]}"#.into(),
            "events[0]",
        ),
        (
            webhooks,
            r#"{"url":"http://example.com/","colour":1}"#.into(),
            "colour",
        ),
        (
            webhooks,
            r#"{"url":"http://example.com/","enabled":"yes"}"#.into(),
            "enabled",
        ),
        (experiments, "{}".into(), "name"),
        (experiments, r#"{"name":"e","arms":[]}"#.into(), "arms"),
        (
            experiments,
            r#"{"name":"","arms":[{"name":"a"},{"name":"b"}]}"#.into(),
            "name",
        ),
        (experiments, arms(r#"{"name":"a"}"#), "arms[1].name"),
        (experiments, arms(r#"{"name":"b","weight":0}"#), "arms[1].weight"),
        (
            experiments,
            arms(r#"{"name":"b","change":{"opt_out":false}}"#),
            "arms[1].change.opt_out",
        ),
        (
            experiments,
            arms(r#"{"name":"b","change":{"max_latency_ms":999}}"#),
            "arms[1].change.max_latency_ms",
        ),
        (
            experiments,
            arms(r#"{"name":"b","change":{"mode":{"off":null}}}"#),
            "arms[1].change.mode",
        ),
        (experiments, arms(r#"["b",1,false,{}]"#), "arms[1]"),
        (
            experiments,
            r#"{"name":"e","unit":"planet","arms":[{"name":"a"},{"name":"b"}]}"#.into(),
            "unit",
        ),
        (
            experiments,
            r#"{"name":"e","primary":"luck","arms":[{"name":"a"},{"name":"b"}]}"#.into(),
            "primary",
        ),
    ] {
        let shown: String = body.chars().take(80).collect();
        let got = api.post(&boss, uri, body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{shown}: {}", got.text);
        assert_eq!(got.body["field"], json!(field), "{shown}: {}", got.text);
    }
    assert_eq!(api.get(&boss, webhooks).await.ok()["webhooks"], json!([]));
    assert_eq!(api.get(&boss, experiments).await.ok()["experiments"], json!([]));
}
