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
mod tests {
    use super::super::rules::accept;
    use super::super::{Answered, LineKind, read_offer};
    use super::*;

    const SESSION: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    const KEYS: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\na=setup:actpass\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
    const OPUS: &str = "a=rtpmap:111 opus/48000/2\r\na=rtcp-mux\r\n";

    fn answer_to(offer: &str) -> Result<Description, String> {
        let legible = LegibleOffer::new(Description::parse(offer).map_err(|error| error.to_string())?);
        let read = legible.description.to_string();
        let base = Description::parse(&accept(&read).map_err(|error| error.to_string())?);
        let base = base.map_err(|error| error.to_string())?;
        let mut answered = Answered::new(offer, read, Vec::new(), legible.wording, base);
        Description::parse(&answered.write(|_| None)).map_err(|error| error.to_string())
    }

    fn audio(extra: &str) -> String {
        format!("{SESSION}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{extra}a=mid:0\r\n{OPUS}{KEYS}")
    }

    #[test]
    fn bandwidth_lines_titles_and_keys_of_a_line_are_no_obstacle() {
        let lines = "i=voice\r\nc=IN IP4 0.0.0.0\r\nb=AS:64\r\nb=TIAS:64000\r\nk=clear:x\r\na=sendonly\r\n";
        let answer = answer_to(&audio(lines)).unwrap();
        assert_eq!(answer.line("0").unwrap().direction(), Direction::RecvOnly);
    }

    #[test]
    fn a_line_without_a_direction_goes_both_ways_and_one_of_the_session_holds_for_it() {
        let offer = LegibleOffer::new(Description::parse(&audio("")).unwrap());
        assert_eq!(read_offer(&offer.description)[0].direction, Direction::SendRecv);
        answer_to(&audio("")).unwrap();
        let whole = audio("").replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n");
        let offer = LegibleOffer::new(Description::parse(&whole).unwrap());
        assert_eq!(read_offer(&offer.description)[0].direction, Direction::SendOnly);
        answer_to(&whole).unwrap();
    }

    #[test]
    fn transports_of_another_time_are_taken_and_answered_in_kind() {
        for protocol in [
            "RTP/SAVPF",
            "UDP/TLS/RTP/SAVP",
            "TCP/TLS/RTP/SAVPF",
            "RTP/AVPF",
            "TCP/DTLS/RTP/SAVPF",
        ] {
            let offer = audio("a=sendonly\r\n").replace("UDP/TLS/RTP/SAVPF", protocol);
            let answer = answer_to(&offer).unwrap();
            assert_eq!(answer.media[0].protocol, protocol);
            assert_ne!(answer.media[0].port, "0");
        }
        let channels = format!(
            "{SESSION}m=application 9 DTLS/SCTP 5000\r\na=mid:data\r\na=sctpmap:5000 webrtc-datachannel 1024\r\n{KEYS}"
        );
        let line = &answer_to(&channels).unwrap().media[0];
        assert_eq!(
            (line.protocol.as_str(), line.formats.as_slice()),
            ("DTLS/SCTP", &["5000".to_owned()][..])
        );
        assert!(
            line.values("sctpmap")
                .next()
                .unwrap()
                .starts_with("5000 webrtc-datachannel")
        );
        assert_eq!(line.values("sctp-port").count(), 0);
    }

    #[test]
    fn lines_of_unknown_kinds_are_refused_in_their_place() {
        let text = "m=image 9 udptl t38\r\na=mid:fax\r\nm=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:rtt\r\na=rtpmap:98 t140/1000\r\n";
        let offer = audio("a=sendonly\r\n").replace("m=audio", &format!("{text}m=audio"));
        let answer = answer_to(&offer).unwrap();
        let kinds: Vec<(&str, bool)> = answer
            .media
            .iter()
            .map(|l| (l.kind.as_str(), l.port == "0"))
            .collect();
        assert_eq!(kinds, [("image", true), ("text", true), ("audio", false)]);
        assert_eq!(answer.media[0].mid(), Some("fax"));
    }

    #[test]
    fn a_line_without_a_mid_is_answered_without_one() {
        let offer = audio("a=sendonly\r\n").replace("a=mid:0\r\n", "");
        let legible = LegibleOffer::new(Description::parse(&offer).unwrap());
        assert_eq!(read_offer(&legible.description)[0].kind, LineKind::Audio);
        let answer = answer_to(&offer).unwrap();
        assert_eq!(answer.media[0].mid(), None);
        assert!(!answer.to_string().contains("line0"), "{answer}");
        assert!(!answer.to_string().contains("BUNDLE"), "{answer}");
    }

    #[test]
    fn lines_that_want_a_transport_of_their_own_are_refused_but_for_the_first() {
        let second = audio("")
            .replace("mid:0", "mid:1")
            .split_once("m=")
            .unwrap()
            .1
            .to_owned();
        let answer = answer_to(&format!("{}m={second}", audio(""))).unwrap();
        let ports: Vec<bool> = answer.media.iter().map(|line| line.port == "0").collect();
        assert_eq!(ports, [false, true]);
        let bundled = audio("").replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE 1 0\r\n");
        let answer = answer_to(&format!("{bundled}m={second}")).unwrap();
        assert!(
            answer.media.iter().all(|line| line.port != "0"),
            "whatever the order of their names"
        );
    }

    #[test]
    fn a_line_that_only_shares_a_transport_is_not_a_refused_one() {
        let second = "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\na=mid:1\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n";
        let offer = audio("a=sendonly\r\n").replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE 0 1\r\n");
        let answer = answer_to(&format!("{offer}{second}")).unwrap();
        assert_ne!(answer.line("1").unwrap().port, "0");
        assert_eq!(answer.line("1").unwrap().direction(), Direction::RecvOnly);
    }

    #[test]
    fn names_of_lines_come_back_as_they_were_however_long() {
        let long = "a-line-with-a-name-over-sixteen-bytes";
        let offer = audio("a=sendonly\r\n")
            .replace("a=mid:0", &format!("a=mid:{long}"))
            .replace("t=0 0\r\n", &format!("t=0 0\r\na=group:BUNDLE {long}\r\n"));
        let answer = answer_to(&offer).unwrap();
        assert_eq!(answer.media[0].mid(), Some(long));
        assert!(answer.session.contains(&format!("a=group:BUNDLE {long}")));
    }

    #[test]
    fn what_clients_write_a_little_wrong_is_understood() {
        for (right, wrong) in [
            ("opus/48000/2", "opus/48000"),
            ("opus/48000/2", "OPUS/48000/2"),
            ("a=mid:0", "a=mid: 0"),
            ("SAVPF 111", "SAVPF 111 111 99 200"),
            ("s=-\r\n", ""),
            ("a=rtcp-mux\r\n", ""),
            (
                "a=rtcp-mux",
                "a=rtcp-mux\r\na=simulcast: send rid=q;h\r\na=extmap:4096 urn:x\r\na=ssrc:99999999999 cname:x\r\na=msid:one",
            ),
        ] {
            let answer = answer_to(&audio("a=sendonly\r\n").replace(right, wrong)).unwrap();
            assert_eq!(answer.media[0].formats, ["111"], "{wrong}");
        }
    }

    #[test]
    fn sessions_may_say_more_or_less_than_browsers_do() {
        let keys_above = format!(
            "{}{KEYS}m=audio 9 UDP/TLS/RTP/SAVPF 111 120\r\na=mid:0\r\n{OPUS}a=rtpmap:111 opus/48000/2\r\n",
            SESSION
                .replace("s=-\r\n", "s= \r\ni=call\r\nu=http://x\r\ne=a@b\r\nc=IN IP4 0.0.0.0\r\nb=CT:1\r\nb=AS:1\r\n")
                .replace("t=0 0\r\n", "t=3034423619 3042462419\r\nr=7d 1h 0\r\nz=0 0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n")
                .replace("4611731400430051336", "99999999999999999999999")
        );
        let answer = answer_to(&keys_above).unwrap();
        let line = answer.line("0").unwrap();
        assert_eq!(line.formats, ["111"]);
        assert_eq!(line.values("extmap").count(), 1);
    }

    #[test]
    fn of_a_browsers_offer_everything_is_left_that_the_server_understands() {
        for text in [
            include_str!("../../tests/offers/chromium_join.sdp"),
            include_str!("../../tests/offers/chromium_publish.sdp"),
        ] {
            let before = Description::parse(text).unwrap();
            let after = LegibleOffer::new(before.clone()).description;
            assert_eq!(read_offer(&after), read_offer(&before));
            for (after, before) in after.media.iter().zip(&before.media) {
                for codec in ["opus", "red", "VP8", "H264"] {
                    if before.kind == "audio" || codec != "red" {
                        assert_eq!(after.formats_of(codec), before.formats_of(codec));
                    }
                }
                assert!(after.formats_of("AV1").is_empty() && after.formats_of("PCMU").is_empty());
                for kept in [
                    "extmap",
                    "msid",
                    "rid",
                    "simulcast",
                    "ssrc",
                    "fingerprint",
                    "ice-ufrag",
                ] {
                    assert!(after.values(kept).eq(before.values(kept)), "{kept}");
                }
            }
        }
    }
}
