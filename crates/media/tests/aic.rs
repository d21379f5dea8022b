//! AIC in a running call with stock clients: what the answer asks, and that a veto takes it back within a second.
#![allow(clippy::unwrap_used)]

mod peer;

use std::time::{Duration, Instant};

use auralink_types::{MetricRow, UserKey};
use peer::aic::{SILENCE, config, serve_aic};
use peer::{Peer, until};
use str0m::media::MediaKind;

/// The promise is a second; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The part of the last answer about the line of that track.
fn line_of(peer: &Peer, cid: &str) -> String {
    let mid = format!("a=mid:{}\r\n", peer.sending[cid]);
    let answer = peer.answers.last().unwrap();
    answer
        .split("m=")
        .find(|part| part.contains(&mid))
        .unwrap()
        .to_owned()
}

fn is_steered(line: &str) -> bool {
    let first = line.split(' ').nth(3).unwrap().to_owned();
    let opus_first = line.contains(&format!("a=rtpmap:{first} opus"));
    opus_first
        && line.contains("a=ptime:")
        && !line.contains("transport-cc")
        && !line.contains("ssrc-audio-level")
}

#[tokio::test]
async fn a_stock_publisher_is_steered_by_the_answer_and_set_free_within_a_second_of_his_veto() {
    let mut aic = serve_aic().await;
    let mut anna = Peer::join(&aic.server, "anna").await;
    let mut bert = Peer::join(&aic.server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    assert!(!is_steered(&line_of(&anna, "mic")), "AIC is off: a plain SFU");

    let mut timestamp = 0;
    for (opt_out, steered) in [(false, true), (true, false)] {
        aic.set("anna", config(opt_out));
        let from = Instant::now();
        while is_steered(&line_of(&anna, "mic")) != steered {
            anna.send("mic", timestamp, SILENCE, false).await;
            timestamp += 960;
            anna.step().await;
            bert.step().await;
            assert!(from.elapsed() < PATIENCE, "opt-out {opt_out} has no effect");
        }
        println!("opt-out {opt_out} obeyed after {:?}", from.elapsed());
    }
    let mut seen = Vec::new();
    while let Ok(row) = aic.rows.try_recv() {
        seen.push(row);
    }
    assert!(seen.iter().all(|row| row.owner == UserKey::new("devkey", "anna")));
}

#[tokio::test]
async fn who_vetoed_aic_gets_the_senders_packets_byte_for_byte() {
    let aic = serve_aic().await;
    aic.set("anna", config(false));
    aic.set("bert", config(true));
    let mut anna = Peer::join(&aic.server, "anna").await;
    let mut bert = Peer::join(&aic.server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    let mut timestamp = 0;
    while bert.heard.is_empty() {
        anna.send("mic", timestamp, SILENCE, false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 960 * 500, "nothing arrives");
    }
    bert.heard.clear();
    let mut sent = Vec::new();
    for i in 0..100u8 {
        let payload = vec![0xf8, i, i, i];
        anna.send("mic", timestamp, &payload, false).await;
        timestamp += 960;
        sent.push(payload);
        anna.step().await;
        bert.step().await;
    }
    let last = sent.last().unwrap().clone();
    until("everything is heard", &mut [&mut anna, &mut bert], |p| {
        p[1].heard.iter().any(|heard| heard.payload == last)
    })
    .await;
    let from = bert
        .heard
        .iter()
        .position(|heard| heard.payload == sent[0])
        .expect("the first is there");
    let heard: Vec<Vec<u8>> = bert.heard[from..]
        .iter()
        .map(|heard| heard.payload.clone())
        .collect();
    assert_eq!(heard, sent);
}

#[tokio::test]
async fn what_the_few_packets_of_a_pause_cost_is_in_a_row_and_a_track_that_sends_nothing_has_none() {
    let mut aic = serve_aic().await;
    aic.set("anna", config(false));
    let mut anna = Peer::join(&aic.server, "anna").await;
    let mut bert = Peer::join(&aic.server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    // One byte is what libopus writes in a pause, with DTX.
    let (talk, pause) = ((SILENCE, 960), (&[0xf8][..], 4_800));
    let mut timestamp = 0;
    for ((payload, ticks), sound) in [(talk, true), (pause, false)] {
        let from = Instant::now();
        let row = loop {
            anna.send("mic", timestamp, payload, false).await;
            timestamp += ticks;
            anna.step().await;
            bert.step().await;
            let row = aic.rows.try_recv().ok();
            // The first row of talk may be too early for a score.
            let fits = |row: &MetricRow| (row.frames > 0) == sound && row.quality_score.is_some() == sound;
            if let Some(row) = row.filter(fits) {
                break row;
            }
            assert!(from.elapsed() < PATIENCE, "no row, sound and score {sound}");
        };
        assert!(row.original_bandwidth_kbps > 0.0 && row.compressed_bandwidth_kbps > 0.0);
    }
    while aic.rows.try_recv().is_ok() {}
    // In a room on two shards each part has a session.
    let (from, mut late) = (Instant::now(), Vec::new());
    while from.elapsed() < Duration::from_millis(3500) {
        anna.step().await;
        bert.step().await;
        while let Ok(row) = aic.rows.try_recv() {
            assert!(row.compressed_bandwidth_kbps > 0.0, "{row:?}");
            assert!(!late.contains(&row.session_id), "a row of nothing: {row:?}");
            late.push(row.session_id);
        }
    }
}

#[tokio::test]
async fn a_listeners_veto_during_the_call_sets_the_publisher_free_as_well() {
    let aic = serve_aic().await;
    aic.set("anna", config(false));
    let mut anna = Peer::join(&aic.server, "anna").await;
    let mut bert = Peer::join(&aic.server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    assert!(
        is_steered(&line_of(&anna, "mic")),
        "AIC was on before the first answer"
    );
    let mut timestamp = 0;
    while bert.heard.is_empty() {
        anna.send("mic", timestamp, SILENCE, false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(timestamp < 960 * 500, "nothing arrives");
    }
    aic.set("bert", config(true));
    // The veto comes in a pause of the speech: no packet is there to bring it to the tap.
    let pause = Instant::now();
    while pause.elapsed() < Duration::from_millis(400) {
        anna.step().await;
        bert.step().await;
    }
    let from = Instant::now();
    while line_of(&anna, "mic").contains("a=ptime:") {
        anna.send("mic", timestamp, SILENCE, false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
        assert!(from.elapsed() < PATIENCE, "the listener's veto has no effect");
    }
}

#[tokio::test]
async fn what_is_encrypted_from_end_to_end_is_nobodys_to_touch() {
    let mut aic = serve_aic().await;
    aic.set("anna", config(false));
    let mut anna = Peer::join(&aic.server, "anna").await;
    let mut bert = Peer::join(&aic.server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    let gcm = livekit_protocol::encryption::Type::Gcm;
    anna.publish_as("mic", MediaKind::Audio, gcm).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    assert!(!line_of(&anna, "mic").contains("a=ptime:"));
    let mut timestamp = 0;
    let start = Instant::now();
    // Long enough for a row to be due.
    while start.elapsed() < Duration::from_millis(2500) {
        anna.send("mic", timestamp, b"\xf8 ciphertext", false).await;
        timestamp += 960;
        anna.step().await;
        bert.step().await;
    }
    assert!(!bert.heard.is_empty());
    assert!(bert.heard.iter().all(|heard| heard.payload == b"\xf8 ciphertext"));
    assert!(
        aic.rows.try_recv().is_err(),
        "a track that AIC doesn't touch saves nothing"
    );
}

#[tokio::test]
async fn a_stock_publishers_rate_is_capped_by_the_answer_once_their_own_was_heard_and_given_back_with_their_veto()
 {
    let aic = serve_aic().await;
    aic.set("anna", config(false));
    let mut anna = Peer::join(&aic.server, "anna").await;
    let mut bert = Peer::join(&aic.server, "bert").await;
    until("both are connected", &mut [&mut anna, &mut bert], |p| {
        p.iter().all(|p| p.connected)
    })
    .await;
    anna.publish("mic", MediaKind::Audio).await;
    until("the track is answered", &mut [&mut anna, &mut bert], |p| {
        p[0].answers.len() > 1
    })
    .await;
    let first = line_of(&anna, "mic");
    assert!(is_steered(&first) && !first.contains("b="), "{first}");
    // 60 ms of Opus at 46 kbps.
    let mut talk = vec![0x58];
    talk.resize(345, 7);
    let mut timestamp = 0;
    for (opt_out, capped) in [(false, true), (true, false)] {
        aic.set("anna", config(opt_out));
        let from = Instant::now();
        while line_of(&anna, "mic").contains("b=TIAS:") != capped {
            anna.send("mic", timestamp, &talk, false).await;
            timestamp += 2880;
            anna.step().await;
            bert.step().await;
            assert!(from.elapsed() < PATIENCE, "opt-out {opt_out} has no effect");
        }
        let line = line_of(&anna, "mic");
        assert_eq!(line.contains("maxaveragebitrate="), capped, "{line}");
    }
}
