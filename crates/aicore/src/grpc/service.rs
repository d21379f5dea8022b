//! The service's methods: requests are believed, passed on, answered.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{NetworkAnalyzer, NetworkSample};
use auralink_wire::proto::v1;
use auralink_wire::proto::{HintSource, HintsWanted, SessionKey, reports as network_reports};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::compress::{self, Compression};
use super::decompress::{self, Decompression};
use super::one_shot::OneShot;
use super::post::Post;
use super::relay::{Life, Relay};
use super::stubs::aic_compression_server::AicCompression;
use super::{peer, results, status};
use crate::admission::{Admission, Owner};
use crate::advice::{self, AudioNow};
use crate::pool::Pool;

/// Time a caller has to say what session it wants.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// The service.
pub(super) struct Service {
    pool: Arc<Pool>,
    post: Arc<Post>,
    one_shot: OneShot,
    admission: Admission,
    over: CancellationToken,
}

impl Service {
    pub(super) fn new(pool: Arc<Pool>, admission: Admission, over: CancellationToken) -> Self {
        let post = Post::start();
        Self {
            one_shot: OneShot::new(pool.clone(), post.clone()),
            pool,
            post,
            admission,
            over,
        }
    }

    fn life(
        &self,
        peer: Arc<str>,
        key: SessionKey,
        decodes: bool,
        timeout: Option<Duration>,
    ) -> Result<Life, Status> {
        let owner = Owner { peer, key, decodes };
        let ticket = self
            .admission
            .admit(owner, &self.pool.stats())
            .map_err(status::denied)?;
        Ok(Life {
            ticket,
            timeout,
            over: self.over.clone(),
        })
    }
}

/// Opening a session, up to its first answer.
impl Service {
    async fn open_compression(
        &self,
        request: Request<Streaming<v1::CompressStreamRequest>>,
    ) -> Result<Relay<Compression>, Status> {
        let peer = peer::name(&request)?;
        let timeout = peer::timeout(&request)?;
        let mut inbound = request.into_inner();
        let opening =
            compress::opening(first(&mut inbound).await?).map_err(|error| status::invalid(&error))?;
        let life = self.life(peer, opening.key.clone(), false, timeout)?;
        let (listener, arriving) = self.post.reports();
        let (session, opened) = Compression::open(Instant::now(), self.pool.clone(), listener, &opening)
            .map_err(status::refused)?;
        let first = v1::CompressStreamResponse {
            message: Some(v1::compress_stream_response::Message::Opened(opened)),
        };
        Ok(Relay::new(session, inbound, arriving, first, life))
    }

    async fn open_decompression(
        &self,
        request: Request<Streaming<v1::DecompressStreamRequest>>,
    ) -> Result<Relay<Decompression>, Status> {
        let peer = peer::name(&request)?;
        let timeout = peer::timeout(&request)?;
        let mut inbound = request.into_inner();
        let opening =
            decompress::opening(first(&mut inbound).await?).map_err(|error| status::invalid(&error))?;
        let life = self.life(peer, opening.key.clone(), true, timeout)?;
        let (listener, arriving) = self.post.reports();
        let (session, opened) =
            Decompression::open(&self.pool, listener, &opening).map_err(status::refused)?;
        let first = v1::DecompressStreamResponse {
            message: Some(v1::decompress_stream_response::Message::Opened(opened)),
        };
        Ok(Relay::new(session, inbound, arriving, first, life))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The first message, which may take its time but not all of it.
async fn first<T>(inbound: &mut Streaming<T>) -> Result<Option<T>, Status> {
    match tokio::time::timeout(OPEN_WITHIN, inbound.message()).await {
        Ok(message) => message.map_err(status::unreadable),
        Err(_) => Err(Status::deadline_exceeded("no message opened the session")),
    }
}

#[tonic::async_trait]
impl AicCompression for Service {
    async fn compress_frame(
        &self,
        request: Request<v1::CompressFrameRequest>,
    ) -> Result<Response<v1::CompressFrameResponse>, Status> {
        peer::name(&request)?;
        let result = self.one_shot.compress(request.into_inner()).await?;
        Ok(Response::new(v1::CompressFrameResponse { result: Some(result) }))
    }

    type CompressStreamStream = Answers<v1::CompressStreamResponse>;

    async fn compress_stream(
        &self,
        request: Request<Streaming<v1::CompressStreamRequest>>,
    ) -> Result<Response<Self::CompressStreamStream>, Status> {
        let relay = self.admission.counting(self.open_compression(request).await)?;
        Ok(Response::new(Box::pin(relay)))
    }

    async fn decompress_frame(
        &self,
        request: Request<v1::DecompressFrameRequest>,
    ) -> Result<Response<v1::DecompressFrameResponse>, Status> {
        peer::name(&request)?;
        let answer = self.one_shot.decompress(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    type DecompressStreamStream = Answers<v1::DecompressStreamResponse>;

    async fn decompress_stream(
        &self,
        request: Request<Streaming<v1::DecompressStreamRequest>>,
    ) -> Result<Response<Self::DecompressStreamStream>, Status> {
        let relay = self.admission.counting(self.open_decompression(request).await)?;
        Ok(Response::new(Box::pin(relay)))
    }

    async fn get_compression_hints(
        &self,
        request: Request<v1::GetCompressionHintsRequest>,
    ) -> Result<Response<v1::GetCompressionHintsResponse>, Status> {
        peer::name(&request)?;
        let wanted = HintsWanted::try_from(request.into_inner()).map_err(|error| status::invalid(&error))?;
        let policy = wanted.config.policy();
        let answer = match &wanted.source {
            HintSource::Audio { wire, packet, stereo } => {
                let model = self.pool.model().map(|model| model.id().0);
                let neural = model.is_some_and(|model| wanted.models.contains(&model));
                let source = AudioNow {
                    wire: *wire,
                    packet: *packet,
                    stereo: *stereo,
                };
                let advice = advice::audio(Instant::now(), &policy, wanted.network, neural, &source);
                v1::GetCompressionHintsResponse {
                    decision: Some(results::decision(advice.choice)),
                    hints: Some(results::audio_hints(&advice)),
                }
            }
            HintSource::Video { shape, codecs } => {
                let capacity = wanted.network.and_then(|report| report.capacity);
                let advice = advice::video(Instant::now(), &policy, capacity, shape, codecs);
                v1::GetCompressionHintsResponse {
                    decision: Some(results::no_transcoder()),
                    hints: Some(results::video_hints(&advice)),
                }
            }
        };
        Ok(Response::new(answer))
    }

    async fn analyze_network_conditions(
        &self,
        request: Request<v1::AnalyzeNetworkConditionsRequest>,
    ) -> Result<Response<v1::AnalyzeNetworkConditionsResponse>, Status> {
        peer::name(&request)?;
        let samples = network_reports(request.into_inner()).map_err(|error| status::invalid(&error))?;
        let base = Instant::now();
        let start = samples.first().map_or(Duration::ZERO, |report| report.at);
        let mut analyzer = NetworkAnalyzer::default();
        for report in samples {
            let since = report.at.saturating_sub(start);
            let sample = NetworkSample {
                loss: report.loss,
                rtt: report.rtt,
                jitter: report.jitter,
                ..NetworkSample::default()
            };
            // Reports further apart than clocks reach are as good as fresh.
            analyzer.handle_sample(base.checked_add(since).unwrap_or(base), sample);
            if report.capacity.is_some() {
                analyzer.set_capacity(report.capacity);
            }
        }
        let network = analyzer.network();
        Ok(Response::new(v1::AnalyzeNetworkConditionsResponse {
            network_class: v1::NetworkClass::from(network.class) as i32,
            loss: network.loss.into(),
            capacity_bps: network.capacity.map(|rate| rate.as_bps()),
        }))
    }

    async fn health_check(
        &self,
        request: Request<v1::HealthCheckRequest>,
    ) -> Result<Response<v1::HealthCheckResponse>, Status> {
        use v1::health_check_response::Status as Health;
        peer::name(&request)?;
        let stats = self.pool.stats();
        let limits = self.admission.limits();
        let (sessions, refused) = self.admission.counts();
        let max = limits.sessions.min(stats.streams_max);
        let health = if self.admission.is_draining() {
            Health::Draining
        } else if stats.workers == 0 {
            Health::NotServing
        } else if sessions >= max || stats.load >= limits.load {
            Health::Full
        } else {
            Health::Serving
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let models = self.pool.model().map(|model| {
            let manifest = model.manifest();
            v1::ModelInfo {
                model_id: model.id().0.into(),
                name: manifest.name.clone(),
                sha256: manifest.sha256.clone(),
                sample_rate: auralink_codec::SAMPLE_RATE,
            }
        });
        Ok(Response::new(v1::HealthCheckResponse {
            status: health as i32,
            version: env!("CARGO_PKG_VERSION").into(),
            capacity: Some(v1::Capacity {
                sessions: count(sessions),
                sessions_max: count(max),
                workers: count(stats.workers),
                workers_wanted: count(stats.workers_wanted),
                load: stats.load,
                load_max: limits.load,
                frames_late: stats.frames_late,
                frames_coded: stats.frames_coded,
                sessions_refused: refused,
                workers_replaced: stats.replaced,
            }),
            models: models.into_iter().collect(),
        }))
    }
}
