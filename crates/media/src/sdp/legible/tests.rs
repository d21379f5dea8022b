//! Offers as people's clients and gateways write them.

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
        include_str!("../../../tests/offers/chromium_join.sdp"),
        include_str!("../../../tests/offers/chromium_publish.sdp"),
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
