//! `auralink media --core`: a call whose AI core is another process, which is killed in mid-call and comes back.

use crate::call::{Call, Process, codes, fell_back, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_survives_the_kill_of_its_core_without_a_gap_and_is_coded_again_when_it_is_back() {
    let core = Process::core("127.0.0.1:0");
    let url = format!("http://{}", core.address);
    let arguments = [
        "media",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--database",
        "memory",
        "--core",
        &url,
    ];
    let media = Process::start(&arguments, "http");
    let http = &media.address;
    let call = Call::coded(http).await;
    let address = core.address.clone();
    // As `kill -9` does.
    drop(core);
    let lost = |rows: &[serde_json::Value]| fell_back(rows, "core_unreachable") && !codes(rows);
    until("bypass", http, lost).await;
    let _core = Process::core(&address);
    until("the core codes again", http, codes).await;
    call.end().await;
}
