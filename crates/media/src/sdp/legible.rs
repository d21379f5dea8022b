//! Offers of all sorts, brought into the form that the parser behind can read, and answers brought back.
//!
//! The parser knows the offers of browsers. Others are just as valid: `b=` twice, no direction (RFC 8866 section 6.7:
//! then `sendrecv`), a direction or extensions for the whole session, transports of another time (RFC 8829 section
//! 5.1.2), lines of kinds that no media server knows, no bundle (RFC 9143: then every line has a transport of its own, of
//! which there is one here, for the first). What nobody needs is left out, defaults are written out, and an
//! answer is given line by line in the terms of the offer (RFC 3264 section 6).

use super::lines::{Attribute, Description, Direction, MediaLine};

const RTP: &str = "UDP/TLS/RTP/SAVPF";
const SCTP: &str = "UDP/DTLS/SCTP";
const CHANNELS: &str = "webrtc-datachannel";

/// Port of SCTP inside DTLS where none is named (RFC 8841 section 5.2).
const SCTP_PORT: &str = "5000";

/// Streams that the older way of naming an SCTP port tells (draft-ietf-mmusic-sctp-sdp-07).
const SCTP_STREAMS: &str = "1024";

const BUNDLE: &str = "a=group:BUNDLE";

/// Lines that stand before the attributes of a session, as the parser wants them where the offer has it otherwise.
const ORIGIN: &str = "o=- 1 1 IN IP4 0.0.0.0";

/// What the offer said in words of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Wording {
    lines: Vec<LineWording>,
    bundled: bool,
}

/// What it said of a line.
#[derive(Debug, PartialEq, Eq)]
pub struct LineWording {
    kind: String,
    protocol: String,
    formats: Vec<String>,
    mid: Option<String>,
    /// Not to be answered but with a refusal.
    refused: bool,
}

/// An offer in legible form.
#[derive(Debug)]
pub struct LegibleOffer {
    /// The offer as the parser can read it.
    pub description: Description,
    /// What has to be said in the answer as the offer did.
    pub wording: Wording,
}

impl LegibleOffer {
    /// Takes an offer as it came.
    pub fn new(mut offer: Description) -> Self {
        let inherited = tidy_session(&mut offer.session);
        let mut wording = Vec::with_capacity(offer.media.len());
        for (index, line) in offer.media.iter_mut().enumerate() {
            let mut said = LineWording {
                kind: line.kind.clone(),
                protocol: line.protocol.clone(),
                formats: line.formats.clone(),
                mid: line.mid().map(|mid| mid.trim().to_owned()),
                refused: false,
            };
            match protocol_of(line) {
                Some(protocol) => line.protocol = protocol.into(),
                None => said.refused = true,
            }
            // Not a name that a client would choose, for those who chose none.
            let mid = said.mid.clone().unwrap_or_else(|| format!("line{index}"));
            line.remove(|a| a.name == "mid");
            line.attributes.push(Attribute::new("mid", mid));
            tidy_line(line, &inherited);
            wording.push(said);
        }
        let bundled = inherited.bundle.is_some();
        let mut bundle = Vec::new();
        for (line, said) in offer.media.iter().zip(&mut wording) {
            // Written in above where there was none.
            let mid = line.mid().unwrap_or_default();
            if said.refused || line.port == "0" {
                continue;
            }
            match &inherited.bundle {
                Some(mids) => said.refused = !mids.iter().any(|one| one == mid),
                None => said.refused = !bundle.is_empty(),
            }
            if !said.refused {
                bundle.push(mid.to_owned());
            }
        }
        offer.session.push(format!("a=group:BUNDLE {}", bundle.join(" ")));
        let mut refused = wording.iter().map(|said| said.refused);
        offer.media.retain(|_| !refused.next().unwrap_or_default());
        Self {
            description: offer,
            wording: Wording {
                lines: wording,
                bundled,
            },
        }
    }
}

impl Wording {
    /// The lines of the offer in their order, each with what was answered to it; nothing where it is only refused.
    pub fn lines<'a>(&'a self, answered: &'a [MediaLine]) -> Vec<(Option<&'a MediaLine>, &'a LineWording)> {
        let mut answered = answered.iter();
        let lines = self.lines.iter().filter_map(|said| {
            let line = if said.refused {
                None
            } else {
                Some(answered.next()?)
            };
            Some((line, said))
        });
        lines.collect()
    }

    /// What the answer says above its first line.
    pub fn session(&self, answer: &Description) -> String {
        let taken = self
            .lines(&answer.media)
            .into_iter()
            .filter(|(line, _)| line.is_some_and(|line| line.port != "0"));
        let mids: Vec<&str> = taken.filter_map(|(_, said)| said.mid.as_deref()).collect();
        let group = format!("{BUNDLE} {}", mids.join(" "));
        let mut text = String::new();
        for line in &answer.session {
            let line = if line.starts_with(BUNDLE) { &group } else { line };
            if self.bundled || line != &group {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
        text
    }
}

impl LineWording {
    /// Brings an answered line into the words of the offer.
    pub fn reword(&self, line: &mut MediaLine) {
        // The parser knows the first sixteen bytes of a long one.
        line.remove(|a| a.name == "mid");
        if let Some(mid) = &self.mid {
            line.attributes.insert(0, Attribute::new("mid", mid.clone()));
        }
        if line.protocol != self.protocol && line.kind == "application" && self.formats != [CHANNELS] {
            let port = self.formats.first().map_or(SCTP_PORT, String::as_str);
            let map = format!("{port} {CHANNELS} {SCTP_STREAMS}");
            line.remove(|a| a.name == "sctp-port");
            line.attributes.push(Attribute::new("sctpmap", map));
            line.formats = self.formats.clone();
        }
        line.protocol.clone_from(&self.protocol);
    }

    /// The answer to a line that isn't taken.
    pub fn refusal(&self) -> MediaLine {
        let mid = self.mid.iter().map(|mid| Attribute::new("mid", mid.clone()));
        MediaLine {
            kind: self.kind.clone(),
            port: "0".into(),
            protocol: self.protocol.clone(),
            formats: self.formats.clone(),
            others: vec!["c=IN IP4 0.0.0.0".into()],
            attributes: mid
                .chain([Attribute::flag(Direction::Inactive.as_str())])
                .collect(),
        }
    }
}

/// What the session says about all of its lines.
#[derive(Default)]
struct Inherited {
    direction: Option<Direction>,
    extensions: Vec<Attribute>,
    /// Lines that share one transport.
    bundle: Option<Vec<String>>,
}

fn tidy_session(session: &mut Vec<String>) -> Inherited {
    let mut inherited = Inherited::default();
    let origin = session.iter().find(|line| line.starts_with("o=")).cloned();
    let numbered = |line: &String| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|id| id.parse::<u64>().is_ok())
    };
    let mut tidy = vec![
        "v=0".to_owned(),
        origin.filter(numbered).unwrap_or_else(|| ORIGIN.to_owned()),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
    ];
    for line in session.drain(..) {
        let Some(attribute) = line.strip_prefix("a=") else {
            continue;
        };
        if let Some(mids) = line.strip_prefix(BUNDLE) {
            inherited.bundle = Some(mids.split_whitespace().map(str::to_owned).collect());
        } else if let Some(direction) = Direction::from_name(attribute) {
            inherited.direction = Some(direction);
        } else if let Some(extension) = attribute.strip_prefix("extmap:") {
            inherited.extensions.push(Attribute::new("extmap", extension));
        } else {
            tidy.push(line);
        }
    }
    *session = tidy;
    inherited
}

/// The protocol as the parser knows it; `None` for a line that can only be refused.
fn protocol_of(line: &MediaLine) -> Option<&'static str> {
    let profile = line.protocol.rsplit('/').next().unwrap_or_default();
    match line.kind.as_str() {
        "audio" | "video" if line.protocol.contains("RTP/") => {
            matches!(profile, "AVP" | "AVPF" | "SAVP" | "SAVPF").then_some(RTP)
        }
        "application" if line.protocol.ends_with("DTLS/SCTP") => Some(SCTP),
        _ => None,
    }
}

fn tidy_line(line: &mut MediaLine, inherited: &Inherited) {
    line.others.clear();
    if line.port == "0" && line.attributes.iter().any(|a| a.name == "bundle-only") {
        // Not refused: it shares the transport of another line (RFC 9143 section 6).
        line.port = "9".into();
        line.remove(|a| a.name == "bundle-only");
    }
    if line.protocol == SCTP {
        tidy_channels(line);
        return;
    }
    keep_one(line, "setup");
    forget_addresses(line);
    let direction = line
        .written_direction()
        .or(inherited.direction)
        .unwrap_or(Direction::SendRecv);
    line.remove(|a| a.value.is_none() && Direction::from_name(&a.name).is_some());
    line.set_direction(direction);
    for extension in &inherited.extensions {
        let id = |a: &Attribute| a.text().split([' ', '/']).next().unwrap_or_default().to_owned();
        let known = line
            .attributes
            .iter()
            .any(|a| a.name == "extmap" && id(a) == id(extension));
        if !known {
            line.attributes.push(extension.clone());
        }
    }
    for attribute in line.attributes.iter_mut().filter(|a| a.name == "rtpmap") {
        // Written without its channels by some, against RFC 7587 section 7.
        if attribute.text().to_ascii_lowercase().ends_with(" opus/48000") {
            attribute.value = Some(format!("{}/2", attribute.text()));
        }
    }
    // A dynamic payload type without a name can't be meant (RFC 8866 section 6.6); one named twice means the first.
    let mut named: Vec<String> = Vec::new();
    line.attributes.retain(|attribute| {
        if attribute.name != "rtpmap" {
            return true;
        }
        let format = attribute.text().split(' ').next().unwrap_or_default().to_owned();
        let fresh = !named.contains(&format);
        named.push(format);
        fresh
    });
    let mut seen: Vec<String> = Vec::new();
    line.formats.retain(|format| {
        let fixed = format.parse::<u8>().is_ok_and(|pt| pt < FIRST_DYNAMIC);
        let fresh = !seen.contains(format);
        seen.push(format.clone());
        fresh && (fixed || named.contains(format))
    });
    keep_understood(line);
}

/// Codecs that sessions are made for.
const CODECS: [&str; 3] = ["opus", "VP8", "H264"];

/// Leaves out formats that the server can't take, of which browsers offer dozens on every line.
fn keep_understood(line: &mut MediaLine) {
    let is = |name: &str| CODECS.iter().any(|codec| codec.eq_ignore_ascii_case(name));
    let audio = line.kind == "audio";
    let understood = |format: &String| match line.codec(format) {
        Some("rtx") => line.apt(format).is_some_and(|of| line.codec(of).is_some_and(is)),
        Some("red") => audio,
        Some(name) => is(name),
        None => false,
    };
    let kept: Vec<String> = line.formats.iter().filter(|f| understood(f)).cloned().collect();
    // With nothing left the line is refused by what it offers, not for being empty.
    if kept.is_empty() {
        return;
    }
    line.formats = kept;
    let formats = std::mem::take(&mut line.formats);
    line.remove(|a| {
        let of_format = matches!(a.name.as_str(), "rtpmap" | "fmtp" | "rtcp-fb");
        let format = a.text().split(' ').next().unwrap_or_default();
        of_format && format != "*" && !formats.iter().any(|kept| kept == format)
    });
    line.formats = formats;
}

/// Payload types below may go without a name.
const FIRST_DYNAMIC: u8 = 35;

/// A server with an address that is known waits for the client's checks, which tell where it is.
fn forget_addresses(line: &mut MediaLine) {
    if line.port != "0" {
        line.port = "9".into();
    }
    line.remove(|a| matches!(a.name.as_str(), "candidate" | "end-of-candidates" | "rtcp"));
}

fn tidy_channels(line: &mut MediaLine) {
    forget_addresses(line);
    keep_one(line, "setup");
    if line.formats != [CHANNELS] {
        let port = line.formats.first().cloned().unwrap_or_else(|| SCTP_PORT.into());
        line.formats = vec![CHANNELS.into()];
        line.remove(|a| a.name == "sctpmap");
        line.attributes.push(Attribute::new("sctp-port", port));
    }
}

fn keep_one(line: &mut MediaLine, name: &str) {
    let mut first = true;
    line.attributes
        .retain(|a| a.name != name || std::mem::take(&mut first));
}

#[cfg(test)]
mod tests;
