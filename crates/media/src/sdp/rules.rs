//! Every rewriting rule, on an offer that Chromium made and the answer that str0m gave to it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use auralink_types::Bitrate;

use super::*;
use crate::arena::Handle;
use crate::directory::ShardId;
use crate::outbox::Outbox;
use crate::participant::{Pid, RoomId};
use crate::session::{Session, SessionConfig, SessionError};
use crate::transport::{Role, TransportId};

const JOIN: &str = include_str!("../../tests/offers/chromium_join.sdp");
/// Where Chromium sends in [`PUBLISH`].
const AUDIO: &str = "13";
const VIDEO: &str = "14";

const PUBLISH: &str = include_str!("../../tests/offers/chromium_publish.sdp");

fn new_config() -> SessionConfig {
    let provider = str0m::crypto::from_feature_flags();
    let address: SocketAddr = "127.0.0.1:7882".parse().unwrap();
    SessionConfig {
        candidates: Arc::from([address]),
        certificate: provider.dtls_provider.generate_certificate().unwrap(),
        shard: ShardId(0),
        names: Arc::default(),
    }
}

fn config() -> SessionConfig {
    static CONFIG: OnceLock<SessionConfig> = OnceLock::new();
    CONFIG.get_or_init(new_config).clone()
}

/// What a new session answers.
pub(super) fn accept(offer: &str) -> Result<String, SessionError> {
    let mut out = Outbox::default();
    let nobody = Handle::from_number(0);
    let id = TransportId {
        room: RoomId(nobody),
        pid: Pid(nobody),
        role: Role::Publisher,
    };
    Session::new(Instant::now(), &mut out, id, &config(), false)?.accept(&mut out, offer)
}

fn answer_to(offer: &str) -> Description {
    Description::parse(&accept(offer).unwrap()).unwrap()
}

fn rewritten(offer: &str, mid: &str, terms: &Terms) -> Description {
    let mut answer = answer_to(offer);
    rewrite(&mut answer, |of| (of == mid).then(|| terms.clone()));
    answer
}

fn parameters(line: &lines::MediaLine, format: &str) -> String {
    let of = |value: &&str| value.split(' ').next() == Some(format);
    line.values("fmtp").find(of).unwrap_or_default().to_owned()
}

#[test]
fn what_is_not_understood_survives_reading_and_writing() {
    for text in [JOIN, PUBLISH] {
        assert_eq!(Description::parse(text).unwrap().to_string(), text);
    }
    let answer = answer_to(PUBLISH).to_string();
    assert_eq!(Description::parse(&answer).unwrap().to_string(), answer);
}

#[test]
fn an_offer_tells_kinds_directions_track_ids_and_layers() {
    let offer = read_offer(&Description::parse(PUBLISH).unwrap());
    assert_eq!(offer.len(), 9);
    assert!(
        offer[..3]
            .iter()
            .all(|l| l.kind == LineKind::Audio && l.direction == Direction::RecvOnly)
    );
    assert!(
        offer[3..6]
            .iter()
            .all(|l| l.kind == LineKind::Video && l.cid.is_none())
    );
    assert_eq!(offer[8].kind, LineKind::Other);
    assert_eq!(
        (offer[6].kind, offer[6].direction),
        (LineKind::Audio, Direction::SendOnly)
    );
    assert_eq!(offer[6].cid.as_ref().map(String::len), Some(36));
    assert_eq!(offer[7].rids, ["q", "h", "f"]);
}

#[test]
fn an_inactive_line_names_no_source() {
    let answer = rewritten(JOIN, "0", &Terms::Inactive);
    let line = answer.line("0").unwrap();
    assert_eq!(line.direction(), Direction::Inactive);
    for name in ["msid", "ssrc", "ssrc-group"] {
        assert_eq!(line.values(name).count(), 0, "{name}");
    }
}

#[test]
fn a_sending_line_names_the_track_everywhere() {
    let terms = SendTerms {
        stream: "PA_a|TR_b".into(),
        track: "TR_b".into(),
        stereo: true,
        ssrcs: None,
    };
    let answer = rewritten(JOIN, "0", &Terms::Send(terms));
    let line = answer.line("0").unwrap();
    assert_eq!(line.direction(), Direction::SendOnly);
    assert_eq!(line.values("msid").collect::<Vec<_>>(), ["PA_a|TR_b TR_b"]);
    let of_sources: Vec<&str> = line
        .values("ssrc")
        .filter(|value| value.contains("msid:"))
        .collect();
    assert!(!of_sources.is_empty());
    assert!(
        of_sources
            .iter()
            .all(|value| value.ends_with(" msid:PA_a|TR_b TR_b")),
        "{of_sources:?}"
    );
    assert!(parameters(line, "111").contains("sprop-stereo=1"));
}

#[test]
fn red_goes_before_opus_or_after_it() {
    for (red, first) in [(true, ["63", "111"]), (false, ["111", "63"])] {
        let terms = ReceiveTerms {
            red,
            ..Default::default()
        };
        let answer = rewritten(PUBLISH, AUDIO, &Terms::Receive(terms));
        assert_eq!(answer.line(AUDIO).unwrap().formats[..2], first);
    }
}

#[test]
fn opus_is_told_about_silence_and_channels_and_keeps_its_other_parameters() {
    let terms = ReceiveTerms {
        dtx: true,
        stereo: true,
        ..Default::default()
    };
    let answer = rewritten(PUBLISH, AUDIO, &Terms::Receive(terms));
    let parameters = parameters(answer.line(AUDIO).unwrap(), "111");
    for wanted in [
        "usedtx=1",
        "stereo=1",
        "maxaveragebitrate=510000",
        "useinbandfec=1",
        "minptime=10",
    ] {
        assert!(parameters.contains(wanted), "{wanted} is not in {parameters}");
    }
    let answer = rewritten(PUBLISH, AUDIO, &Terms::Receive(ReceiveTerms::default()));
    assert!(super::rules::parameters(answer.line(AUDIO).unwrap(), "111").contains("usedtx=0"));
}

#[test]
fn a_packet_time_is_asked_for_in_both_attributes() {
    let terms = ReceiveTerms {
        ptime_ms: Some(60),
        ..Default::default()
    };
    let answer = rewritten(PUBLISH, AUDIO, &Terms::Receive(terms));
    let line = answer.line(AUDIO).unwrap();
    assert_eq!(line.values("ptime").collect::<Vec<_>>(), ["60"]);
    assert_eq!(line.values("maxptime").collect::<Vec<_>>(), ["120"]);
    assert_eq!(line.direction(), Direction::RecvOnly);
}

#[test]
fn a_cap_on_the_rate_is_said_in_the_words_of_every_browser_and_taken_back() {
    let terms = |rate| ReceiveTerms {
        rate,
        ..Default::default()
    };
    let capped = rewritten(PUBLISH, AUDIO, &Terms::Receive(terms(Some(Bitrate::bps(14_000)))));
    let line = capped.line(AUDIO).unwrap();
    assert!(parameters(line, "111").contains("maxaveragebitrate=14000"));
    let bandwidths: Vec<_> = line
        .others
        .iter()
        .filter(|other| other.starts_with("b="))
        .collect();
    assert_eq!(bandwidths, ["b=TIAS:14000"]);
    let text = capped.to_string();
    let of_line = text.split("m=").find(|part| part.contains("b=TIAS")).unwrap();
    assert!(
        of_line.find("b=TIAS") < of_line.find("a="),
        "bandwidth goes before attributes (RFC 8866 section 9)"
    );
    let mut answer = capped.clone();
    rewrite(&mut answer, |mid| {
        (mid == AUDIO).then(|| Terms::Receive(terms(None)))
    });
    assert!(!answer.to_string().contains("b="));
    let free = rewritten(PUBLISH, AUDIO, &Terms::Receive(terms(None))).to_string();
    assert!(!free.contains("b=") && !free.contains("maxaveragebitrate"));
}

#[test]
fn a_bare_audio_line_has_neither_transport_feedback_nor_extensions_but_mid() {
    let mut offer = Description::parse(PUBLISH).unwrap();
    assert!(offer.line(AUDIO).unwrap().values("extmap").count() > 3);
    leave_only_mid(&mut offer, &[AUDIO.into()]);
    let terms = ReceiveTerms {
        bare: true,
        ..Default::default()
    };
    let answer = rewritten(&offer.to_string(), AUDIO, &Terms::Receive(terms));
    let line = answer.line(AUDIO).unwrap();
    let extensions: Vec<&str> = line.values("extmap").collect();
    assert_eq!(extensions.len(), 1, "{extensions:?}");
    assert!(extensions[0].ends_with("sdes:mid"));
    assert!(
        line.values("rtcp-fb")
            .all(|value| !value.contains("transport-cc"))
    );
    let untouched = answer.line(VIDEO).unwrap();
    assert!(
        untouched
            .values("rtcp-fb")
            .any(|value| value.contains("transport-cc"))
    );
}

#[test]
fn the_wanted_video_codec_comes_first_with_its_repair_beside_it() {
    for codec in ["H264", "VP8"] {
        let terms = ReceiveTerms {
            codec: Some(codec.to_lowercase()),
            ..Default::default()
        };
        let answer = rewritten(PUBLISH, VIDEO, &Terms::Receive(terms));
        let line = answer.line(VIDEO).unwrap();
        assert_eq!(line.codec(&line.formats[0]), Some(codec));
        assert_eq!(line.apt(&line.formats[1]), Some(line.formats[0].as_str()));
        assert_eq!(
            line.formats.len(),
            answer_to(PUBLISH).line(VIDEO).unwrap().formats.len()
        );
    }
}

#[test]
fn all_three_layers_are_accepted() {
    let answer = rewritten(PUBLISH, VIDEO, &Terms::Receive(ReceiveTerms::default()));
    let line = answer.line(VIDEO).unwrap();
    assert_eq!(line.values("simulcast").collect::<Vec<_>>(), ["recv q;h;f"]);
}

#[test]
fn refused_lines_stay_as_they_are() {
    let mut answer =
        Description::parse("v=0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=inactive\r\n").unwrap();
    let before = answer.clone();
    rewrite(&mut answer, |_| Some(Terms::Receive(ReceiveTerms::default())));
    assert_eq!(answer, before);
}

#[test]
fn every_truncation_of_an_offer_is_read_or_refused_and_never_panics() {
    for length in (0..PUBLISH.len()).step_by(7) {
        if let Ok(description) = Description::parse(&PUBLISH[..length]) {
            read_offer(&description);
        }
        if length % 49 == 0 {
            // An offer cut in the middle may be a whole one with fewer lines.
            let _ = accept(&PUBLISH[..length]);
        }
    }
    assert!(Description::parse("nonsense").is_err());
    assert!(Description::parse("m=audio\r\n").is_err());
    assert!(Description::parse(&"m=audio 9 x 0\n".repeat(300)).is_err());
    assert!(Description::parse(&"a=x\n".repeat(200_000)).is_err());
}
