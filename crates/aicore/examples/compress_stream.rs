//! A client of the AI core: sends a sound file (or a tone) frame by frame and says what came back.
//!
//! ```text
//! auralink core --dev
//! cargo run -p auralink-aicore --example compress_stream -- http://127.0.0.1:7883 [in.wav]
//! ```
#![allow(dead_code, reason = "the test of the examples takes this file in as a module")]

use std::time::Duration;

use auralink_aicore::grpc::stubs::aic_compression_client::AicCompressionClient;
use auralink_wire::proto::v1;
use v1::compress_stream_request::Message as Ask;
use v1::compress_stream_response::Message as Answer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the core made of the sound.
#[derive(Debug, Default)]
pub struct Summary {
    /// Frames sent, each answered.
    pub frames: usize,
    /// Of these, in coded packets.
    pub coded: usize,
    /// Bytes of PCM sent.
    pub bytes_in: usize,
    /// Bytes of packets received.
    pub bytes_out: usize,
}

/// Sends 20 ms frames of 16-bit mono PCM in real time; the core chooses what they become.
pub async fn run(url: &str, pcm: &[i16], sample_rate: u32) -> Result<Summary, Failure> {
    let mut client = AicCompressionClient::connect(url.to_owned()).await?;
    let open = Ask::Open(v1::OpenCompression {
        session: Some(v1::SessionKey {
            call_id: "example".into(),
            track_id: "microphone".into(),
            tenant_id: String::new(),
        }),
        choice: Some(v1::open_compression::Choice::Governed(v1::Governed {
            configuration: Some(v1::Configuration {
                mode: v1::Mode::Adaptive as i32,
                max_latency_ms: Some(100),
                ..Default::default()
            }),
            ..Default::default()
        })),
        omit_original: false,
    });
    let (requests, waiting) = tokio::sync::mpsc::channel(8);
    requests.send(request(open)).await?;
    let stream = tokio_stream::wrappers::ReceiverStream::new(waiting);
    let mut answers = client.compress_stream(stream).await?.into_inner();

    let frames: Vec<v1::MediaFrame> = pcm
        .chunks_exact(sample_rate as usize / 50)
        .enumerate()
        .map(|(n, samples)| v1::MediaFrame {
            codec: v1::Codec::PcmS16le as i32,
            payload: samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            timestamp: n as u64 * 960,
            format: Some(v1::media_frame::Format::Audio(v1::AudioFormat {
                sample_rate,
                channels: 1,
            })),
            max_latency_ms: 0,
        })
        .collect();
    let mut summary = Summary {
        frames: frames.len(),
        bytes_in: frames.iter().map(|frame| frame.payload.len()).sum(),
        ..Summary::default()
    };
    let sending = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        for frame in frames {
            clock.tick().await;
            if requests.send(request(Ask::Frame(frame))).await.is_err() {
                break;
            }
        }
        // Dropping the sender closes this side; the core answers what is left and ends the stream.
    });
    while let Some(answer) = answers.message().await? {
        match answer.message {
            Some(Answer::Opened(opened)) => println!("session {}", opened.session_id),
            Some(Answer::Result(result)) => {
                if let Some(decision) = &result.decision {
                    println!("at {} the core chose {:?}", result.timestamp, decision.rung);
                }
                summary.coded += usize::from(result.coded);
                summary.bytes_out += result
                    .packets
                    .iter()
                    .map(|packet| packet.payload.len())
                    .sum::<usize>();
                if !result.coded {
                    println!("frame at {} came back: {:?}", result.timestamp, result.reason());
                }
            }
            None => {}
        }
    }
    sending.await?;
    Ok(summary)
}

fn request(message: Ask) -> v1::CompressStreamRequest {
    v1::CompressStreamRequest {
        message: Some(message),
    }
}

/// Two seconds of a tone.
pub fn tone() -> Vec<i16> {
    let sample =
        |n: usize| (8_000.0 * (n as f32 * 2.0 * std::f32::consts::PI * 220.0 / 16_000.0).sin()) as i16;
    (0..32_000).map(sample).collect()
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:7883".into());
    let (pcm, rate) = match arguments.next() {
        None => (tone(), 16_000),
        Some(path) => {
            let pcm = auralink_audio::read_all(path.as_ref(), 48_000)?;
            (
                pcm.iter().map(|sample| (sample * 32_768.0) as i16).collect(),
                48_000,
            )
        }
    };
    let summary = run(&url, &pcm, rate).await?;
    println!("{summary:?}");
    Ok(())
}
