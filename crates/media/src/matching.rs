//! Which announced track arrives on which offered line.
//!
//! Clients name a track twice: in its announcement and in the `a=msid` of its line. Chromium uses one id for both;
//! Firefox writes a random one into the line, and a line may have none at all. What no id settles goes by order: a line
//! takes the oldest announcement of its kind that has no line yet.

use str0m::media::Mid;

use crate::sdp::{LineKind, OfferedLine};
use crate::track::Track;

/// Gives tracks their lines; whether any track got another one than it had. Ids that match decide, also against a match
/// by order that was made before the announcement came.
pub fn match_lines(lines: &[OfferedLine], tracks: &mut [Track]) -> bool {
    let before: Vec<Option<Mid>> = tracks.iter().map(|track| track.mid).collect();
    let mut left: Vec<&OfferedLine> = Vec::new();
    let mut named = vec![false; tracks.len()];
    for line in lines {
        let Some(at) = tracks.iter().position(|track| track.is_named_by(line)) else {
            left.push(line);
            continue;
        };
        // A line of a further codec leaves the track on that of its first.
        if tracks[at].is_first_named_by(line) || !named[at] {
            named[at] = true;
            tracks[at].take_line(line);
        }
    }
    // Lines stay with the tracks they were given to, unless an id says otherwise.
    for (track, _) in tracks.iter_mut().zip(&named).filter(|(_, named)| !**named) {
        if !left.iter().any(|line| track.mid == Some(mid_of(line))) {
            track.leave_line();
        }
    }
    for line in left {
        if tracks.iter().any(|track| track.mid == Some(mid_of(line))) {
            continue;
        }
        let waiting = |track: &&mut Track| track.mid.is_none() && track.kind() == line.kind;
        match tracks.iter_mut().find(waiting) {
            Some(track) => track.take_line(line),
            None => tracing::debug!(mid = line.mid, "a line carries a track that is not announced yet"),
        }
    }
    tracks
        .iter()
        .zip(before)
        .any(|(track, before)| track.mid != before)
}

fn mid_of(line: &OfferedLine) -> Mid {
    Mid::from(line.mid.as_str())
}

impl Track {
    fn kind(&self) -> LineKind {
        if self.is_video() {
            LineKind::Video
        } else {
            LineKind::Audio
        }
    }

    fn is_named_by(&self, line: &OfferedLine) -> bool {
        let cid = line.cid.as_deref().map(bare);
        self.kind() == line.kind && cid.is_some_and(|cid| self.cids.iter().any(|own| bare(own) == cid))
    }

    fn is_first_named_by(&self, line: &OfferedLine) -> bool {
        line.cid.as_deref().map(bare) == self.cids.first().map(|cid| bare(cid))
    }

    fn take_line(&mut self, line: &OfferedLine) {
        self.mid = Some(mid_of(line));
        self.info.mid = line.mid.clone();
        if self.is_video() {
            self.set_rids(&line.rids);
        }
    }

    fn leave_line(&mut self) {
        self.mid = None;
        self.info.mid.clear();
    }
}

/// Some browsers write braces around ids in one place and not in the other.
fn bare(id: &str) -> &str {
    id.trim_start_matches('{').trim_end_matches('}')
}

#[cfg(test)]
mod tests {
    use auralink_types::TrackId;
    use livekit_protocol as proto;

    use super::*;
    use crate::sdp::Direction;

    fn track(cid: &str, kind: LineKind) -> Track {
        let r#type = match kind {
            LineKind::Video => proto::TrackType::Video,
            _ => proto::TrackType::Audio,
        };
        let request = proto::AddTrackRequest {
            cid: cid.into(),
            r#type: r#type as i32,
            ..Default::default()
        };
        Track::new(TrackId::new(format!("TR_{cid}")), 0, request)
    }

    fn line(mid: &str, kind: LineKind, cid: Option<&str>) -> OfferedLine {
        OfferedLine {
            mid: mid.into(),
            kind,
            direction: Direction::SendOnly,
            cid: cid.map(str::to_owned),
            rids: Vec::new(),
        }
    }

    fn mids(tracks: &[Track]) -> Vec<Option<String>> {
        let mid = |track: &Track| track.mid.map(|mid| mid.to_string());
        tracks.iter().map(mid).collect()
    }

    fn some(mid: &str) -> Option<String> {
        Some(mid.into())
    }

    use LineKind::{Audio, Video};

    #[test]
    fn ids_decide_whatever_the_order_and_the_braces() {
        let mut tracks = [track("{a}", Audio), track("b", Audio), track("v", Video)];
        let lines = [
            line("5", Audio, Some("b")),
            line("6", Audio, Some("a")),
            line("7", Video, Some("{v}")),
        ];
        assert!(match_lines(&lines, &mut tracks));
        assert_eq!(mids(&tracks), [some("6"), some("5"), some("7")]);
        assert!(!match_lines(&lines, &mut tracks), "nothing new");
    }

    #[test]
    fn a_line_with_an_unknown_id_or_none_takes_the_oldest_announcement_of_its_kind() {
        let mut tracks = [track("v", Video), track("a", Audio), track("b", Audio)];
        let lines = [
            line("1", Audio, Some("{random}")),
            line("2", Audio, None),
            line("3", Video, Some("?")),
        ];
        assert!(match_lines(&lines, &mut tracks));
        assert_eq!(mids(&tracks), [some("3"), some("1"), some("2")]);
    }

    #[test]
    fn a_line_keeps_its_track_when_others_come_and_go() {
        let mut tracks = vec![track("a", Audio), track("b", Audio)];
        match_lines(&[line("1", Audio, None), line("2", Audio, None)], &mut tracks);
        tracks.remove(0);
        tracks.push(track("c", Audio));
        match_lines(&[line("2", Audio, None), line("3", Audio, None)], &mut tracks);
        assert_eq!(mids(&tracks), [some("2"), some("3")]);
    }

    #[test]
    fn an_announcement_that_comes_after_its_line_takes_it_back_from_a_guess() {
        let mut tracks = vec![track("later", Audio)];
        let lines = [line("1", Audio, Some("early"))];
        match_lines(&lines, &mut tracks);
        assert_eq!(mids(&tracks), [some("1")]);
        tracks.push(track("early", Audio));
        assert!(match_lines(&lines, &mut tracks));
        assert_eq!(mids(&tracks), [None, some("1")]);
    }

    #[test]
    fn a_second_codec_of_a_track_leaves_it_on_the_line_of_the_first() {
        let mut tracks = [track("v", Video)];
        tracks[0].cids.push("backup".into());
        match_lines(
            &[line("2", Video, Some("v")), line("4", Video, Some("backup"))],
            &mut tracks,
        );
        assert_eq!(mids(&tracks), [some("2")]);
    }

    #[test]
    fn a_line_takes_no_track_of_another_kind() {
        let mut tracks = [track("v", Video)];
        assert!(!match_lines(&[line("1", Audio, Some("v"))], &mut tracks));
        assert_eq!(mids(&tracks), [None]);
    }
}
