//! Fallback of one leg: Active → Degraded → Bypass → Probation → Active.
//!
//! Fast down, slow up. A single bad frame only degrades; three, or 200 ms without a good one, bypass. The way back
//! leads through probation, in which coded packets are made and judged but the originals still go out.

use std::time::{Duration, Instant};

use auralink_types::Reason;

/// Bad frames in a row that bypass.
const BAD_FRAMES: u32 = 3;
/// Time without a good frame after a bad one that bypasses.
const BAD_TIME: Duration = Duration::from_millis(200);
/// Good time after which a degraded leg is active again.
const HEALED: Duration = Duration::from_secs(1);
/// First time in bypass; doubles up to the last.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LAST_BACK_OFF: Duration = Duration::from_secs(300);
/// Active time after which an old fallback is forgiven.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Good frames that end probation.
const PROBES: u32 = 5;
/// Least time between changes of rung.
const SWITCH_PAUSE: Duration = Duration::from_secs(10);

/// Where a leg stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegState {
    /// Coded packets go out.
    Active,
    /// Coded packets go out, the last ones were bad.
    Degraded,
    /// Originals go out.
    Bypass,
    /// Originals go out while coded packets are judged.
    Probation,
}

/// A change of state that its owner must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Send originals from now on.
    Bypass(Reason),
    /// Make coded packets again, and send originals still.
    Probe,
    /// Coded packets may go out again.
    Return,
}

/// The state machine of one leg.
#[derive(Clone, Debug)]
pub struct LegMachine {
    state: LegState,
    reason: Option<Reason>,
    bad_run: u32,
    bad_since: Option<Instant>,
    good_run: u32,
    entered: Instant,
    back_off: Duration,
    last_switch: Option<Instant>,
}

impl LegMachine {
    /// A leg that was never bad.
    pub fn new(now: Instant) -> Self {
        Self {
            state: LegState::Active,
            reason: None,
            bad_run: 0,
            bad_since: None,
            good_run: 0,
            entered: now,
            back_off: FIRST_BACK_OFF,
            last_switch: None,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> LegState {
        self.state
    }

    /// Whether coded packets may go out.
    pub fn admits(&self) -> bool {
        matches!(self.state, LegState::Active | LegState::Degraded)
    }

    /// Why it is not active; [`Reason::Probation`] while on trial.
    pub fn reason(&self) -> Option<Reason> {
        match self.state {
            LegState::Active => None,
            LegState::Probation => Some(Reason::Probation),
            _ => self.reason,
        }
    }

    /// Takes a frame that came in time and whole.
    pub fn good(&mut self, now: Instant) -> Option<Turn> {
        self.bad_run = 0;
        self.bad_since = None;
        self.good_run = self.good_run.saturating_add(1);
        match self.state {
            LegState::Degraded if now.saturating_duration_since(self.entered) >= HEALED => {
                self.enter(now, LegState::Active);
                None
            }
            LegState::Probation if self.good_run >= PROBES => {
                self.enter(now, LegState::Active);
                Some(Turn::Return)
            }
            _ => None,
        }
    }

    /// Takes a frame that was late, broken or under the floor.
    pub fn bad(&mut self, now: Instant, reason: Reason) -> Option<Turn> {
        self.bad_run += 1;
        self.good_run = 0;
        let since = *self.bad_since.get_or_insert(now);
        match self.state {
            LegState::Bypass => None,
            LegState::Probation => self.bypass(now, reason),
            LegState::Active | LegState::Degraded => {
                if self.bad_run >= BAD_FRAMES || now.saturating_duration_since(since) >= BAD_TIME {
                    return self.bypass(now, reason);
                }
                if self.state == LegState::Active && now.saturating_duration_since(self.entered) >= FORGIVEN {
                    self.back_off = FIRST_BACK_OFF;
                }
                let forgiving = self.state == LegState::Active;
                self.reason = Some(reason);
                if forgiving {
                    self.enter(now, LegState::Degraded);
                    self.bad_run = 1;
                    self.bad_since = Some(now);
                } else {
                    self.entered = now;
                }
                None
            }
        }
    }

    /// Takes a failure that leaves nothing to wait for, such as a core that is gone.
    pub fn fail(&mut self, now: Instant, reason: Reason) -> Option<Turn> {
        if self.state == LegState::Bypass {
            return None;
        }
        self.bypass(now, reason)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Turn> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        match self.state {
            LegState::Bypass => {
                self.enter(now, LegState::Probation);
                Some(Turn::Probe)
            }
            LegState::Degraded if self.bad_since.is_some() => {
                let reason = self.reason.unwrap_or(Reason::Late);
                self.bypass(now, reason)
            }
            _ => None,
        }
    }

    /// When time alone changes something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            LegState::Bypass => Some(self.entered + self.back_off),
            LegState::Degraded => self.bad_since.map(|since| since + BAD_TIME),
            _ => None,
        }
    }

    /// Whether the rung may change again.
    pub fn may_switch(&self, now: Instant) -> bool {
        self.last_switch.is_none_or(|last| now.saturating_duration_since(last) >= SWITCH_PAUSE)
    }

    /// When the rung may change again, if not now.
    pub fn switch_due(&self) -> Option<Instant> {
        self.last_switch.map(|last| last + SWITCH_PAUSE)
    }

    /// Notes that the rung changed.
    pub fn switched(&mut self, now: Instant) {
        self.last_switch = Some(now);
    }

    fn bypass(&mut self, now: Instant, reason: Reason) -> Option<Turn> {
        // Failing on trial or soon after a return doubles the wait; the very first fallback does not.
        let soon = now.saturating_duration_since(self.entered) < FORGIVEN;
        let again = self.last_switch.is_some() && self.good_run_was_a_return();
        self.back_off = match self.state {
            LegState::Probation => (self.back_off * 2).min(LAST_BACK_OFF),
            _ if again && soon => (self.back_off * 2).min(LAST_BACK_OFF),
            _ if soon => self.back_off,
            _ => FIRST_BACK_OFF,
        };
        self.reason = Some(reason);
        self.enter(now, LegState::Bypass);
        Some(Turn::Bypass(reason))
    }

    fn good_run_was_a_return(&self) -> bool {
        self.reason.is_some()
    }

    fn enter(&mut self, now: Instant, state: LegState) {
        self.state = state;
        self.entered = now;
        self.bad_run = 0;
        self.bad_since = None;
        self.good_run = 0;
    }
}
