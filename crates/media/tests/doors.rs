//! Who gets in: tokens, queries and what the refused are told.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, SystemTime};

use auralink_token::Claims;
use peer::{Server, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status, head and body of a plain request.
async fn get(server: &Server, path: &str, head: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: http://page\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn token(server: &Server, change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = Claims::join("room", "anna");
    change(&mut claims);
    server.token(&claims)
}

#[tokio::test]
async fn every_bad_token_is_refused_before_the_upgrade_with_a_text_that_pages_may_read() {
    let server = serve().await;
    let good = token(&server, |_| {});
    let (head, rest) = good.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let expired = server
        .keys
        .mint(
            "devkey",
            &Claims::join("r", "a"),
            Duration::from_secs(1),
            long_ago,
        )
        .unwrap();
    let cases = [
        (401, String::new()),
        (401, "not.a.token".into()),
        (401, format!("{head}.{claims}.AAAA")),
        (401, none),
        (401, expired),
        (401, token(&server, |claims| claims.video.room_join = false)),
        (400, token(&server, |claims| claims.video.room = String::new())),
        (400, token(&server, |claims| claims.identity = "x".repeat(300))),
    ];
    for (expected, token) in cases {
        for path in ["/rtc/v1", "/rtc/v1/validate", "/rtc", "/rtc/validate"] {
            let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let (status, head, body) = get(&server, &format!("{path}?access_token={token}"), upgrade).await;
            assert_eq!(status, expected, "{path} with {token}: {body}");
            assert!(head.contains("access-control-allow-origin: *"), "{head}");
            assert!(!body.is_empty());
        }
    }
}

#[tokio::test]
async fn a_good_token_is_valid_in_the_query_and_as_a_bearer() {
    let server = serve().await;
    let good = token(&server, |_| {});
    let bearer = format!("Authorization: Bearer {good}\r\n");
    for path in ["/rtc/v1/validate", "/rtc/validate"] {
        let (status, head, body) = get(&server, &format!("{path}?access_token={good}"), "").await;
        assert_eq!((status, body.as_str()), (200, "success"));
        assert!(head.contains("access-control-allow-origin: *"));
        assert_eq!(get(&server, path, &bearer).await.0, 200);
    }
}

#[tokio::test]
async fn a_good_token_without_an_upgrade_or_with_a_broken_request_is_a_bad_request() {
    let server = serve().await;
    let good = token(&server, |_| {});
    assert_eq!(
        get(&server, &format!("/rtc/v1?access_token={good}"), "").await.0,
        400
    );
    let (status, _, body) = get(
        &server,
        &format!("/rtc/v1?access_token={good}&join_request=%%%"),
        "",
    )
    .await;
    assert_eq!(status, 400);
    assert!(body.contains("join_request"), "{body}");
}

#[tokio::test]
async fn a_head_of_sixty_kilobytes_is_taken() {
    let server = serve().await;
    let good = token(&server, |_| {});
    let path = format!(
        "/rtc/v1/validate?access_token={good}&join_request={}",
        "A".repeat(60_000)
    );
    assert_eq!(get(&server, &path, "").await.0, 200);
}
