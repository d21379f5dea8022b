//! Hysteresis: a worry must last before it is one, and be gone for a while before it is none.

/// What a check did to the latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Raised,
    Cleared,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latch {
    raised: bool,
    /// Checks in a row that speak against the present state.
    against: u32,
}

impl Latch {
    pub(crate) const fn raised() -> Self {
        Self {
            raised: true,
            against: 0,
        }
    }

    pub(crate) const fn is_raised(&self) -> bool {
        self.raised
    }

    /// Whether nothing would be lost if the latch were forgotten.
    pub(crate) const fn is_idle(&self) -> bool {
        !self.raised && self.against == 0
    }

    pub(crate) fn check(&mut self, bad: bool, raise_after: u32, clear_after: u32) -> Option<Turn> {
        if bad == self.raised {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.raised { clear_after } else { raise_after };
        if self.against < needed {
            return None;
        }
        *self = Self {
            raised: bad,
            against: 0,
        };
        Some(if bad { Turn::Raised } else { Turn::Cleared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(checks: &str) -> Vec<Option<Turn>> {
        let mut latch = Latch::default();
        checks
            .chars()
            .map(|check| latch.check(check == 'x', 3, 4))
            .collect()
    }

    #[test]
    fn three_bad_checks_in_a_row_raise_and_four_good_ones_clear() {
        let turns = turns("xxxx....");
        assert_eq!(turns[2], Some(Turn::Raised));
        assert_eq!(turns[7], Some(Turn::Cleared));
        assert_eq!(turns.iter().flatten().count(), 2);
    }

    #[test]
    fn what_comes_and_goes_neither_raises_nor_clears() {
        assert_eq!(turns("xx.xx.xx.").iter().flatten().count(), 0);
        assert_eq!(turns("xxx...x...x...x").iter().flatten().count(), 1);
    }
}
