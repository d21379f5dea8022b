//! Names of events: outside LiveKit's, where it has one; inside the store's.

/// The name outside, and the one under which the event is recorded.
const RENAMED: [(&str, &str); 7] = [
    ("room_started", "call.started"),
    ("room_finished", "call.ended"),
    ("participant_joined", "participant.joined"),
    ("participant_left", "participant.left"),
    ("track_published", "track.published"),
    ("track_unpublished", "track.unpublished"),
    ("aic.alert.cleared", "aic.alert.resolved"),
];

/// Our own; the last stands for all of them.
const OWN: [&str; 7] = [
    "aic.session.started",
    "aic.session.ended",
    "aic.fallback.triggered",
    "aic.fallback.recovered",
    "aic.config.updated",
    "aic.alert.raised",
    "aic.*",
];

/// The store's name of an event that a caller may ask for.
pub(crate) fn stored(public: &str) -> Option<&'static str> {
    let renamed = RENAMED
        .iter()
        .find(|(name, _)| *name == public)
        .map(|(_, stored)| *stored);
    renamed.or_else(|| OWN.into_iter().find(|name| *name == public))
}

/// The name that receivers see.
pub(crate) fn public(stored: &str) -> &str {
    RENAMED
        .iter()
        .find(|(_, name)| *name == stored)
        .map_or(stored, |(name, _)| *name)
}

/// Every name that a caller may ask for.
pub(crate) fn all() -> Vec<&'static str> {
    RENAMED.iter().map(|(name, _)| *name).chain(OWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_survives_the_way_in_and_out() {
        for name in all() {
            assert_eq!(public(stored(name).unwrap()), name);
        }
        assert_eq!(stored("call.started"), None, "one event, one name");
    }
}
