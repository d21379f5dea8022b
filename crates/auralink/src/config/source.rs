//! The configuration file: its text, and where in it a mistake stands.

use std::path::{Path, PathBuf};

use auralink_types::FieldError;
use toml::de::{DeTable, DeValue};

use super::ServeConfig;

/// A configuration file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads it.
    pub fn read(path: &Path) -> Result<Self, FieldError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| FieldError::new("config", format!("cannot read {}: {error}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// What it says.
    pub fn parse(&self) -> Result<ServeConfig, FieldError> {
        let document =
            toml::Deserializer::parse(&self.text).map_err(|error| self.refused("config", &error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let field = match error.path().to_string() {
                path if path == "." => "config".to_owned(),
                path => path,
            };
            self.refused(&field, error.inner())
        })
    }

    /// The same refusal with the place of its field, if the file names that.
    pub fn locate(&self, error: FieldError) -> FieldError {
        let table = DeTable::parse(&self.text).ok();
        match table.and_then(|table| find(table.get_ref(), &error.field)) {
            Some(at) => FieldError::new(error.field, format!("{} ({})", error.problem, self.place(at))),
            None => error,
        }
    }

    fn refused(&self, field: &str, error: &toml::de::Error) -> FieldError {
        let problem = error.message().trim().replace('\n', ", ");
        match error.span() {
            Some(span) => FieldError::new(field, format!("{problem} ({})", self.place(span.start))),
            None => FieldError::new(field, problem),
        }
    }

    fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}, line {line}, column {column}", self.path.display())
    }
}

/// Where the value of a dotted field begins. Names of keys may have dots in them.
fn find(table: &DeTable<'_>, field: &str) -> Option<usize> {
    table.iter().find_map(|(name, value)| {
        let rest = field.strip_prefix(&**name.get_ref())?;
        if rest.is_empty() {
            return Some(value.span().start);
        }
        match value.get_ref() {
            DeValue::Table(inner) => find(inner, rest.strip_prefix('.')?),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            path: "aura.toml".into(),
            text: text.into(),
        }
    }

    fn refused(text: &str) -> String {
        let source = source(text);
        let checked = source
            .parse()
            .and_then(|config| config.validate().map_err(|error| source.locate(error)));
        checked.unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_column() {
        for (text, place) in [
            ("listen = ", "line 1, column 10"),
            (
                "[keys]\nk = \"a secret long enough\"\nk = \"twice\"",
                "line 3, column 1",
            ),
            ("price_per_gb = 1\nai_workers = \"many\"", "line 2, column 14"),
            ("ai_workers = -1", "line 1, column 14"),
            ("# ä\n\"ä\" = 1", "line 2, column 1"),
            (
                "[keys]\nk = \"a secret long enough\"\n[retention]\n\n  metrics_days = 0",
                "line 5, column 18",
            ),
            ("[keys]\n\"a.b\" = \"short\"", "line 2, column 9"),
            (
                "[keys]\nk = \"a secret long enough\"\n[alerts]\nquality = 2.0",
                "line 4, column 11",
            ),
        ] {
            let said = refused(text);
            assert!(said.contains(&format!("aura.toml, {place}")), "{text}\n{said}");
            assert!(!said.contains('\n') && !said.contains("secret long"), "{said}");
        }
    }
}
