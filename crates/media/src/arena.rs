//! A table whose handles are indices: found without hashing, and never mistaken for what stood in the place before.

/// Where something stands in an [`Arena`]. Never reused: whoever comes into a freed place gets another handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    place: u32,
    generation: u32,
}

impl Handle {
    /// As one number.
    pub const fn number(self) -> u64 {
        (self.generation as u64) << 32 | self.place as u64
    }

    /// The handle of that number.
    pub const fn from_number(number: u64) -> Self {
        Self {
            place: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by handle.
pub struct Arena<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    /// The handle that the next value will have.
    pub fn next_handle(&self) -> Handle {
        // Places are counted in 32 bits: four thousand million rooms or people do not fit into one process.
        let place = self.free.last().copied().unwrap_or(self.places.len() as u32);
        let generation = self
            .places
            .get(place as usize)
            .map_or(0, |place| place.generation);
        Handle { place, generation }
    }

    /// Puts a value in; its handle is [`Self::next_handle`].
    pub fn insert(&mut self, value: T) -> Handle {
        let handle = self.next_handle();
        match self.free.pop() {
            Some(place) => self.places[place as usize].value = Some(value),
            None => self.places.push(Place {
                generation: 0,
                value: Some(value),
            }),
        }
        handle
    }

    /// Takes a value out.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let place = self.places.get_mut(handle.place as usize)?;
        if place.generation != handle.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(handle.place);
        Some(value)
    }

    /// A value.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let place = self.places.get(handle.place as usize)?;
        place
            .value
            .as_ref()
            .filter(|_| place.generation == handle.generation)
    }

    /// A value to change.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let place = self.places.get_mut(handle.place as usize)?;
        place
            .value
            .as_mut()
            .filter(|_| place.generation == handle.generation)
    }

    /// Everything, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.places.iter().enumerate().filter_map(|(place, it)| {
            let handle = Handle {
                place: place as u32,
                generation: it.generation,
            };
            Some((handle, it.value.as_ref()?))
        })
    }

    /// All handles, by place.
    pub fn handles(&self) -> Vec<Handle> {
        self.iter().map(|(handle, _)| handle).collect()
    }

    /// All values, by place.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.value.as_ref())
    }

    /// All values, by place, to change.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.value.as_mut())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_never_finds_who_came_after() {
        let mut arena = Arena::default();
        let next = arena.next_handle();
        let anna = arena.insert("anna");
        assert_eq!(anna, next);
        let bert = arena.insert("bert");
        assert_eq!(arena.remove(anna), Some("anna"));
        assert_eq!(arena.remove(anna), None);
        let next = arena.next_handle();
        let carl = arena.insert("carl");
        assert_eq!(carl, next);
        assert_eq!(
            (arena.get(anna), arena.get(bert), arena.get(carl)),
            (None, Some(&"bert"), Some(&"carl"))
        );
        assert_eq!(arena.get_mut(anna), None);
        assert_eq!(arena.values().copied().collect::<Vec<_>>(), ["carl", "bert"]);
        assert_eq!((arena.len(), arena.handles()), (2, vec![carl, bert]));
        assert_eq!(Handle::from_number(carl.number()), carl);
    }
}
