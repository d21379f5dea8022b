//! One media line of a peer connection and what the last answer said about it.

use std::time::Instant;

use auralink_types::TrackId;
use str0m::media::Mid;

use crate::sdp::LineKind;
use crate::session::Session;
use crate::video::VideoLeg;

/// What a line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing; may be taken.
    Idle,
    /// Was taken until now. It must be answered `inactive` once before the next track, or browsers keep the old
    /// one mapped to it.
    Cooling,
    /// The server sends a track.
    Send(TrackId),
    /// The client sends.
    Receive,
}

/// One media line.
#[derive(Debug)]
pub struct Line {
    /// Its name.
    pub mid: Mid,
    /// What it carries.
    pub kind: LineKind,
    /// What it is for.
    pub usage: Use,
    /// Whether the client is ready to receive on it: an answer may not promise more than the offer does (RFC 3264,
    /// section 6.1).
    pub open: bool,
    /// What goes out on it.
    pub outgoing: Outgoing,
}

impl Line {
    /// A new line on which the client receives.
    pub fn new(mid: Mid, kind: LineKind) -> Self {
        Self {
            mid,
            kind,
            usage: Use::Idle,
            open: true,
            outgoing: Outgoing::new(),
        }
    }

    /// Whether a track may be put on it.
    pub fn is_free(&self) -> bool {
        self.open && self.usage == Use::Idle
    }

    /// Puts a track on it, as a stream that its receiver has never seen: browsers decode what comes under an SSRC
    /// announced before and show it to nobody.
    pub fn carry(&mut self, track: TrackId, session: &mut Session) {
        session.renew_stream(self.mid);
        self.usage = Use::Send(track);
        self.outgoing = Outgoing::new();
    }
}

/// The outgoing stream of a line: one SSRC, whose sequence and SRTP rollover go on while its source may change.
#[derive(Debug)]
pub struct Outgoing {
    /// Next unused sequence number.
    pub next_seq: u64,
    /// Last timestamp and when it left.
    pub last: Option<(u32, Instant)>,
    /// The track in progress.
    pub leg: Leg,
}

/// Renumbering of the track in progress.
#[derive(Debug)]
pub enum Leg {
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

/// Ticks of Opus per second.
const AUDIO_CLOCK: u64 = 48_000;

impl Outgoing {
    /// A stream of which nothing has left.
    fn new() -> Self {
        Self {
            // The first number must be below 2^16 (the rollover can't be signalled); half of that leaves room.
            next_seq: u64::from(rand::random::<u16>() >> 1),
            last: None,
            leg: Leg::None,
        }
    }

    /// Ends the track in progress.
    pub fn finish(&mut self) {
        if let Leg::Video(leg) = &self.leg {
            (self.next_seq, self.last) = leg.end();
        }
        self.leg = Leg::None;
    }

    /// Number and timestamp of an audio packet; `None` when it is from before the start.
    pub fn audio(&mut self, now: Instant, seq: u64, timestamp: u32) -> Option<(u64, u32)> {
        if !matches!(self.leg, Leg::Audio { .. }) {
            self.finish();
            let timestamp_offset = match self.last {
                Some((last, at)) => {
                    let elapsed =
                        now.saturating_duration_since(at).as_micros() as u64 * AUDIO_CLOCK / 1_000_000;
                    last.wrapping_add(elapsed.max(1) as u32).wrapping_sub(timestamp)
                }
                None => 0,
            };
            self.leg = Leg::Audio {
                first: seq,
                base: self.next_seq,
                timestamp_offset,
            };
        }
        let Leg::Audio {
            first,
            base,
            timestamp_offset,
        } = self.leg
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
        let mut line = Line::new(Mid::from("0"), LineKind::Audio).outgoing;
        let start = line.next_seq;
        assert_eq!(line.audio(now, 70_000, 5), Some((start, 5)));
        assert_eq!(line.audio(now, 70_002, 1925), Some((start + 2, 1925)));
        assert_eq!(line.audio(now, 69_999, 0), None);
        line.finish();
        let later = now + Duration::from_millis(20);
        assert_eq!(line.audio(later, 3, 1_000_000), Some((start + 3, 1925 + 960)));
    }
}
