//! The streams that leave on a session's lines.
//!
//! Going through a session costs str0m something for each stream that it knows, whether that speaks or not, and in a room of a
//! hundred few speak at a time. So streams sleep until their first packet, and again when they have been silent for a while:
//! str0m forgets them, and with the next packet they are declared anew under the same SSRC.

use std::collections::HashMap;

use str0m::media::Mid;
use str0m::rtp::{RtpWrite, Ssrc};

use super::{Session, guarded};
use crate::outbox::Outbox;
use crate::sdp::Ssrcs;

/// A stream on one line.
#[derive(Debug)]
struct Sending {
    ssrcs: Ssrcs,
    /// str0m knows it.
    awake: bool,
    /// It spoke since the last [`Session::rest`].
    spoke: bool,
}

/// All of them, by line.
#[derive(Debug, Default)]
pub(super) struct Streams {
    lines: HashMap<Mid, Sending>,
}

impl Session {
    /// The stream that leaves on a line, once both sides have agreed on that.
    pub fn stream_on(&mut self, mid: Mid) -> Option<Ssrcs> {
        if let Some(sending) = self.streams.lines.get(&mid) {
            return Some(sending.ssrcs);
        }
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None)?;
        let ssrcs = (stream.ssrc(), stream.rtx());
        api.remove_stream_tx(ssrcs.0);
        let sending = Sending {
            ssrcs,
            awake: false,
            spoke: false,
        };
        self.streams.lines.insert(mid, sending);
        Some(ssrcs)
    }

    /// Gives the stream that leaves on a line an SSRC that was never announced; there is none before the line is agreed.
    pub fn renew_stream(&mut self, out: &mut Outbox, mid: Mid) -> Option<Ssrcs> {
        let (old, rtx) = self.stream_on(mid)?;
        let mut api = self.rtc.direct_api();
        let fresh = (api.new_ssrc(), rtx.map(|_| api.new_ssrc()));
        let sending = self.streams.lines.get_mut(&mid)?;
        sending.ssrcs = fresh;
        if std::mem::take(&mut sending.awake) {
            api.remove_stream_tx(old);
            self.drain(out);
        }
        Some(fresh)
    }

    /// Takes a packet to send; whether there is such a stream. It leaves with [`Session::flush`], which is asked for in the
    /// outbox: going through a session costs more than a packet, so all packets of a turn go through it together.
    pub fn write_media(&mut self, out: &mut Outbox, mid: Mid, ssrc: Ssrc, packet: RtpWrite) -> bool {
        let Some(sending) = self.streams.lines.get_mut(&mid) else {
            return false;
        };
        // A leg of the line's former use.
        if sending.ssrcs.0 != ssrc {
            return false;
        }
        sending.spoke = true;
        let written = guarded(|| {
            let mut api = self.rtc.direct_api();
            if !std::mem::replace(&mut sending.awake, true) {
                api.declare_stream_tx(ssrc, sending.ssrcs.1, mid, None);
            }
            if let Some(stream) = api.stream_tx(&ssrc) {
                stream.write_rtp(packet);
            }
            Ok(())
        });
        if let Err(error) = written {
            self.fail(out, error);
        } else if !std::mem::replace(&mut self.unsent, true) {
            out.unsent.push(self.id);
        }
        true
    }

    /// Lets the streams sleep that have not spoken since the last time.
    pub fn rest(&mut self, out: &mut Outbox) {
        let mut silent = Vec::new();
        for sending in self.streams.lines.values_mut() {
            if !std::mem::take(&mut sending.spoke) && std::mem::take(&mut sending.awake) {
                silent.push(sending.ssrcs.0);
            }
        }
        if silent.is_empty() {
            return;
        }
        let mut api = self.rtc.direct_api();
        for ssrc in silent {
            api.remove_stream_tx(ssrc);
        }
        self.drain(out);
    }

    /// After a description was agreed str0m has made streams anew for those that sleep.
    pub(super) fn keep_asleep(&mut self) {
        let mut api = self.rtc.direct_api();
        for (mid, sending) in &self.streams.lines {
            if sending.awake {
                continue;
            }
            if let Some(made) = api.stream_tx_by_mid(*mid, None).map(|stream| stream.ssrc()) {
                api.remove_stream_tx(made);
            }
        }
    }
}
