//! Rewriting of the answer, line by line.

use auralink_types::Bitrate;
use str0m::rtp::Ssrc;

use crate::data::MAX_PACKET;

use super::lines::{Attribute, Description, Direction, MediaLine};

/// Longest packet the server takes, whatever packet time it asks for.
const MAX_PTIME_MS: u32 = 120;

/// Opus ceiling for stereo (RFC 7587 section 7.1), so that browsers don't settle on their mono default.
const STEREO_BITRATE: &str = "510000";

/// What the answer says about one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Nothing flows.
    Inactive,
    /// The server sends a track.
    Send(SendTerms),
    /// The server receives a track.
    Receive(ReceiveTerms),
}

/// Terms of a line on which the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendTerms {
    /// Media stream id, `PA_…|TR_…`.
    pub stream: String,
    /// Track id.
    pub track: String,
    /// Whether the Opus decoder should expect two channels.
    pub stereo: bool,
    /// SSRC of the stream, and of its repair; the ones that str0m wrote where they are not known yet.
    pub ssrcs: Option<Ssrcs>,
}

/// A stream's SSRC and that of its repair (RFC 4588).
pub type Ssrcs = (Ssrc, Option<Ssrc>);

/// Terms of a line on which the server receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveTerms {
    /// Whether RED goes before Opus, which makes browsers send it.
    pub red: bool,
    /// Whether Opus may go silent.
    pub dtx: bool,
    /// Whether two channels are wanted.
    pub stereo: bool,
    /// Packet time in milliseconds.
    pub ptime_ms: Option<u32>,
    /// Most that the client's Opus encoder may take.
    pub rate: Option<Bitrate>,
    /// Whether transport-wide feedback goes, whose probes and extension cost more than low-rate audio itself.
    pub bare: bool,
    /// Video codec to put first, for example `VP8`.
    pub codec: Option<String>,
}

/// Rewrites the lines for which `terms` knows something; refused lines (port 0) stay as they are.
pub fn rewrite(answer: &mut Description, mut terms: impl FnMut(&str) -> Option<Terms>) {
    for line in &mut answer.media {
        let wanted = match line.port.as_str() {
            "0" => None,
            _ => line.mid().and_then(&mut terms),
        };
        rewrite_line(line, wanted.as_ref());
    }
}

/// Rewrites one line, about which there may be nothing to say.
pub fn rewrite_line(line: &mut MediaLine, wanted: Option<&Terms>) {
    if line.kind == "application" {
        line.remove(|a| a.name == "max-message-size");
        let most = Attribute::new("max-message-size", MAX_PACKET.to_string());
        line.attributes.push(most);
    }
    match wanted {
        None => {}
        Some(Terms::Inactive) => {
            line.set_direction(Direction::Inactive);
            forget_sources(line);
        }
        Some(Terms::Send(terms)) => send(line, terms),
        Some(Terms::Receive(terms)) => {
            line.set_direction(Direction::RecvOnly);
            forget_sources(line);
            receive(line, terms);
        }
    }
}

fn forget_sources(line: &mut MediaLine) {
    line.remove(|a| matches!(a.name.as_str(), "msid" | "ssrc" | "ssrc-group"));
}

fn send(line: &mut MediaLine, terms: &SendTerms) {
    line.set_direction(Direction::SendOnly);
    let msid = format!("{} {}", terms.stream, terms.track);
    line.remove(|a| a.name == "msid");
    if let Some(ssrcs) = terms.ssrcs {
        name_sources(line, ssrcs, &terms.track);
    }
    for attribute in line.attributes.iter_mut().filter(|a| a.name == "ssrc") {
        if let Some((ssrc, rest)) = attribute.text().split_once(' ')
            && rest.starts_with("msid:")
        {
            attribute.value = Some(format!("{ssrc} msid:{msid}"));
        }
    }
    line.attributes.push(Attribute::new("msid", msid));
    if terms.stereo {
        for opus in line.formats_of("opus") {
            line.set_parameters(&opus, &[("stereo", "1"), ("sprop-stereo", "1")]);
        }
    }
}

/// Names the stream in the two ways there are (RFC 5576): one line for each SSRC and attribute, and the pair.
fn name_sources(line: &mut MediaLine, (ssrc, rtx): Ssrcs, cname: &str) {
    line.remove(|a| matches!(a.name.as_str(), "ssrc" | "ssrc-group"));
    if let Some(rtx) = rtx {
        line.attributes
            .push(Attribute::new("ssrc-group", format!("FID {ssrc} {rtx}")));
    }
    for ssrc in [Some(ssrc), rtx].into_iter().flatten() {
        for text in [format!("cname:{cname}"), "msid:".to_owned()] {
            line.attributes
                .push(Attribute::new("ssrc", format!("{ssrc} {text}")));
        }
    }
}

fn receive(line: &mut MediaLine, terms: &ReceiveTerms) {
    if line.kind == "video" {
        if let Some(codec) = &terms.codec {
            prefer_codec(line, codec);
        }
        return;
    }
    let opus = line.formats_of("opus");
    let red = line.formats_of("red");
    let order: Vec<String> = if terms.red {
        red.into_iter().chain(opus.clone()).collect()
    } else {
        opus.iter().cloned().chain(red).collect()
    };
    line.put_first(&order);
    for opus in &opus {
        line.set_parameters(opus, &[("usedtx", if terms.dtx { "1" } else { "0" })]);
        if terms.stereo {
            line.set_parameters(opus, &[("stereo", "1"), ("maxaveragebitrate", STEREO_BITRATE)]);
        }
    }
    line.remove(|a| matches!(a.name.as_str(), "ptime" | "maxptime"));
    if let Some(ms) = terms.ptime_ms {
        line.attributes.push(Attribute::new("ptime", ms.to_string()));
        line.attributes
            .push(Attribute::new("maxptime", MAX_PTIME_MS.max(ms).to_string()));
    }
    cap(line, &opus, terms.rate);
    if terms.bare {
        line.remove(|a| a.name == "rtcp-fb" && a.text().ends_with(" transport-cc"));
    }
}

/// Caps what the client sends. Chromium and Safari obey `b=TIAS` (RFC 3890), Firefox the parameter of Opus (RFC 7587).
fn cap(line: &mut MediaLine, opus: &[String], rate: Option<Bitrate>) {
    line.others.retain(|other| !other.starts_with("b="));
    let Some(rate) = rate else { return };
    line.others.push(format!("b=TIAS:{}", rate.as_bps()));
    for opus in opus {
        line.set_parameters(opus, &[("maxaveragebitrate", &rate.as_bps().to_string())]);
    }
}

/// Puts every payload type of the codec first, each followed by its RTX: browsers send the first of the answer.
fn prefer_codec(line: &mut MediaLine, codec: &str) {
    let mut first = Vec::new();
    for format in line.formats_of(codec) {
        let rtx = line
            .formats_of("rtx")
            .into_iter()
            .find(|rtx| line.apt(rtx) == Some(&format));
        first.push(format);
        first.extend(rtx);
    }
    line.put_first(&first);
}
