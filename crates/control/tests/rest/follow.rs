//! Two servers on one database agree on every policy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_control::{Follower, RateLimit};
use auralink_store::Store;
use auralink_types::UserKey;
use axum::http::StatusCode;
use serde_json::json;

use crate::api::{Api, CONFIG};

/// Time in which an opt-out has to hold.
const PROMISE: Duration = Duration::from_secs(1);

struct Server {
    api: Arc<Api>,
    follower: Follower,
}

async fn server(folder: &tempfile::TempDir) -> Server {
    let file = folder.path().join("aura.db");
    let store = Store::open(file.to_str().unwrap()).await.unwrap();
    let rate = RateLimit {
        per_second: 100_000,
        burst: 100_000,
    };
    let api = Api::on(store.clone(), rate);
    let (book, turn) = (Arc::clone(&api.state.book), api.state.turn.clone());
    let follower = Follower::start(store, book, vec!["one".into()], turn);
    Server {
        follower: follower.await.unwrap(),
        api: Arc::new(api),
    }
}

async fn within_a_second(what: &str, reached: impl Fn() -> bool) {
    let from = Instant::now();
    while !reached() {
        assert!(from.elapsed() < PROMISE, "{what}: not within a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_said_to_one_server_is_in_the_book_of_the_other_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (server(&folder).await, server(&folder).await);
    let ada = UserKey::new("one", "ada");
    let token = there.api.token("one", "ada");
    let at_first = |what| here.api.state.book.get(&ada).active == what;
    there.api.post(&token, CONFIG, r#"{"enabled":true}"#).await.ok();
    within_a_second("on", || at_first(true)).await;
    there.api.post(&token, CONFIG, r#"{"opt_out":true}"#).await.ok();
    within_a_second("opt-out", || here.api.state.book.get(&ada).opt_out).await;
    there.api.post(&token, CONFIG, r#"{"opt_out":false}"#).await.ok();
    within_a_second("taken back", || at_first(true)).await;

    let boss = there.api.operator("one");
    let off = r#"{"name":"none","arms":[{"name":"a","change":{"enabled":false}},
        {"name":"b","change":{"enabled":false}}]}"#;
    let made = there.api.post(&boss, "/api/v1/aic/experiments", off).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    within_a_second("an experiment", || at_first(false)).await;
    let id = made.body["experiment_id"].as_str().unwrap();
    let end = format!("/api/v1/aic/experiments/{id}/end");
    there.api.post(&boss, &end, "").await.ok();
    within_a_second("its end", || at_first(true)).await;

    let me = "/api/v1/aic/users/ada";
    there.api.ask("DELETE", &token, me, &[], "").await.ok();
    within_a_second("erasure", || at_first(false)).await;
    there.api.post(&token, CONFIG, r#"{"enabled":true}"#).await.ok();
    within_a_second("on again", || at_first(true)).await;
}

#[tokio::test]
async fn a_server_that_starts_later_knows_what_was_said_before() {
    let folder = tempfile::tempdir().unwrap();
    let first = server(&folder).await;
    let token = first.api.token("one", "ada");
    first.api.post(&token, CONFIG, r#"{"enabled":true}"#).await.ok();
    let second = server(&folder).await;
    assert!(second.api.state.book.get(&UserKey::new("one", "ada")).active);
    assert_eq!(second.follower.users(), 1);
}

#[tokio::test]
async fn changes_at_two_servers_at_once_leave_both_books_and_the_store_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let servers = [server(&folder).await, server(&folder).await];
    let posts = (1..=60u32).map(|ms| {
        let api = Arc::clone(&servers[ms as usize % 2].api);
        tokio::spawn(async move {
            let ada = api.token("one", "ada");
            let body = json!({ "max_latency_ms": ms, "opt_out": ms % 3 == 0 }).to_string();
            api.post(&ada, CONFIG, body).await.status
        })
    });
    for post in posts.collect::<Vec<_>>() {
        assert_eq!(post.await.unwrap(), StatusCode::OK);
    }
    tokio::time::sleep(PROMISE).await;
    let token = servers[0].api.token("one", "ada");
    let stored = servers[0].api.get(&token, CONFIG).await.ok();
    for server in &servers {
        let policy = server.api.state.book.get(&UserKey::new("one", "ada"));
        assert_eq!(
            (&stored["max_latency_ms"], &stored["opt_out"]),
            (
                &json!(policy.max_latency.as_millis() as u64),
                &json!(policy.opt_out)
            )
        );
    }
}
