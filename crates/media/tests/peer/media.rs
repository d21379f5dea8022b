//! What a client sends: packets on its lines and messages on its channels.

use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use str0m::format::Codec;
use str0m::media::{MediaKind, Pt};
use str0m::rtp::RtpWrite;

use super::Peer;

impl Peer {
    /// Sends one packet of media on the track's line; RED if the server's answer puts it first isn't decided here.
    pub async fn send(&mut self, cid: &str, timestamp: u32, payload: &[u8], red: bool) {
        let mid = self.sending[cid];
        let rtc = &mut self.publisher.rtc;
        let media = rtc.media(mid).unwrap();
        let codec = if media.kind() == MediaKind::Video {
            Codec::Vp8
        } else {
            Codec::Opus
        };
        let params = rtc.codec_config().params();
        let params = params.iter().find(|p| p.spec().codec == codec).unwrap();
        let pt: Pt = if red { params.red().unwrap() } else { params.pt() };
        let number = self.seq.entry(mid).or_insert_with(|| 1000.into()).inc();
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        stream.write_rtp(RtpWrite::new(
            pt,
            number,
            timestamp,
            Instant::now(),
            payload.to_vec(),
        ));
        self.publisher.tick();
        self.flush().await;
    }

    /// The next packet has a number so much higher than it would have, or lower.
    pub fn skip(&mut self, cid: &str, numbers: i64) {
        let mid = self.sending[cid];
        let next = **self.seq.entry(mid).or_insert_with(|| 1000.into());
        self.seq.insert(mid, next.saturating_add_signed(numbers).into());
    }

    /// Starts the track's stream anew: another SSRC, whose numbers start at `seq`.
    pub fn renew(&mut self, cid: &str, seq: u64) {
        let mid = self.sending[cid];
        let mut api = self.publisher.rtc.direct_api();
        let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
        api.reset_stream_tx(mid, None, ssrc, Some(rtx)).unwrap();
        self.seq.insert(mid, seq.into());
    }

    pub async fn say(&mut self, label: &str, packet: &proto::DataPacket) {
        let id = self.channels[label];
        let bytes = packet.encode_to_vec();
        // What went before may still fill the buffer.
        for _ in 0..500 {
            let mut channel = self.publisher.rtc.channel(id).unwrap();
            let written = channel.write(true, &bytes).unwrap();
            self.publisher.tick();
            self.flush().await;
            if written {
                return;
            }
            self.step().await;
        }
        panic!("the channel stays full");
    }
}
