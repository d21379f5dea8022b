//! Which leg gets what, what the core codes for that, and what the publisher is asked for.

use std::time::Instant;

use auralink_engine::{
    InKind, Prediction, Processor, Situation, bears, choose, predict, stays, wire_bitrate,
};
use auralink_types::{Bitrate, Lean, PublisherHint, Reason, Rung, SourceCodec};

use super::TapOutput;
use super::growth::same_family;
use super::outlet::Sink;
use super::steer::{Wish, serves_both, wish};
use super::track::{AudioTap, REVIEW};

/// Rungs one track is coded for at most; further wishes get the dearest of these that they can take.
const RUNGS_MAX: usize = 4;
/// What a publisher was thinned to is coded a second time only for a leg that takes less than this part of it: each coding
/// costs some of the sound.
const WORTH_CODING_AGAIN: f64 = 0.75;

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
        if let Some(at) = self.legs.iter().filter_map(super::leg::Leg::grows_at).min() {
            self.review_at = self.review_at.min(at);
        }
    }

    fn decide(&mut self, now: Instant) {
        let Some(source) = self.source else { return };
        let core_model = self.core_model;
        let breached = self.judge.take_breached();
        let asked = self.steer.counted_on();
        let follows = source.follows(asked);
        // An AIC client does what it was asked for within a round trip, and of others it shows within a second:
        // nothing new is coded meanwhile.
        let aic = !self.publisher.models.is_empty();
        let awaited = follows.is_none() || (aic && self.steer.awaits(now) && follows == Some(false));
        let thinned = source
            .cost(asked)
            .filter(|_| self.steer.asked_rate().is_some() && follows == Some(true));
        for leg in &mut self.legs {
            let playable = source.is_playable(&leg.caps);
            leg.deaf = !playable;
            let situation = Situation {
                no_accelerator: self.no_accelerator,
                content: self.judge.content,
                ..leg.situation(&source, asked, core_model)
            };
            let (mut rung, mut reason) = if leg.caps.opted_out && playable {
                (Rung::Original, Some(Reason::OptOut))
            } else if awaited && playable && leg.rung == Rung::Original {
                (Rung::Original, None)
            } else {
                let choice = choose(&self.policy, &situation, &self.judge.calibration);
                (choice.rung, choice.reason)
            };
            if rung == Rung::Original && !playable && core_model == source.model {
                // Its receiver cannot decode what the publisher sends: plain Opus is the least it needs.
                (rung, reason) = (
                    Rung::Lean(Lean::new(Bitrate::kbps(24), source.packet)),
                    Some(Reason::ReceiverNotCapable),
                );
            }
            if !playable && rung != Rung::Original {
                reason = reason.or(Some(Reason::ReceiverNotCapable));
            }
            if let (Some(forwarded), Some(coded)) = (thinned, wire_bitrate(rung))
                && playable
                && coded.as_bps() as f64 > WORTH_CODING_AGAIN * forwarded.as_bps() as f64
            {
                rung = Rung::Original;
            }
            let held = leg.held();
            if rung != held && stays(held, rung, &self.policy, &situation, &self.judge.calibration) {
                rung = held;
            }
            leg.reason = reason;
            if rung != leg.goal {
                let waiting = !same_family(leg.rung, leg.goal);
                let cost = wire_bitrate(leg.rung);
                let up = breached && wire_bitrate(rung) > cost;
                let room = situation.network.capacity;
                let squeezed = cost.is_some_and(|cost| room.is_some_and(|room| cost > room));
                let urgent = (up || squeezed) && leg.may_raise(now);
                let cheaper = cost.is_some() && wire_bitrate(rung) < cost;
                let due = leg.may_switch(now) && (!cheaper || leg.pace.may_cheapen(now));
                let unheard = leg.deaf && leg.rung == Rung::Original;
                let free = rung == Rung::Original || rung == leg.rung || waiting || unheard;
                if free || urgent || due {
                    leg.goal = rung;
                    leg.urgent = urgent;
                }
            }
            leg.take_step(now, source.packet);
            if rung == Rung::Original && leg.rung != rung {
                if reason == Some(Reason::Quality) {
                    // No rung holds the floor on this content.
                    leg.dead(
                        now,
                        Reason::Quality,
                        &mut Sink::new(&mut self.out, &mut self.stats),
                    );
                } else {
                    leg.go_direct(now, reason, &mut Sink::new(&mut self.out, &mut self.stats));
                }
            }
        }
    }

    /// What the first leg with coded packets should get of its rung.
    pub(super) fn predict(&self) -> Option<Prediction> {
        let source = self.source?;
        let leg = self.legs.iter().find(|leg| leg.rung != Rung::Original)?;
        let situation = leg.situation(&source, self.steer.counted_on(), self.core_model);
        Some(predict(
            leg.rung,
            &self.policy,
            &situation,
            &self.judge.calibration,
        ))
    }

    /// Makes the core code what legs wait for, and nothing else.
    fn supply(&mut self, now: Instant, core: &mut dyn Processor) {
        let mut rungs: Vec<Rung> = Vec::with_capacity(RUNGS_MAX);
        for leg in &mut self.legs {
            // Where originals are of no use there is no bypass either.
            if !leg.fallback.wants_core() && !leg.deaf {
                continue;
            }
            // Within a family the coder itself goes on as what is wanted.
            let goes_on = same_family(leg.rung, leg.wanted);
            for rung in [leg.rung, leg.wanted] {
                if rung == Rung::Original || rungs.contains(&rung) || (goes_on && rung != leg.wanted) {
                    continue;
                }
                if rungs.len() < RUNGS_MAX {
                    rungs.push(rung);
                } else if rung == leg.wanted {
                    leg.stay(Some(Reason::Overload));
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
                &self.judge.calibration,
                stereo,
                self.judge.content,
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
                content: self.judge.content,
                ..Situation::stock(leg.network.network())
            };
            bears(asked, &self.policy, &situation, &self.judge.calibration)
        })
    }
}
