//! What a peer connection tells the server.

use std::time::Duration;

use auralink_types::Bitrate;
use str0m::bwe::BweKind;
use str0m::channel::ChannelId;
use str0m::media::Mid;
use str0m::rtp::RtpPacket;
use str0m::{Event, IceConnectionState};

use super::SessionError;

/// A report on one line of one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineReport {
    /// The line.
    pub mid: Mid,
    /// Share of packets lost.
    pub loss: f32,
    /// Round trip, where the report tells.
    pub rtt: Option<Duration>,
    /// Interarrival jitter in RTP clock ticks.
    pub jitter: u32,
}

/// What a session tells the server.
#[derive(Debug)]
pub enum SessionEvent {
    /// ICE and DTLS are up, for the first time or again.
    Connected,
    /// The transport is gone for now.
    Lost,
    /// A packet of media.
    Packet(Box<RtpPacket>),
    /// A data channel opened.
    ChannelOpen(ChannelId, String),
    /// A data channel closed.
    ChannelClosed(ChannelId),
    /// Room for more on a data channel.
    ChannelDrained,
    /// A message on a data channel.
    Data(ChannelId, Vec<u8>),
    /// The subscriber needs a keyframe on that line.
    Keyframe(Mid),
    /// How the network treats what is sent on a line, as its receiver reports.
    Downlink(LineReport),
    /// How it treats what arrives on a line, as reported to its sender.
    Uplink(LineReport),
    /// What the path to the peer can carry, by the peer's own estimate or by its feedback.
    Capacity(Bitrate),
    /// The peer closed.
    Closed,
    /// The session failed.
    Failed(SessionError),
}

impl SessionEvent {
    /// What of it concerns the server.
    pub(super) fn from_rtc(event: Event) -> Option<Self> {
        Some(match event {
            Event::Connected
            | Event::IceConnectionStateChange(
                IceConnectionState::Connected | IceConnectionState::Completed,
            ) => Self::Connected,
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => Self::Lost,
            Event::RtpPacket(packet) => Self::Packet(Box::new(packet)),
            Event::ChannelOpen(id, label) => Self::ChannelOpen(id, label),
            Event::ChannelData(data) => Self::Data(data.id, data.data),
            Event::ChannelClose(id) => Self::ChannelClosed(id),
            Event::ChannelBufferedAmountLow(_) => Self::ChannelDrained,
            Event::KeyframeRequest(request) => Self::Keyframe(request.mid),
            Event::MediaEgressStats(stats) => Self::Downlink(LineReport {
                mid: stats.mid,
                loss: stats.loss?,
                rtt: stats.rtt,
                jitter: stats.remote.map_or(0, |remote| remote.jitter),
            }),
            Event::MediaIngressStats(stats) => Self::Uplink(LineReport {
                mid: stats.mid,
                loss: stats.loss?,
                rtt: stats.rtt,
                jitter: stats.jitter,
            }),
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. } | BweKind::Remb { estimate, .. }) => {
                Self::Capacity(Bitrate::bps(estimate.as_u64()))
            }
            Event::Closed => Self::Closed,
            _ => return None,
        })
    }
}
