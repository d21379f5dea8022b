//! The brain of one leg: what should go out, when it may change, and when to fall back.
//!
//! [`LegPilot::review`] asks the ladder, stays where that is as good, keeps the pace, and falls back where no rung holds
//! the floor. What goes out in the end is told by whoever sends ([`LegPilot::handle_switch`]): a tap with the first packet
//! of the new rung, a session that answers frame by frame at once.

mod growth;
#[cfg(test)]
mod tests;

use std::time::Instant;

use auralink_types::{Bitrate, Policy, Reason, Rung};

use crate::cost::wire_bitrate;
use crate::fallback::{Fallback, Phase};
use crate::gate::ProbeGate;
use crate::judge::Judge;
use crate::ladder::{Choice, Situation, choose, stays};
use crate::pace::Pace;
use crate::prediction::predict;
use growth::{GROW_PAUSE, next_step};

/// What a publisher was thinned to is coded a second time only for a leg that takes less than this part of it: each coding
/// costs some of the sound.
const WORTH_CODING_AGAIN: f64 = 0.75;

/// What binds a leg beside its situation. The default: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Its receiver's user vetoed AIC.
    pub opted_out: bool,
    /// Its receiver cannot decode the sender's packets.
    pub deaf: bool,
    /// What a deaf receiver gets where the ladder says the original, if anybody can make it.
    pub instead: Option<Rung>,
    /// The sender may be about to send something else: nothing new is begun.
    pub awaited: bool,
    /// Whole-wire rate of what the sender was thinned to, where it does what it was asked for.
    pub thinned: Option<Bitrate>,
    /// Packets get longer by one step at a time, as a receiver's buffer can follow.
    pub stepwise: bool,
}

/// What follows from a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Course {
    /// What goes out stays or will be switched.
    Onward,
    /// The original goes out from now on.
    Original,
    /// The same, and the leg has fallen back: no rung holds the floor on this content.
    Bypass,
}

/// Decides for one leg.
#[derive(Clone, Debug)]
pub struct LegPilot {
    fallback: Fallback,
    pace: Pace,
    /// What goes out.
    rung: Rung,
    /// What should go out in the end.
    goal: Rung,
    /// The next step there: the goal itself, or with shorter packets.
    wanted: Rung,
    reason: Option<Reason>,
    /// `goal` is dearer and cannot wait.
    urgent: bool,
    /// When packets became as long as they are.
    grown_at: Option<Instant>,
}

impl LegPilot {
    /// The original goes out, and nothing else is wanted.
    pub fn new(now: Instant) -> Self {
        Self {
            fallback: Fallback::new(now),
            pace: Pace::default(),
            rung: Rung::Original,
            goal: Rung::Original,
            wanted: Rung::Original,
            reason: None,
            urgent: false,
            grown_at: None,
        }
    }

    /// What goes out.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// What should go out in the end.
    pub fn goal(&self) -> Rung {
        self.goal
    }

    /// What should be coded now: the goal, or a step to it.
    pub fn wanted(&self) -> Rung {
        self.wanted
    }

    /// Why the goal is not what the policy would like, if it is not.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Where the fallback machine stands.
    pub fn phase(&self) -> Phase {
        self.fallback.phase()
    }

    /// Why the leg fell back, or is about to.
    pub fn trouble(&self) -> Option<Reason> {
        self.fallback.reason()
    }

    /// Whether coded packets may go out.
    pub fn may_send_coded(&self) -> bool {
        self.fallback.may_send_coded()
    }

    /// Whether the core should be fed for this leg.
    pub fn wants_core(&self) -> bool {
        self.fallback.wants_core()
    }

    /// Whether what is wanted may replace what goes out now.
    pub fn may_switch(&self, now: Instant) -> bool {
        self.pace.may_switch(now) || (self.urgent && self.may_raise(now))
    }

    /// What goes out, with what is expected of it.
    pub fn choice(&self, policy: &Policy, situation: &Situation, judge: &Judge) -> Choice {
        let expected = predict(self.rung, policy, situation, judge.calibration());
        Choice {
            rung: self.rung,
            reason: self.trouble().filter(|_| !self.may_send_coded()).or(self.reason),
            expected: expected.quality,
            heard: expected.heard,
        }
    }

    /// Decides anew.
    pub fn review(
        &mut self,
        now: Instant,
        policy: &Policy,
        situation: &Situation,
        terms: &Terms,
        judge: &Judge,
    ) -> Course {
        let situation = &Situation {
            content: judge.content(),
            ..*situation
        };
        let (better, reason) = self.prefer(policy, situation, terms, judge);
        let held = self.held();
        let stay = better != held && stays(held, better, policy, situation, judge.calibration());
        let rung = if stay { held } else { better };
        self.reason = reason;
        if rung != self.goal {
            self.aim(now, rung, situation, terms, judge.breached());
        }
        self.wanted = if terms.stepwise {
            let source = situation.source_packet.unwrap_or_default();
            let rested = self
                .grown_at
                .is_none_or(|at| now.saturating_duration_since(at) >= GROW_PAUSE);
            next_step(self.rung, self.goal, source, rested)
        } else {
            self.goal
        };
        if rung != Rung::Original || self.rung == Rung::Original {
            Course::Onward
        } else if reason == Some(Reason::Quality) && self.fallback.handle_dead(now, Reason::Quality) {
            Course::Bypass
        } else {
            Course::Original
        }
    }

    /// Something else goes out now.
    pub fn handle_switch(&mut self, now: Instant, to: Rung) {
        self.pace.handle_switch(now, self.rung, to);
        self.rung = to;
        self.urgent = false;
        self.grown_at = Some(now);
    }

    /// The coder of what goes out goes on with other packets; `true` when more than their length changed.
    pub fn handle_reshape(&mut self, now: Instant, to: Rung) -> bool {
        let same_rate = self
            .rung
            .packet()
            .is_some_and(|packet| to.with_packet(packet) == self.rung);
        if !same_rate {
            self.pace.handle_switch(now, self.rung, self.goal);
            self.urgent = false;
        }
        if to.packet() != self.rung.packet() {
            self.grown_at = Some(now);
        }
        self.rung = to;
        !same_rate
    }

    /// Nothing but originals is wanted.
    pub fn want_original(&mut self, reason: Reason) {
        (self.goal, self.wanted) = (Rung::Original, Rung::Original);
        self.reason = Some(reason);
    }

    /// Nothing but what goes out now is wanted.
    pub fn want_no_change(&mut self, reason: Reason) {
        (self.goal, self.wanted) = (self.rung, self.rung);
        self.reason = Some(reason);
    }

    /// What is decided next does not wait for its turn.
    pub fn forget_pace(&mut self) {
        self.pace = Pace::default();
    }

    /// A coded packet came in time.
    pub fn handle_good(&mut self, now: Instant) {
        self.fallback.handle_good(now);
    }

    /// A frame was late or failed. `true` when the leg falls back because of it.
    pub fn handle_bad(&mut self, now: Instant, reason: Reason) -> bool {
        self.fallback.handle_bad(now, reason)
    }

    /// There is nothing to wait for. `true` when the leg falls back because of it.
    pub fn handle_dead(&mut self, now: Instant, reason: Reason) -> bool {
        self.fallback.handle_dead(now, reason)
    }

    /// The rung has been well under the floor for long: its trial has failed. `true` when the leg falls back because of it.
    pub fn handle_breach(&mut self, now: Instant, rung: Rung) -> bool {
        self.wanted == rung && self.phase() == Phase::Probation && self.handle_bad(now, Reason::Quality)
    }

    /// Time passes. `true` when the leg has just recovered.
    pub fn handle_timeout(&mut self, now: Instant, gate: &mut ProbeGate, judge: &mut Judge) -> bool {
        let before = self.phase();
        let recovered = self.fallback.handle_timeout(now, gate);
        let begins = self.phase() == Phase::Probation && before != Phase::Probation;
        // Other content may have come by: the trial starts from what is generally expected.
        if begins && self.trouble() == Some(Reason::Quality) {
            judge.forget_lessons();
        }
        recovered
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.fallback
            .poll_timeout()
            .filter(|_| self.wanted != Rung::Original)
    }

    /// When packets may get longer by the next step.
    pub fn grows_at(&self) -> Option<Instant> {
        let growing = self.rung != Rung::Original && self.rung == self.wanted && self.rung != self.goal;
        self.grown_at.filter(|_| growing).map(|at| at + GROW_PAUSE)
    }

    /// What the ladder says, within the terms.
    fn prefer(
        &self,
        policy: &Policy,
        situation: &Situation,
        terms: &Terms,
        judge: &Judge,
    ) -> (Rung, Option<Reason>) {
        if !terms.deaf && terms.opted_out {
            return (Rung::Original, Some(Reason::OptOut));
        }
        if !terms.deaf && terms.awaited && self.rung == Rung::Original {
            return (Rung::Original, None);
        }
        let Choice { rung, reason, .. } = choose(policy, situation, judge.calibration());
        if terms.deaf {
            return match (rung, terms.instead) {
                (Rung::Original, Some(instead)) => (instead, Some(Reason::ReceiverNotCapable)),
                (Rung::Original, None) => (rung, reason),
                _ => (rung, reason.or(Some(Reason::ReceiverNotCapable))),
            };
        }
        let coded_again = terms.thinned.zip(wire_bitrate(rung));
        let worth = coded_again.is_none_or(|(thinned, coded)| {
            coded.as_bps() as f64 <= WORTH_CODING_AGAIN * thinned.as_bps() as f64
        });
        (if worth { rung } else { Rung::Original }, reason)
    }

    /// Takes another goal, if it is time.
    fn aim(&mut self, now: Instant, rung: Rung, situation: &Situation, terms: &Terms, breached: bool) {
        let waiting = !self.rung.same_family(self.goal);
        let (cost, next) = (wire_bitrate(self.rung), wire_bitrate(rung));
        let room = situation.network.capacity;
        let squeezed = cost.is_some_and(|cost| room.is_some_and(|room| cost > room));
        let urgent = ((breached && next > cost) || squeezed) && self.may_raise(now);
        let cheaper = cost.is_some() && next < cost;
        let due = self.pace.may_switch(now) && (!cheaper || self.pace.may_cheapen(now));
        let unheard = terms.deaf && self.rung == Rung::Original;
        let free = rung == Rung::Original || rung == self.rung || waiting || unheard;
        if free || urgent || due {
            self.goal = rung;
            self.urgent = urgent;
        }
    }

    /// Where the leg stands: what goes out, or what it is growing to.
    fn held(&self) -> Rung {
        if self.rung.same_family(self.goal) {
            self.goal
        } else {
            self.rung
        }
    }

    fn may_raise(&self, now: Instant) -> bool {
        self.rung != Rung::Original && self.pace.may_switch_urgently(now)
    }
}
