//! The example client does what its text says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
#[path = "../examples/compress_stream.rs"]
mod compress_stream;

use bench::Bench;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_example_gets_every_frame_answered_and_most_of_them_smaller() {
    let bench = Bench::start().await;
    let url = format!("http://{}", bench.server.local_addr());
    let summary = compress_stream::run(&url, &compress_stream::tone(), 16_000)
        .await
        .unwrap();
    assert_eq!(summary.frames, 100);
    assert!(summary.coded > 50, "{summary:?}");
    assert!(summary.bytes_out * 5 < summary.bytes_in, "{summary:?}");
}
