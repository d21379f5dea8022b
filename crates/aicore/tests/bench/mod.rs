//! A core with its service on loopback, a voice, and the small change of gRPC.
// Each test file uses its own part.
#![allow(dead_code, clippy::unwrap_used)]

use std::time::Duration;

use auralink_aicore::grpc::stubs::aic_compression_client::AicCompressionClient;
use auralink_aicore::{GrpcConfig, GrpcServer, Limits, Security, Workers};
use auralink_opus::{Encoder, EncoderConfig};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Rung};
use auralink_wire::proto::v1::{self, compress_stream_request as ask, compress_stream_response as answer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const LEAN: Rung = Rung::Lean(Lean {
    bitrate: Bitrate::kbps(16),
    packet: PacketTime::Ms20,
    fec: false,
});
pub const LEAN_60: Rung = Rung::Lean(Lean {
    bitrate: Bitrate::kbps(12),
    packet: PacketTime::Ms60,
    fec: false,
});
pub const NEURAL: Rung = Rung::Neural(Neural {
    rate: NeuralRate::Kbps6,
    packet: PacketTime::Ms20,
    copies: 2,
});

pub type Client = AicCompressionClient<Channel>;

/// Workers, the service on them, and a client of it.
pub struct Bench {
    pub workers: Workers,
    pub server: GrpcServer,
    pub client: Client,
}

/// Limits that a test machine's load does not reach.
pub fn roomy() -> Limits {
    Limits {
        load: 2.0,
        ..Limits::default()
    }
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(roomy()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let workers = Workers::start(1);
        let config = GrpcConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            security: Security::Loopback,
            limits,
        };
        let server = GrpcServer::start(&config, &workers).await.unwrap();
        let client = Client::new(channel(&server).await);
        Self {
            workers,
            server,
            client,
        }
    }

    /// A compression session of these rungs.
    pub async fn open(&mut self, track: &str, rungs: &[Rung]) -> Result<Session, Status> {
        Session::open(
            &mut self.client,
            track,
            v1::open_compression::Choice::Fixed(rungs.into()),
        )
        .await
    }
}

pub async fn channel(server: &GrpcServer) -> Channel {
    let url = format!("http://{}", server.local_addr());
    Endpoint::from_shared(url).unwrap().connect().await.unwrap()
}

pub fn key(track: &str) -> v1::SessionKey {
    v1::SessionKey {
        call_id: "call".into(),
        track_id: track.into(),
        tenant_id: String::new(),
    }
}

/// A running session.
pub struct Session {
    pub requests: mpsc::Sender<v1::CompressStreamRequest>,
    pub answers: Streaming<v1::CompressStreamResponse>,
    pub opened: v1::Opened,
}

impl Session {
    pub async fn open(
        client: &mut Client,
        track: &str,
        choice: v1::open_compression::Choice,
    ) -> Result<Self, Status> {
        let (requests, waiting) = mpsc::channel(256);
        let open = v1::OpenCompression {
            session: Some(key(track)),
            choice: Some(choice),
            omit_original: false,
        };
        requests.send(message(ask::Message::Open(open))).await.unwrap();
        let mut answers = client
            .compress_stream(ReceiverStream::new(waiting))
            .await?
            .into_inner();
        let first = answers.message().await?.unwrap();
        let Some(answer::Message::Opened(opened)) = first.message else {
            panic!("the first answer is {first:?}");
        };
        Ok(Self {
            requests,
            answers,
            opened,
        })
    }

    pub async fn send(&self, frame: v1::MediaFrame) {
        self.requests
            .send(message(ask::Message::Frame(frame)))
            .await
            .unwrap();
    }

    /// The next answer; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<v1::FrameResult>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.answers.message())
            .await
            .expect("an answer in time")?;
        Ok(next.map(|next| match next.message {
            Some(answer::Message::Result(result)) => result,
            other => panic!("not a result: {other:?}"),
        }))
    }

    pub async fn results(&mut self, count: usize) -> Vec<v1::FrameResult> {
        let mut results = Vec::new();
        while results.len() < count {
            results.push(self.next().await.unwrap().expect("more results"));
        }
        results
    }
}

pub fn message(message: ask::Message) -> v1::CompressStreamRequest {
    v1::CompressStreamRequest {
        message: Some(message),
    }
}

/// 16 kHz sound like a voice.
pub fn voice(samples: usize) -> Vec<f32> {
    let mut phase = 0.0f32;
    (0..samples)
        .map(|n| {
            let pitch = 130.0 + 20.0 * (n as f32 / 1_100.0).sin();
            phase = (phase + pitch / 16_000.0).fract();
            let tone: f32 = (1..16)
                .map(|k| (2.0 * std::f32::consts::PI * k as f32 * phase).sin() / k as f32)
                .sum();
            0.1 * tone * (0.6 + 0.4 * (n as f32 / 2_000.0).sin())
        })
        .collect()
}

/// The voice as Opus packets of 20 ms, with all the time in the world.
pub fn opus(frames: usize) -> Vec<v1::MediaFrame> {
    let config = EncoderConfig {
        bandwidth: None,
        ..EncoderConfig::lean(32_000, 20)
    };
    let mut encoder = Encoder::new(&config).unwrap();
    let pcm = voice(frames * 320);
    pcm.chunks_exact(320)
        .enumerate()
        .map(|(n, pcm)| {
            let mut packet = vec![0; 400];
            let length = encoder.encode(pcm, &mut packet).unwrap();
            packet.truncate(length);
            v1::MediaFrame {
                codec: v1::Codec::Opus as i32,
                payload: packet.into(),
                timestamp: n as u64 * 960,
                max_latency_ms: 200,
                ..Default::default()
            }
        })
        .collect()
}

/// The voice as 16-bit PCM at 16 kHz, 20 ms a frame.
pub fn pcm(frames: usize) -> Vec<v1::MediaFrame> {
    let pcm = voice(frames * 320);
    pcm.chunks_exact(320)
        .enumerate()
        .map(|(n, pcm)| {
            let bytes = pcm
                .iter()
                .flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes());
            v1::MediaFrame {
                codec: v1::Codec::PcmS16le as i32,
                payload: bytes.collect(),
                timestamp: n as u64 * 960,
                format: Some(v1::media_frame::Format::Audio(v1::AudioFormat {
                    sample_rate: 16_000,
                    channels: 1,
                })),
                max_latency_ms: 200,
            }
        })
        .collect()
}

/// The field that a refusal names.
pub fn field(status: &Status) -> String {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("details");
    details.field_violations[0].field.clone()
}
