//! Which leg gets what, what the core codes for that, and what the publisher is asked for.

use std::time::Instant;

use auralink_engine::{Course, InKind, Prediction, Processor, Situation, Terms, bears, predict};
use auralink_types::{Bitrate, Lean, PublisherHint, Reason, Rung, SourceCodec};

use super::TapOutput;
use super::outlet::Sink;
use super::steer::{Wish, serves_both, wish};
use super::track::{AudioTap, REVIEW};

/// Rungs one track is coded for at most; further wishes get the dearest of these that they can take.
const RUNGS_MAX: usize = 4;

impl AudioTap {
    /// Looks at every decision again and tells core and publisher what follows.
    pub(super) fn review(&mut self, now: Instant, core: &mut dyn Processor) {
        self.review_at = now + REVIEW;
        self.core_model = core.models().first().copied();
        self.no_accelerator = core.no_accelerator();
        if self.steer.settles(now)
            && let Some(source) = &mut self.source
        {
            // What was sent before the wish was heard says nothing of how it is taken.
            source.forget_rate();
        }
        self.decide(now);
        self.supply(now, core);
        self.hint(now, false);
        self.expect_growth();
    }

    /// Legs whose packets may get longer want to be looked at again at that time.
    pub(super) fn expect_growth(&mut self) {
        if let Some(at) = self.legs.iter().filter_map(|leg| leg.pilot.grows_at()).min() {
            self.review_at = self.review_at.min(at);
        }
    }

    fn decide(&mut self, now: Instant) {
        let Some(source) = self.source else { return };
        let core_model = self.core_model;
        let asked = self.steer.counted_on();
        let follows = source.follows(asked);
        // An AIC client does what it was asked for within a round trip, and of others it shows within a second:
        // nothing new is coded meanwhile.
        let aic = !self.publisher.models.is_empty();
        let awaited = follows.is_none() || (aic && self.steer.awaits(now) && follows == Some(false));
        let thinned = source
            .cost(asked)
            .filter(|_| self.steer.asked_rate().is_some() && follows == Some(true));
        // Plain Opus is the least that somebody needs who cannot decode what the publisher sends.
        let instead =
            (core_model == source.model).then(|| Rung::Lean(Lean::new(Bitrate::kbps(24), source.packet)));
        for leg in &mut self.legs {
            leg.deaf = !source.is_playable(&leg.caps);
            let situation = Situation {
                no_accelerator: self.no_accelerator,
                ..leg.situation(&source, asked, core_model)
            };
            let terms = Terms {
                opted_out: leg.caps.opted_out,
                deaf: leg.deaf,
                instead,
                awaited,
                thinned,
                stepwise: true,
            };
            let course = leg
                .pilot
                .review(now, &self.policy, &situation, &terms, &self.judge);
            let sink = &mut Sink::new(&mut self.out, &mut self.stats);
            match course {
                Course::Onward => {}
                Course::Original => leg.go_direct(now, leg.pilot.reason(), sink),
                Course::Bypass => leg.fell_back(now, Reason::Quality, sink),
            }
        }
        self.judge.end_review();
    }

    /// What the first leg with coded packets should get of its rung.
    pub(super) fn predict(&self) -> Option<Prediction> {
        let source = self.source?;
        let leg = self.legs.iter().find(|leg| leg.pilot.rung() != Rung::Original)?;
        let situation = leg.situation(&source, self.steer.counted_on(), self.core_model);
        Some(predict(
            leg.pilot.rung(),
            &self.policy,
            &situation,
            self.judge.calibration(),
        ))
    }

    /// Makes the core code what legs wait for, and nothing else.
    fn supply(&mut self, now: Instant, core: &mut dyn Processor) {
        let mut rungs: Vec<Rung> = Vec::with_capacity(RUNGS_MAX);
        for leg in &mut self.legs {
            // Where originals are of no use there is no bypass either.
            if !leg.pilot.wants_core() && !leg.deaf {
                continue;
            }
            // Within a family the coder itself goes on as what is wanted.
            let (now, wanted) = (leg.pilot.rung(), leg.pilot.wanted());
            let goes_on = now.same_family(wanted);
            for rung in [now, wanted] {
                if rung == Rung::Original || rungs.contains(&rung) || (goes_on && rung != wanted) {
                    continue;
                }
                if rungs.len() < RUNGS_MAX {
                    rungs.push(rung);
                } else if rung == wanted {
                    leg.pilot.want_no_change(Reason::Overload);
                }
            }
        }
        if rungs.is_empty() {
            self.drop_stream(core);
            return;
        }
        if let Err(refused) = self.feed.set_rungs(rungs, core) {
            self.feed.close(core);
            self.lose_stream(now, refused.reason());
        }
    }

    /// Asks the publisher for what serves every leg. With `urgent`, what somebody cannot decode without the core is
    /// asked away at once, however lately that was done before.
    pub(super) fn hint(&mut self, now: Instant, urgent: bool) {
        // Some clients say so of every microphone that goes through a mixer, and send one channel.
        let heard = self.source.and_then(|source| source.sends_stereo());
        let stereo = heard.unwrap_or(self.publisher.stereo);
        let own = (self.elsewhere.is_empty() || !self.legs.is_empty()).then(|| {
            wish(
                &self.policy,
                &self.publisher,
                &self.legs,
                self.uplink.network(),
                self.judge.calibration(),
                stereo,
                self.judge.content(),
            )
        });
        let wishes = self.elsewhere.iter().copied().chain(own);
        let wish = wishes.reduce(serves_both).unwrap_or(SourceCodec::Own);
        let unheard = self.publisher.steerable
            && self.source.is_some_and(|source| {
                source.coding == InKind::Aic && self.legs.iter().any(|leg| !source.is_playable(&leg.caps))
            });
        let mut ask = self.steer.decide(
            now,
            Wish {
                source: wish,
                keep_rate: self.publisher.models.is_empty() && !self.own.is_heard(),
                heard: !self.legs.is_empty() || !self.elsewhere.is_empty(),
                borne: self.is_borne(),
            },
        );
        if ask.is_some()
            && let Some(source) = &mut self.source
        {
            source.forget_rate();
        }
        if ask.is_none() && unheard {
            ask = self.steer.insist(now, urgent);
        }
        if let Some(source) = ask {
            let track = self.track.clone();
            self.out.push_back(TapOutput::Hint {
                hint: PublisherHint { track, source },
                keep_rate: self.steer.asked_rate().is_none() && self.steer.steers(),
            });
        }
    }

    /// Whether what the publisher was asked for serves everybody, within what measured scores scatter by.
    fn is_borne(&self) -> bool {
        let asked = self.steer.asked().rung();
        self.legs.iter().all(|leg| {
            let situation = Situation {
                content: self.judge.content(),
                ..Situation::stock(leg.network.network())
            };
            bears(asked, &self.policy, &situation, self.judge.calibration())
        })
    }
}
