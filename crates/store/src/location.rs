//! Where a database is, as its URL says.

use auralink_types::FieldError;

use crate::postgres;

const KNOWN: &str = "memory, a file, a sqlite: URL or a postgres:// URL";

/// Where a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location<'a> {
    /// In this process.
    Memory,
    /// A file of SQLite's.
    File(&'a str),
    /// At the other end of that URL.
    Postgres(&'a str),
}

impl<'a> Location<'a> {
    /// Reads `memory`, the path of a file, a `sqlite:` URL or a `postgres:` URL. What looks like any other URL, or like
    /// libpq's `host=… dbname=…`, is refused: a file of that name is what nobody means.
    pub(crate) fn parse(url: &'a str) -> Result<Self, FieldError> {
        let refused = |problem: String| Err(FieldError::new("database", problem));
        if url.trim() != url || url.chars().any(char::is_control) {
            return refused("must have no blanks around it and no control characters in it".into());
        }
        let Some((scheme, rest)) = scheme(url) else {
            if url.contains("://") || ["host=", "dbname="].iter().any(|word| url.contains(word)) {
                return refused(format!("must be {KNOWN}"));
            }
            return Self::path(url);
        };
        match scheme.as_str() {
            "postgres" | "postgresql" if rest.starts_with("//") => {
                postgres::options(url)?;
                Ok(Self::Postgres(url))
            }
            "postgres" | "postgresql" => refused(format!(
                "must begin with {scheme}://, behind which come login, host and name"
            )),
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                // What follows a question mark is options of other programs, such as `mode=rwc`.
                Self::path(path.split_once('?').map_or(path, |(path, _)| path))
            }
            other => refused(format!(
                "must be {KNOWN}, got {other}: (a file whose name begins so is ./{other}:…)"
            )),
        }
    }

    fn path(path: &'a str) -> Result<Self, FieldError> {
        match path {
            "" => Err(FieldError::new("database", "must not be empty")),
            "memory" | ":memory:" => Ok(Self::Memory),
            file => Ok(Self::File(file)),
        }
    }
}

/// What stands before the first colon (RFC 3986 section 3.1) and what behind it, where that can be a scheme we know or
/// somebody else's.
fn scheme(url: &str) -> Option<(String, &str)> {
    let (name, rest) = url.split_once(':')?;
    let fits = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    fits.then(|| (name.to_ascii_lowercase(), rest))
}

/// Whether a database can be looked for there at all; the field of a refusal is `database`.
pub fn check_url(url: &str) -> Result<(), FieldError> {
    Location::parse(url).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_memory_and_both_kinds_of_url_are_told_apart() {
        for memory in ["memory", ":memory:", "sqlite::memory:", "sqlite://:memory:"] {
            assert_eq!(Location::parse(memory), Ok(Location::Memory), "{memory}");
        }
        for (url, path) in [
            ("auralink.db", "auralink.db"),
            ("/var/lib/aura.db", "/var/lib/aura.db"),
            ("./odd:name", "./odd:name"),
            ("data/12:30.db", "data/12:30.db"),
            ("sqlite:aura.db", "aura.db"),
            ("sqlite:///var/aura.db?mode=rwc", "/var/aura.db"),
            ("SQLite:aura.db", "aura.db"),
        ] {
            assert_eq!(Location::parse(url), Ok(Location::File(path)), "{url}");
        }
        for url in [
            "postgres://ada@db/aura",
            "postgresql://db/aura",
            "Postgres://db/aura",
        ] {
            assert_eq!(Location::parse(url), Ok(Location::Postgres(url)));
        }
    }

    #[test]
    fn what_nobody_means_as_the_name_of_a_file_is_refused() {
        for url in [
            "",
            "sqlite:",
            "postgress:foo",
            "postgres:foo",
            "postgres:/db/aura",
            "mysql://db/aura",
            "file:aura.db",
            "postgres://db:port/aura",
            "host=db dbname=aura",
            "://db/aura",
            " postgres://db/aura",
            "postgres://db/aura\n",
        ] {
            let refused = Location::parse(url).unwrap_err();
            assert_eq!(refused.field, "database", "{url:?}: {refused}");
        }
    }
}
