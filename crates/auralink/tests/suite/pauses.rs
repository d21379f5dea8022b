//! A client that pauses (discontinuous transmission), among clients that understand the neural codec.

use std::time::Duration;

use auralink_client::{AtEnd, AudioSource};
use serde_json::json;

use crate::call::{Call, Process, configure, listening, options};

/// Two seconds of a voice and three of a quiet room, again and again, at 48 kHz.
fn talker() -> AudioSource {
    let mut pcm = vec![0.0; 5 * 48_000];
    AudioSource::synthetic().read(0, &mut pcm[..2 * 48_000]);
    let mut state = 7u32;
    for sample in &mut pcm {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample += 0.002 * (state as f32 / u32::MAX as f32 - 0.5);
    }
    AudioSource::from_pcm(pcm, AtEnd::Loop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neural_call_with_pauses_sends_less_and_has_no_gap() {
    let server = Process::serve("memory");
    let http = &server.address;
    // A floor low enough that the neural codec is what serves the listener.
    let wish = json!({ "enabled": true, "mode": "aggressive", "min_quality_score": 0.45 });
    assert!(configure(http, "ada", wish).await.status().is_success());
    let (mut speaker, mut listener) = (options(http, "ada", talker()), listening(http));
    (speaker.aic, listener.aic) = (true, true);
    speaker.own.dtx = true;
    let call = Call::between(speaker, listener).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (spoke, heard) = call.end().await;
    let (sent, track) = (spoke.publish.unwrap(), &heard.tracks[0].stats);
    println!("{sent:?}");
    assert!(track.neural_packets > 40, "{track:?}");
    assert!(sent.silent_packets > 40, "{sent:?}");
    assert!(track.comfort_ms > 5_000.0, "{track:?}");
}
