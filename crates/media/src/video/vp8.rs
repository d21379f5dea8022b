//! What the descriptor before a VP8 payload says (RFC 7741 section 4.2).

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

use super::picture::Temporal;

/// A packet's descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Vp8 {
    descriptor: Vp8Descriptor,
    /// Whether the packet begins a keyframe.
    pub keyframe: bool,
    /// The picture's place in the hierarchy.
    pub temporal: Temporal,
    /// Number of the picture.
    pub picture: Option<PictureId>,
    /// Counts pictures of the base.
    pub base: Option<u8>,
}

/// Number of a picture as it stands in a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// The number.
    pub value: u16,
    /// Bits it has, 7 or 15.
    pub bits: u32,
}

impl Vp8 {
    /// Reads a descriptor; `None` for one that breaks the rules.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let wide = payload.get(2).is_some_and(|first| first & 0x80 != 0);
        let picture = descriptor.picture_id().map(|value| PictureId {
            value,
            bits: if wide { 15 } else { 7 },
        });
        let (level, sync) = named_level(payload, picture).unwrap_or_default();
        let spare = payload[0] & 0x20 != 0;
        Some(Self {
            keyframe: descriptor.starts_keyframe(payload),
            temporal: match level {
                0 if spare => Temporal::SPARE,
                level => Temporal { level, sync },
            },
            picture,
            base: descriptor.tl0_pic_idx(),
            descriptor,
        })
    }

    /// The change that gives the packet these numbers, if it has others. They fit when they are as wide as what was read.
    pub fn patch(&self, picture: Option<u16>, base: Option<u8>) -> Option<Vp8Patch> {
        if picture == self.picture.map(|id| id.value) && base == self.base {
            return None;
        }
        let mut patch = self.descriptor.patch();
        if let Some(picture) = picture {
            patch = patch.picture_id(picture);
        }
        if let Some(base) = base {
            patch = patch.tl0_pic_idx(base);
        }
        patch.build().ok()
    }
}

/// Level and layer sync bit, where the descriptor names them.
fn named_level(payload: &[u8], picture: Option<PictureId>) -> Option<(u8, bool)> {
    let extended = payload.first()? & 0x80 != 0;
    let fields = *payload.get(1)?;
    if !extended || fields & 0x20 == 0 {
        return None;
    }
    let mut at = 2;
    at += match picture {
        Some(id) if id.bits == 15 => 2,
        Some(_) => 1,
        None => 0,
    };
    at += usize::from(fields & 0x40 != 0);
    let octet = payload.get(at)?;
    Some((octet >> 6, octet & 0x20 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_behind_numbers_of_every_width() {
        let of = |payload: &[u8]| Vp8::read(payload).unwrap().temporal;
        let two_sync = Temporal { level: 2, sync: true };
        assert_eq!(of(&[0x90, 0xe0, 0x81, 2, 9, 0xa0, 1]), two_sync, "15 bits");
        assert_eq!(of(&[0x90, 0xe0, 0x12, 9, 0xa0, 1]), two_sync, "7 bits");
        assert_eq!(of(&[0x90, 0x20, 0xa0, 1]), two_sync, "no numbers");
        assert_eq!(of(&[0x90, 0x10, 0xa0, 1]).level, 0, "a key index only");
        assert_eq!(of(&[0x90, 0x80, 0x81, 2, 1]), Temporal::BASE, "a picture id only");
    }

    #[test]
    fn a_picture_that_is_said_to_be_no_reference_is_spare() {
        let of = |payload: &[u8]| Vp8::read(payload).unwrap().temporal;
        assert_eq!(of(&[0x30, 1]), Temporal::SPARE);
        assert_eq!(of(&[0xb0, 0x20, 0x00, 1]), Temporal::SPARE);
        assert_eq!(of(&[0xb0, 0x20, 0x40, 1]).level, 1);
        assert_eq!(of(&[0x10, 1]), Temporal::BASE);
    }

    #[test]
    fn numbers_are_changed_only_where_they_differ() {
        let vp8 = Vp8::read(&[0x90, 0xe0, 0x81, 2, 9, 0x20, 1]).unwrap();
        assert_eq!(vp8.picture, Some(PictureId { value: 258, bits: 15 }));
        assert!(vp8.patch(Some(258), Some(9)).is_none());
        assert!(vp8.patch(Some(259), Some(9)).is_some());
        let narrow = Vp8::read(&[0x90, 0x80, 0x7f, 1]).unwrap();
        assert_eq!(narrow.picture, Some(PictureId { value: 127, bits: 7 }));
        assert!(narrow.patch(Some(0), None).is_some());
    }
}
