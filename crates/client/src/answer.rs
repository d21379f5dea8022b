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
        let (Some(terms), Some(attribute)) = (lines.last_mut(), line.strip_prefix("a=")) else {
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
