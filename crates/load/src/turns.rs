//! Who of a room's publishers talks when.

use std::time::Duration;

/// Talking in turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turns {
    /// Publishers in the room.
    pub of: usize,
    /// Who talk at a time.
    pub talking: usize,
    /// Length of a turn.
    pub turn: Duration,
}

impl Turns {
    /// Everybody all the time.
    pub const ALL: Self = Self {
        of: 1,
        talking: 1,
        turn: Duration::from_secs(1),
    };

    /// Whether the how-manyth talks after that time.
    pub fn talks(&self, publisher: usize, after: Duration) -> bool {
        if self.talking >= self.of {
            return true;
        }
        let turn = (after.as_secs_f64() / self.turn.as_secs_f64()) as usize;
        let first = turn * self.talking % self.of;
        (publisher + self.of - first) % self.of < self.talking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_asked_talk_at_a_time_and_all_get_their_turn() {
        let turns = Turns {
            of: 5,
            talking: 2,
            turn: Duration::from_secs(4),
        };
        let mut talked = [0; 5];
        for second in 0..40 {
            let talking: Vec<usize> = (0..5)
                .filter(|n| turns.talks(*n, Duration::from_secs(second)))
                .collect();
            assert_eq!(talking.len(), 2, "second {second}");
            talking.iter().for_each(|n| talked[*n] += 1);
        }
        assert_eq!(talked, [16; 5]);
        assert!(Turns::ALL.talks(7, Duration::ZERO));
    }
}
