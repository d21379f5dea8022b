//! Why something failed, in one line.

/// An error and its causes. A cause that was already told, as many libraries do in their own texts, isn't repeated.
pub fn text(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_cause_is_told_once() {
        let gone = || std::io::Error::other("connection refused");
        let away = auralink_store::StoreError::from(sqlx::Error::Io(gone()));
        let error = anyhow::Error::from(away).context("cannot open postgres://db/aura");
        assert_eq!(
            text(&error),
            "cannot open postgres://db/aura: database unavailable: error communicating with database: \
             connection refused"
        );
        let error = Err::<(), _>(gone()).context("media").unwrap_err();
        assert_eq!(text(&error), "media: connection refused");
    }
}
