//! What the server's answer says about one media line. str0m keeps the negotiated set but not its order, and the
//! order is how a server asks for RED or forbids it.

/// The terms of one media line of an SDP answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTerms {
    /// `a=mid`.
    pub mid: String,
    /// Payload types in the order of the `m=` line: the first is what the server wants to be sent.
    pub payload_types: Vec<u8>,
    /// Payload type mapped to `opus`.
    pub opus: Option<u8>,
    /// Payload type mapped to `red`.
    pub red: Option<u8>,
    /// `a=ptime`, or `ptime` among the Opus parameters.
    pub ptime_ms: Option<u32>,
    /// Most that Opus may take, in bits per second: `b=TIAS`, `b=AS`, or `maxaveragebitrate` among its parameters.
    pub max_bitrate: Option<u32>,
    /// Whether Opus may use discontinuous transmission.
    pub usedtx: bool,
    /// Whether the server will receive on this line.
    pub receives: bool,
    /// Whether the server will send on this line.
    pub sends: bool,
    /// Track id: second token of `a=msid`.
    pub msid_track: Option<String>,
}

impl LineTerms {
    /// Whether RED is what the server wants.
    pub fn red_first(&self) -> bool {
        self.red.is_some() && self.payload_types.first().copied() == self.red
    }

    fn cap(&mut self, rate: u32) {
        self.max_bitrate = Some(self.max_bitrate.map_or(rate, |known| known.min(rate)));
    }
}

/// Bits per second of a bandwidth line of the kinds that browsers obey.
fn bandwidth(line: &str) -> Option<u32> {
    if let Some(bits) = line.strip_prefix("b=TIAS:") {
        return bits.trim().parse().ok();
    }
    let kilobits: u32 = line.strip_prefix("b=AS:")?.trim().parse().ok()?;
    kilobits.checked_mul(1_000)
}

/// Reads every media line of an SDP text; lines that make no sense are passed over.
pub fn read(sdp: &str) -> Vec<LineTerms> {
    let mut lines: Vec<LineTerms> = Vec::new();
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            let payload_types = media
                .split_whitespace()
                .skip(3)
                .filter_map(|pt| pt.parse().ok())
                .collect();
            lines.push(LineTerms {
                payload_types,
                receives: true,
                sends: true,
                ..LineTerms::default()
            });
            continue;
        }
        let Some(terms) = lines.last_mut() else {
            continue;
        };
        if let Some(rate) = bandwidth(line) {
            terms.cap(rate);
        }
        let Some(attribute) = line.strip_prefix("a=") else {
            continue;
        };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "mid" => terms.mid = value.to_owned(),
            "ptime" => terms.ptime_ms = value.trim().parse().ok(),
            "rtpmap" => {
                let (pt, codec) = value.split_once(' ').unwrap_or((value, ""));
                let pt = pt.parse().ok();
                if codec
                    .get(..5)
                    .is_some_and(|name| name.eq_ignore_ascii_case("opus/"))
                {
                    terms.opus = terms.opus.or(pt);
                } else if codec
                    .get(..4)
                    .is_some_and(|name| name.eq_ignore_ascii_case("red/"))
                {
                    terms.red = terms.red.or(pt);
                }
            }
            "fmtp" => {
                let (pt, parameters) = value.split_once(' ').unwrap_or((value, ""));
                if pt.parse().ok() == terms.opus {
                    for parameter in parameters.split(';') {
                        match parameter.trim().split_once('=') {
                            Some(("ptime", ms)) => terms.ptime_ms = terms.ptime_ms.or(ms.parse().ok()),
                            Some(("usedtx", flag)) => terms.usedtx = flag == "1",
                            Some(("maxaveragebitrate", rate)) => {
                                if let Ok(rate) = rate.parse() {
                                    terms.cap(rate);
                                }
                            }
                            _ => {}
                        }
                    }
                }
            }
            "sendonly" => terms.receives = false,
            "recvonly" => terms.sends = false,
            "inactive" => (terms.receives, terms.sends) = (false, false),
            "msid" => terms.msid_track = value.split_whitespace().nth(1).map(str::to_owned),
            _ => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=mid:mic\r\na=recvonly\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;usedtx=1;useinbandfec=1\r\n\
        a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=ptime:60\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a0\r\na=sendonly\r\na=msid:PA_x|TR_y TR_y\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n";

    #[test]
    fn order_packet_time_and_direction_are_read_per_line() {
        let lines = read(ANSWER);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].red_first() && lines[0].receives && !lines[0].sends);
        assert_eq!(
            (lines[0].ptime_ms, lines[0].opus, lines[0].red),
            (Some(60), Some(111), Some(63))
        );
        assert!(lines[0].usedtx);
        assert!(!lines[1].red_first() && lines[1].sends);
        assert_eq!(lines[1].msid_track.as_deref(), Some("TR_y"));
        assert_eq!(lines[2].mid, "data");
    }

    #[test]
    fn the_lowest_cap_on_the_rate_holds_for_its_line_alone() {
        let with = |line: &str| ANSWER.replacen("a=mid:mic", &format!("{line}\r\na=mid:mic"), 1);
        let cap = |sdp: &str| read(sdp).iter().map(|line| line.max_bitrate).collect::<Vec<_>>();
        assert_eq!(cap(ANSWER), [None; 3]);
        assert_eq!(cap(&with("b=TIAS:14000")), [Some(14_000), None, None]);
        assert_eq!(cap(&with("b=AS:14")), [Some(14_000), None, None]);
        assert_eq!(cap(&with("b=AS:99999999\r\nb=X:1")), [None; 3]);
        let both = with("b=TIAS:14000").replace("useinbandfec=1", "maxaveragebitrate=12000");
        assert_eq!(cap(&both)[0], Some(12_000));
    }

    #[test]
    fn opus_before_red_means_no_red() {
        let sdp = ANSWER.replace("63 111", "111 63");
        assert!(!read(&sdp)[0].red_first());
    }

    #[test]
    fn nothing_in_an_answer_makes_the_reader_panic() {
        for end in 0..ANSWER.len() {
            read(&ANSWER[..end]);
            read(&ANSWER[end..]);
        }
        read("a=mid\nm=\na=rtpmap:\na=fmtp: ;=\na=msid:\na=ptime:x\nm=audio x y 999 é");
    }
}
