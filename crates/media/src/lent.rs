//! What a step takes out of its place for its time is there again afterwards, also when the step panics.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Lets `work` have what `take` takes out of its owner; then `put` puts it back, and a panic goes on.
pub fn lent<O, T, R>(
    owner: &mut O,
    take: impl FnOnce(&mut O) -> Option<T>,
    put: impl FnOnce(&mut O, T),
    work: impl FnOnce(&mut O, &mut T) -> R,
) -> Option<R> {
    let mut taken = take(owner)?;
    let done = catch_unwind(AssertUnwindSafe(|| work(owner, &mut taken)));
    put(owner, taken);
    Some(done.unwrap_or_else(|panic| resume_unwind(panic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_is_back_whatever_happens() {
        let mut owner = Some(vec![1]);
        let step = |owner: &mut Option<Vec<u8>>, more: u8| {
            lent(
                owner,
                Option::take,
                |owner, list| *owner = Some(list),
                |owner, list| {
                    assert!(owner.is_none());
                    list.push(more);
                    assert!(more < 3, "a fault");
                    list.len()
                },
            )
        };
        assert_eq!(step(&mut owner, 2), Some(2));
        assert!(catch_unwind(AssertUnwindSafe(|| step(&mut owner, 3))).is_err());
        assert_eq!(owner, Some(vec![1, 2, 3]));
        assert_eq!(step(&mut None, 2), None);
    }
}
