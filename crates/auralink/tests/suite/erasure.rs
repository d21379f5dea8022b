//! Whoever has themselves erased, during a call or just after it, is in no byte of the database afterwards.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use auralink_client::{AudioSource, Client, ClientOptions};
use auralink_token::{Claims, KeyRing};
use serde_json::json;

use crate::call::{Process, configure, http_client, token, until};

/// How long an empty room is kept before its call is over, and a little more.
const CALL_IS_OVER: Duration = Duration::from_secs(23);

/// Into a room that bears the name of whoever comes.
async fn alone(http: &str, name: &str) -> Client {
    let keys = KeyRing::new([("devkey", "secret")]);
    let hour = Duration::from_secs(3600);
    let claims = Claims::join(name, name);
    let token = keys.mint("devkey", &claims, hour, SystemTime::now()).unwrap();
    let mut options = ClientOptions::new(format!("ws://{http}"), token);
    options.publish = Some(AudioSource::synthetic());
    Client::join(options).await.unwrap()
}

async fn erase(http: &str, name: &str) {
    let url = format!("http://{http}/api/v1/aic/users/{name}");
    let answer = http_client().delete(url).bearer_auth(token(name)).send();
    let answer = answer.await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Files of the folder in which the text stands.
fn bearing(folder: &Path, text: &str) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let bears = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    files
        .filter(|path| bears(&fs::read(path).unwrap()))
        .map(|path| path.display().to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_erased_during_a_call_or_just_after_it_is_in_any_byte_of_the_database_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("aura.db").display().to_string();
    let server = Process::serve(&database);
    let http = &server.address;
    // A webhook keeps events; nobody has to take them.
    let [during, after, other] = ["grace-hopper-1906", "emmy-noether-1882", "mary-somerville-1780"];
    let mut calls = Vec::new();
    for name in [during, after, other] {
        let on = configure(http, name, json!({ "enabled": true })).await;
        assert!(on.status().is_success());
        calls.push(alone(http, name).await);
    }
    until("a user has rows", http, |_| {
        !bearing(folder.path(), "AS_").is_empty()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for name in [during, after, other] {
        assert_ne!(bearing(folder.path(), name), Vec::<String>::new(), "{name}");
    }

    erase(http, during).await;
    let mut calls = calls.into_iter();
    let [first, second, third] = std::array::from_fn(|_| calls.next().unwrap());
    second.leave().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    erase(http, after).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    first.leave().await.unwrap();
    third.leave().await.unwrap();
    tokio::time::sleep(CALL_IS_OVER).await;
    for name in [during, after] {
        assert_eq!(bearing(folder.path(), name), Vec::<String>::new(), "{name}");
    }
    assert_ne!(bearing(folder.path(), other), Vec::<String>::new());
}
