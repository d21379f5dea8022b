//! Picture ids and base indexes of what goes out on a leg: pictures left out on purpose leave no gap, lost ones do.

use str0m::rtp::Vp8Patch;

use super::vp8::{PictureId, Vp8};
use crate::sequence::SequenceMap;

/// Where extended numbers begin, so that pictures from before the first one have numbers too.
const ORIGIN: u64 = 1 << 16;

/// Numbers of VP8's pictures.
#[derive(Debug, Default)]
pub struct PictureNumbers {
    /// Newest that came in of the source in progress.
    newest_in: Option<u64>,
    map: Option<SequenceMap>,
    newest_out: Option<u64>,
    base_offset: u8,
    last_base: Option<u8>,
}

impl PictureNumbers {
    /// What comes next is of another source, which goes on behind the last one.
    pub fn begin(&mut self, first: &Vp8) {
        self.newest_in = None;
        self.map = None;
        if let (Some(last), Some(base)) = (self.last_base, first.base) {
            self.base_offset = last.wrapping_add(1).wrapping_sub(base);
        }
    }

    /// Notes a packet of a picture that is left out.
    pub fn leave_out(&mut self, vp8: &Vp8) {
        if let Some(id) = vp8.picture {
            let number = self.extend(id);
            self.map_from(number).drop(number);
        }
    }

    /// The change that gives a packet its numbers, if it has others.
    pub fn patch(&mut self, vp8: &Vp8) -> Option<Vp8Patch> {
        let picture = vp8.picture.and_then(|id| {
            let number = self.extend(id);
            let number = self.map_from(number).map(number)?;
            self.newest_out = self.newest_out.max(Some(number));
            Some((number & ((1 << id.bits) - 1)) as u16)
        });
        let base = vp8.base.map(|base| base.wrapping_add(self.base_offset));
        self.last_base = base.or(self.last_base);
        vp8.patch(picture, base)
    }

    fn map_from(&mut self, first: u64) -> &mut SequenceMap {
        let next = self.newest_out.map_or(first, |newest| newest + 1);
        self.map.get_or_insert_with(|| SequenceMap::new(first, next))
    }

    /// The number with its rollovers, next to the newest.
    fn extend(&mut self, id: PictureId) -> u64 {
        let newest = *self.newest_in.get_or_insert(ORIGIN | u64::from(id.value));
        let modulus = 1 << id.bits;
        let ahead = u64::from(id.value).wrapping_sub(newest) & (modulus - 1);
        let number = if ahead < modulus / 2 {
            newest + ahead
        } else {
            newest + ahead - modulus
        };
        self.newest_in = Some(newest.max(number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp8(picture: u16, base: u8) -> Vp8 {
        let [high, low] = (0x8000 | picture).to_be_bytes();
        Vp8::read(&[0x90, 0xe0, high, low, base, 0x20, 1]).unwrap()
    }

    fn number(numbers: &mut PictureNumbers, picture: u16) -> u64 {
        numbers.patch(&vp8(picture, 0));
        numbers.newest_out.unwrap() & 0x7fff
    }

    #[test]
    fn ids_stay_unbroken_over_a_rollover_while_every_second_picture_is_left_out() {
        let mut numbers = PictureNumbers::default();
        let first = 0x7fff - 9;
        for n in 0..20 {
            let id = (first + 2 * n) & 0x7fff;
            assert_eq!(number(&mut numbers, id), u64::from(first + n) & 0x7fff);
            numbers.leave_out(&vp8((id + 1) & 0x7fff, 0));
        }
    }

    #[test]
    fn another_source_goes_on_behind_the_last_one() {
        let mut numbers = PictureNumbers::default();
        assert!(numbers.patch(&vp8(7, 3)).is_none(), "the first keeps its own");
        let next = vp8(91, 41);
        numbers.begin(&next);
        assert!(numbers.patch(&next).is_some());
        assert_eq!(
            (numbers.newest_out, numbers.last_base),
            (Some(ORIGIN | 8), Some(4))
        );
    }
}
