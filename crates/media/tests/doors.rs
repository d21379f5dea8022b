//! Who gets in: tokens, queries and what the refused are told.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, SystemTime};

use auralink_token::Claims;
use peer::{Server, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Status and body of a plain request.
async fn get(server: &Server, path: &str, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn token(server: &Server, change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = Claims::join("room", "anna");
    change(&mut claims);
    server.token(&claims)
}

#[tokio::test]
async fn every_bad_token_is_refused_before_the_upgrade_with_a_text_to_show() {
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
        (400, token(&server, |claims| claims.identity = String::new())),
        (400, token(&server, |claims| claims.identity = "x".repeat(10_000))),
        (400, token(&server, |claims| claims.video.room = "a\nb".into())),
    ];
    for (expected, token) in cases {
        for path in ["/rtc/v1", "/rtc/v1/validate", "/rtc", "/rtc/validate"] {
            let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let (status, body) = get(&server, &format!("{path}?access_token={token}"), upgrade).await;
            assert_eq!(status, expected, "{path} with {token}: {body}");
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
        let (status, body) = get(&server, &format!("{path}?access_token={good}"), "").await;
        assert_eq!((status, body.as_str()), (200, "success"));
        assert_eq!(get(&server, path, &bearer).await.0, 200);
        assert_eq!(
            get(&server, path, &bearer.replace("Bearer", "BEARER")).await.0,
            200
        );
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
    let (status, body) = get(
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
