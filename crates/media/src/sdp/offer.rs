//! What an offer says about each of its lines.

use str0m::media::Mid;

use super::lines::{Description, Direction, MediaLine};

/// Header extension that tells on which line a packet belongs until its SSRC is known.
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// Kind of a media line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Data channels, and anything unknown.
    Other,
}

/// One line of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedLine {
    /// `a=mid`.
    pub mid: String,
    /// What the line carries.
    pub kind: LineKind,
    /// Direction as the client means it.
    pub direction: Direction,
    /// Client's own track id: second token of `a=msid`.
    pub cid: Option<String>,
    /// Simulcast layers in the order offered.
    pub rids: Vec<String>,
}

/// Every line of the offer that has a `mid` and isn't refused, in order.
pub fn read_offer(description: &Description) -> Vec<OfferedLine> {
    description.media.iter().filter_map(read_line).collect()
}

fn read_line(line: &MediaLine) -> Option<OfferedLine> {
    if line.port == "0" {
        return None;
    }
    let cid = line
        .values("msid")
        .find_map(|value| value.split_whitespace().nth(1))
        .map(str::to_owned);
    let rids = line
        .values("rid")
        .filter_map(|value| {
            let (rid, rest) = value.split_once(' ')?;
            rest.starts_with("send").then(|| rid.to_owned())
        })
        .collect();
    Some(OfferedLine {
        mid: line.mid()?.to_owned(),
        kind: match line.kind.as_str() {
            "audio" => LineKind::Audio,
            "video" => LineKind::Video,
            _ => LineKind::Other,
        },
        direction: line.direction(),
        cid,
        rids,
    })
}

/// Leaves those lines no header extension but `mid`, which is sent only until the receiver has reported on the SSRC.
/// Done on the offer, because str0m stamps every extension that the offer names.
pub fn leave_only_mid(description: &mut Description, bare: &[Mid]) {
    for line in &mut description.media {
        if line.mid().is_some_and(|mid| bare.contains(&Mid::from(mid))) {
            line.remove(|a| a.name == "extmap" && a.text().split_whitespace().nth(1) != Some(MID_EXTENSION));
        }
    }
}
