//! One stream on its way out: whose turn it is, which packet is next, and when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::media::{Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite, SeqNo};

use crate::call::Microphone;
use crate::picture::DESCRIPTOR;
use crate::stream::Clip;

/// A sender that is further behind than this skips ahead, as a microphone would.
const MAX_BEHIND: Duration = Duration::from_millis(500);

/// How payload types follow from packets.
enum Format {
    Speech { opus: Option<Pt>, red: Option<Pt> },
    Pictures { vp8: Pt, id: u16 },
}

/// One outgoing stream.
pub struct Sender {
    mid: Mid,
    rid: Option<Rid>,
    format: Format,
    /// What is sent.
    pub clip: Arc<Clip>,
    at: usize,
    due: Instant,
    timestamp: u32,
    sequence: SeqNo,
    quiet: bool,
    key_wanted: bool,
}

impl Sender {
    /// Speaks on a microphone line from `now` on, beginning at packet `from`.
    pub fn speech(now: Instant, line: &Microphone, clip: Arc<Clip>, from: usize) -> Self {
        let (opus, red) = (line.terms.opus.map(Pt::from), line.terms.red.map(Pt::from));
        Self::new(now, line.mid, None, Format::Speech { opus, red }, clip, from)
    }

    /// Shows pictures on one layer of a camera line, beginning with a key picture.
    pub fn pictures(now: Instant, (mid, rid, vp8): (Mid, Option<Rid>, Pt), clip: Arc<Clip>) -> Self {
        let id = rand::random();
        Self::new(now, mid, rid, Format::Pictures { vp8, id }, clip, 0)
    }

    fn new(now: Instant, mid: Mid, rid: Option<Rid>, format: Format, clip: Arc<Clip>, from: usize) -> Self {
        Self {
            mid,
            rid,
            format,
            at: from % clip.packets().len(),
            clip,
            due: now,
            timestamp: rand::random(),
            // The first must be under 65536 (no rollover can be signalled); the lower half leaves room for loss.
            sequence: u64::from(rand::random::<u16>() >> 1).into(),
            quiet: false,
            key_wanted: false,
        }
    }

    /// When the next packet is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether it is that line, and that layer of it.
    pub fn is_on(&self, mid: Mid, rid: Option<Rid>) -> bool {
        self.mid == mid && (rid.is_none() || self.rid == rid)
    }

    /// A listener needs a key picture: the next picture is one.
    pub fn want_key(&mut self) {
        self.key_wanted = true;
    }

    /// Goes on with another clip of the same line.
    pub fn switch(&mut self, line: &Microphone, clip: Arc<Clip>) {
        let (opus, red) = (line.terms.opus.map(Pt::from), line.terms.red.map(Pt::from));
        self.format = Format::Speech { opus, red };
        if !Arc::ptr_eq(&self.clip, &clip) {
            self.at = 0;
            self.clip = clip;
        }
    }

    /// Writes the packet that is due, unless the sender is silent; the packet's place in the clip if it was written.
    /// `None` as well where nothing is due.
    pub fn write(&mut self, now: Instant, talks: bool, rtc: &mut Rtc) -> Option<usize> {
        if now > self.due + MAX_BEHIND {
            self.due = now;
        }
        let at = self.at;
        let clip = self.clip.clone();
        let packet = &clip.packets()[at];
        let timestamp = self.timestamp;
        self.due += packet.gap;
        self.timestamp = timestamp.wrapping_add(packet.ticks);
        self.at = self.next(at);
        let resumed = std::mem::replace(&mut self.quiet, !talks);
        if !talks {
            return None;
        }
        let mut payload = packet.payload.clone();
        let mut extensions = ExtensionValues::default();
        let (pt, marker) = match &mut self.format {
            Format::Speech { opus, red } => {
                extensions.audio_level = packet.level.map(|level| level.dbov);
                extensions.voice_activity = packet.level.map(|level| level.voice);
                (if packet.red { *red } else { *opus }, packet.marker || resumed)
            }
            Format::Pictures { vp8, id } => {
                let mut bytes = payload.to_vec();
                let [high, low] = (*id & 0x7fff).to_be_bytes();
                bytes[DESCRIPTOR - 2..DESCRIPTOR].copy_from_slice(&[0x80 | high, low]);
                payload = bytes.into();
                *id = id.wrapping_add(u16::from(packet.marker));
                (Some(*vp8), packet.marker)
            }
        };
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.mid, self.rid)?;
        let write = RtpWrite::new(pt?, self.sequence.inc(), timestamp, now, payload)
            .marker(marker)
            .nackable(matches!(self.format, Format::Pictures { .. }))
            .ext_vals(extensions);
        stream.write_rtp(write);
        Some(at)
    }

    /// The packet after that one: after a whole picture a key picture, if one is wanted.
    fn next(&mut self, at: usize) -> usize {
        let packets = self.clip.packets();
        let count = packets.len();
        if self.key_wanted && packets[at].marker {
            self.key_wanted = false;
            let ahead = (1..=count).map(|step| (at + step) % count);
            if let Some(key) = ahead.into_iter().find(|at| packets[*at].key) {
                return key;
            }
        }
        (at + 1) % count
    }
}
