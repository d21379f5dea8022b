//! `auralink migrate` and `auralink serve` on a real PostgreSQL.

use std::process::{Command, Output};

use crate::call::{Process, http_client, switch_on, token};
use auralink_store::cluster::Cluster;
use serde_json::Value;

fn migrate(database: &str, check: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auralink"));
    command.args(["migrate", "--database", database]);
    if check {
        command.arg("--check");
    }
    command.output().unwrap()
}

async fn config(server: &Process) -> Value {
    let url = format!("http://{}/api/v1/aic/config", server.address);
    let answer = http_client().get(url).bearer_auth(token("ada")).send();
    answer.await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgresql_finds_its_configuration_again_after_it_was_killed() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = cluster.bare_database().await.unwrap();
    let lacking = migrate(&database, true);
    assert!(!lacking.status.success(), "an empty database lacks something");
    let named = String::from_utf8(lacking.stdout).unwrap();
    assert!(named.contains("first tables"), "{named}");
    assert!(migrate(&database, false).status.success());
    assert!(
        migrate(&database, true).status.success(),
        "nothing is lacking now"
    );

    let server = Process::serve(&database);
    assert_eq!(config(&server).await["enabled"], false);
    switch_on(&server.address, "ada").await;
    // As `kill -9` does.
    drop(server);
    let again = config(&Process::serve(&database)).await;
    assert_eq!(
        (&again["enabled"], &again["mode"]),
        (&true.into(), &"adaptive".into()),
        "{again}"
    );
}
