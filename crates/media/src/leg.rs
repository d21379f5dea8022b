//! One leg of a track: to whom it goes, resolved when the line was agreed, and how its packets are numbered.

use std::time::Instant;

use str0m::format::PayloadParams;
use str0m::media::{Mid, Pt};
use str0m::rtp::Ssrc;

use crate::participant::Pid;
use crate::session::Session;
use crate::subscription::Subscription;
use crate::video::{VideoLeg, Wish};

/// Ticks of Opus per second.
const AUDIO_CLOCK: u64 = 48_000;

/// The way of a track to one subscriber.
#[derive(Debug)]
pub struct Leg {
    /// The subscriber.
    pub to: Pid,
    /// Their line.
    pub mid: Mid,
    /// The stream on that line. A track that comes to the line later has another.
    pub ssrc: Ssrc,
    /// Whether the subscriber wants nothing for the moment.
    pub paused: bool,
    /// What the subscriber asks of a video.
    pub wish: Wish,
    /// Opus and RED as this line has them.
    pub opus: Option<Pt>,
    /// See above.
    pub red: Option<Pt>,
    /// Payload types of the publisher's video met so far, and what they are on this line.
    video: Vec<(Pt, Option<Pt>)>,
    /// What goes out.
    pub outgoing: Outgoing,
}

impl Leg {
    /// A leg of which nothing has left.
    pub fn new(to: Pid, mid: Mid, ssrc: Ssrc, session: &Session, subscription: &Subscription) -> Self {
        let (opus, red) = session.opus_types(mid);
        Self {
            to,
            mid,
            ssrc,
            paused: subscription.disabled,
            wish: subscription.wish,
            opus,
            red,
            video: Vec::new(),
            outgoing: Outgoing::new(),
        }
    }

    /// Takes over what the subscriber asks for now.
    pub fn follow(&mut self, subscription: &Subscription) {
        self.wish = subscription.wish;
        if std::mem::replace(&mut self.paused, subscription.disabled) && !subscription.disabled {
            self.outgoing.finish();
        }
    }

    /// Payload type of the publisher's video on this line; `None` when its receiver can't take it.
    pub fn video_type(&mut self, session: &Session, params: &PayloadParams) -> Option<Pt> {
        let known = self.video.iter().find(|(pt, _)| *pt == params.pt());
        if let Some((_, pt)) = known {
            return *pt;
        }
        let pt = session.payload_type(self.mid, params);
        self.video.push((params.pt(), pt));
        pt
    }
}

/// The outgoing stream: one SSRC, whose sequence and SRTP rollover go on while its source may change.
#[derive(Debug)]
pub struct Outgoing {
    /// Next unused sequence number.
    pub next_seq: u64,
    /// Last timestamp and when it left.
    pub last: Option<(u32, Instant)>,
    /// The source in progress.
    pub source: Source,
}

/// Renumbering of the source in progress.
#[derive(Debug)]
pub enum Source {
    /// Nothing sent yet.
    None,
    /// Sound.
    Audio {
        /// First sequence number of the source.
        first: u64,
        /// What it became.
        base: u64,
        /// Added to timestamps.
        timestamp_offset: u32,
    },
    /// Pictures.
    Video(Box<VideoLeg>),
}

impl Outgoing {
    /// A stream of which nothing has left.
    fn new() -> Self {
        Self {
            // The first number must be below 2^16 (the rollover can't be signalled); half of that leaves room.
            next_seq: u64::from(rand::random::<u16>() >> 1),
            last: None,
            source: Source::None,
        }
    }

    /// Ends the source in progress.
    pub fn finish(&mut self) {
        if let Source::Video(leg) = &self.source {
            (self.next_seq, self.last) = leg.end();
        }
        self.source = Source::None;
    }

    /// Number and timestamp of an audio packet; `None` when it is from before the start.
    pub fn audio(&mut self, now: Instant, seq: u64, timestamp: u32) -> Option<(u64, u32)> {
        if !matches!(self.source, Source::Audio { .. }) {
            self.finish();
            let timestamp_offset = match self.last {
                Some((last, at)) => {
                    let elapsed =
                        now.saturating_duration_since(at).as_micros() as u64 * AUDIO_CLOCK / 1_000_000;
                    last.wrapping_add(elapsed.max(1) as u32).wrapping_sub(timestamp)
                }
                None => 0,
            };
            self.source = Source::Audio {
                first: seq,
                base: self.next_seq,
                timestamp_offset,
            };
        }
        let Source::Audio {
            first,
            base,
            timestamp_offset,
        } = self.source
        else {
            return None;
        };
        let out = base + seq.checked_sub(first)?;
        let timestamp = timestamp.wrapping_add(timestamp_offset);
        if out >= self.next_seq {
            self.next_seq = out + 1;
            self.last = Some((timestamp, now));
        }
        Some((out, timestamp))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_next_source_on_a_stream_goes_on_where_the_last_one_ended() {
        let now = Instant::now();
        let mut line = Outgoing::new();
        let start = line.next_seq;
        assert_eq!(line.audio(now, 70_000, 5), Some((start, 5)));
        assert_eq!(line.audio(now, 70_002, 1925), Some((start + 2, 1925)));
        assert_eq!(line.audio(now, 69_999, 0), None);
        line.finish();
        let later = now + Duration::from_millis(20);
        assert_eq!(line.audio(later, 3, 1_000_000), Some((start + 3, 1925 + 960)));
    }
}
