//! An answer, and the offer it was given to.
//!
//! In a room of a hundred everybody offers once for each newcomer, and nearly all of these offers say the same as the one
//! before: a line that was idle is asked for. Reading such an offer and writing its answer takes milliseconds, so what was
//! read is kept, and what was written is kept line by line, with the terms it stands for.

use str0m::media::Mid;

use super::answer::{Terms, rewrite_line};
use super::legible::Wording;
use super::lines::Description;

/// The last exchange on a transport.
pub struct Answered {
    /// The offer as it came.
    offer: String,
    /// The offer as the parser behind read it.
    read: String,
    /// Lines on which it was told of no header extensions.
    bare: Vec<Mid>,
    wording: Wording,
    /// The answer of the parser behind, which is rewritten.
    base: Description,
    written: Vec<Option<Written>>,
}

/// A line of the answer as it was written last.
struct Written {
    terms: Option<Terms>,
    text: String,
}

impl Answered {
    /// A new exchange.
    pub fn new(offer: &str, read: String, bare: Vec<Mid>, wording: Wording, base: Description) -> Self {
        Self {
            offer: offer.to_owned(),
            read,
            bare,
            wording,
            base,
            written: Vec::new(),
        }
    }

    /// Whether that offer says the same, word for word.
    pub fn is_to(&self, offer: &str) -> bool {
        unnumbered(&self.offer) == unnumbered(offer)
    }

    /// Whether it would be read with the same lines bare.
    pub fn is_bare(&self, bare: &[Mid]) -> bool {
        self.bare == bare
    }

    /// Takes an offer of other words, if the parser behind would read the same.
    pub fn reads(&mut self, offer: &str, read: &str, bare: &[Mid], wording: &Wording) -> bool {
        if unnumbered(&self.read) != unnumbered(read) || self.wording != *wording {
            return false;
        }
        self.offer.clear();
        self.offer.push_str(offer);
        self.bare.clear();
        self.bare.extend(bare);
        true
    }

    /// The answer on those terms.
    pub fn write(&mut self, mut terms: impl FnMut(&str) -> Option<Terms>) -> String {
        let lines = self.wording.lines(&self.base.media);
        self.written.resize_with(lines.len(), || None);
        let mut text = self.wording.session(&self.base);
        text.reserve(self.offer.len());
        for ((line, said), written) in lines.into_iter().zip(&mut self.written) {
            let wanted = line
                .filter(|line| line.port != "0")
                .and_then(|line| terms(line.mid()?));
            let kept = written.take().filter(|written| written.terms == wanted);
            let now = kept.unwrap_or_else(|| {
                let line = match line {
                    Some(line) => {
                        let mut line = line.clone();
                        rewrite_line(&mut line, wanted.as_ref());
                        said.reword(&mut line);
                        line
                    }
                    None => said.refusal(),
                };
                Written {
                    terms: wanted,
                    text: line.to_string(),
                }
            });
            text.push_str(&now.text);
            *written = Some(now);
        }
        text
    }
}

/// A description but for its `o=` line, which counts its versions.
fn unnumbered(text: &str) -> (&str, &str) {
    let Some((before, rest)) = text.split_once("\no=") else {
        return (text, "");
    };
    (before, rest.split_once('\n').map_or("", |(_, after)| after))
}

#[cfg(test)]
mod tests {
    use super::super::legible::LegibleOffer;
    use super::super::rules::accept;
    use super::super::{ReceiveTerms, SendTerms, rewrite};
    use super::*;

    const PUBLISH: &str = include_str!("../../tests/offers/chromium_publish.sdp");

    fn answered() -> Answered {
        let legible = LegibleOffer::new(Description::parse(PUBLISH).unwrap());
        let read = legible.description.to_string();
        let base = Description::parse(&accept(&read).unwrap()).unwrap();
        Answered::new(PUBLISH, read, Vec::new(), legible.wording, base)
    }

    fn terms(mid: &str, round: u32) -> Option<Terms> {
        match mid.parse::<u32>().unwrap() {
            13 => Some(Terms::Receive(ReceiveTerms {
                red: round == 2,
                ..Default::default()
            })),
            1 if round > 0 => Some(Terms::Send(SendTerms {
                stream: format!("PA_{round}|TR_1"),
                track: "TR_1".into(),
                stereo: false,
                ssrcs: None,
            })),
            1..13 => Some(Terms::Inactive),
            _ => None,
        }
    }

    #[test]
    fn an_offer_made_again_says_the_same_and_another_does_not() {
        let mut last = answered();
        let again = PUBLISH.replacen(" IN IP4", "7 IN IP4", 1);
        assert!(last.is_to(PUBLISH) && last.is_to(&again));
        let other = PUBLISH.replacen("a=recvonly", "a=inactive", 1);
        assert!(!last.is_to(&other));
        let reads = |last: &mut Answered, text: &str| {
            let legible = LegibleOffer::new(Description::parse(text).unwrap());
            let read = legible.description.to_string();
            last.reads(text, &read, &[], &legible.wording)
        };
        // A client's own addresses are nothing to a server that waits for its checks.
        let elsewhere = PUBLISH.replacen("a=mid:", "a=end-of-candidates\r\na=mid:", 1);
        assert!(!last.is_to(&elsewhere));
        assert!(reads(&mut last, &elsewhere) && last.is_to(&elsewhere));
        assert!(!reads(&mut last, &other));
    }

    #[test]
    fn what_was_written_before_changes_with_the_terms_and_only_with_them() {
        let mut last = answered();
        for round in [0, 1, 1, 2, 0] {
            let mut anew = last.base.clone();
            rewrite(&mut anew, |mid| terms(mid, round));
            let written = Description::parse(&last.write(|mid| terms(mid, round))).unwrap();
            for (line, anew) in written.media.iter().zip(&anew.media) {
                let mut anew = anew.clone();
                anew.attributes.sort_by_key(|a| a.name != "mid");
                assert_eq!(*line, anew, "round {round}");
            }
            assert_eq!(written.media.len(), anew.media.len());
        }
    }
}
