//! Secrets that come from files of their own or from the environment, so that the configuration can be shown around.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use auralink_types::FieldError;
use clap::Args;

use super::ServeConfig;

/// API keys with their secrets.
const KEYS: &str = "AURALINK_KEYS";
/// What a scrape of `/metrics` has to bring.
pub const METRICS_TOKEN: &str = "AURALINK_METRICS_TOKEN";

/// Where the database is, when the configuration file doesn't say.
#[derive(Args, Clone, Debug, Default)]
pub struct DatabaseOptions {
    /// `memory`, a file, a `sqlite:` URL or a `postgres:` URL
    #[arg(long, value_name = "URL", env = "AURALINK_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// File that holds this and nothing else, for a URL with a password
    #[arg(
        long,
        value_name = "FILE",
        env = "AURALINK_DATABASE_FILE",
        conflicts_with = "database"
    )]
    pub database_file: Option<PathBuf>,
}

impl DatabaseOptions {
    /// What was said, if anything was.
    pub fn url(&self) -> Result<Option<String>, FieldError> {
        match (&self.database, &self.database_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(file)) => one("database_file", file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Fills in what stands in the files that the configuration names, and in the environment.
pub fn fill(
    config: &mut ServeConfig,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), FieldError> {
    if let Some(file) = &config.key_file {
        let text = read("key_file", file)?;
        add(&mut config.keys, "key_file", text.lines())?;
    }
    if let Some(text) = environment(KEYS) {
        add(&mut config.keys, KEYS, text.split(['\n', ',']))?;
    }
    if let Some(file) = &config.database_file {
        if config.database != ServeConfig::default().database {
            return Err(FieldError::new(
                "database_file",
                "stands beside database: one of them is enough",
            ));
        }
        config.database = one("database_file", file)?;
    }
    if let Some(file) = &config.metrics.token_file {
        if config.metrics.token.is_some() {
            let problem = "stands beside metrics.token: one of them is enough";
            return Err(FieldError::new("metrics.token_file", problem));
        }
        config.metrics.token = Some(one("metrics.token_file", file)?);
    }
    if let Some(token) = environment(METRICS_TOKEN) {
        config.metrics.token = Some(token);
    }
    Ok(())
}

/// Lines of `key: secret`, as LiveKit's own key files have them; what begins with `#` is a remark.
fn add<'a>(
    keys: &mut BTreeMap<String, String>,
    field: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<(), FieldError> {
    for (number, line) in lines.enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself is a secret.
        let (key, secret) = line
            .split_once(':')
            .ok_or_else(|| FieldError::new(field, format!("entry {} must be `key: secret`", number + 1)))?;
        let (key, secret) = (key.trim(), secret.trim());
        if let Some(before) = keys.insert(key.to_owned(), secret.to_owned())
            && before != secret
        {
            return Err(FieldError::new(field, format!("the key {key} has two secrets")));
        }
    }
    Ok(())
}

/// The one line of a file.
fn one(field: &str, file: &Path) -> Result<String, FieldError> {
    let text = read(field, file)?;
    match text.trim() {
        "" => Err(FieldError::new(field, format!("{} is empty", file.display()))),
        line if line.contains('\n') => {
            let problem = format!("{} must have one line", file.display());
            Err(FieldError::new(field, problem))
        }
        line => Ok(line.to_owned()),
    }
}

fn read(field: &str, file: &Path) -> Result<String, FieldError> {
    std::fs::read_to_string(file)
        .map_err(|error| FieldError::new(field, format!("cannot read {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MetricsSettings;

    fn no_environment(_: &str) -> Option<String> {
        None
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn keys_come_from_the_configuration_a_file_and_the_environment() {
        let keys = file("# ours\r\n\nfiled:  of the: file \n");
        let mut config = ServeConfig {
            keys: BTreeMap::from([("here".into(), "of the table".into())]),
            key_file: Some(keys.path().into()),
            ..ServeConfig::default()
        };
        fill(&mut config, |name| {
            (name == "AURALINK_KEYS").then(|| "one: of one, two:of two\n".into())
        })
        .unwrap();
        let expected = [
            ("filed", "of the: file"),
            ("here", "of the table"),
            ("one", "of one"),
            ("two", "of two"),
        ];
        let expected = expected.map(|(key, secret)| (key.to_owned(), secret.to_owned()));
        assert_eq!(config.keys, BTreeMap::from(expected));
    }

    #[test]
    fn url_and_token_come_from_files() {
        let (url, token) = (file("postgres://ada:s3cret@db/aura\n"), file("scrape me"));
        let mut config = ServeConfig {
            database_file: Some(url.path().into()),
            metrics: MetricsSettings {
                token_file: Some(token.path().into()),
                ..MetricsSettings::default()
            },
            ..ServeConfig::default()
        };
        fill(&mut config, no_environment).unwrap();
        assert_eq!(config.database, "postgres://ada:s3cret@db/aura");
        assert_eq!(config.metrics.token.as_deref(), Some("scrape me"));
        let refused = fill(&mut config, no_environment).unwrap_err();
        assert_eq!(refused.field, "database_file", "a URL is there by now");
        let mut config = ServeConfig::default();
        fill(&mut config, |name| {
            (name == "AURALINK_METRICS_TOKEN").then(|| "from outside".into())
        })
        .unwrap();
        assert_eq!(config.metrics.token.as_deref(), Some("from outside"));
    }

    #[test]
    fn a_broken_file_is_named_and_nothing_of_it_is_shown() {
        for (field, text) in [
            ("key_file", "hush"),
            ("key_file", "k: hush\nk: hushed"),
            ("database_file", "hush\nhushed"),
            ("database_file", " \n"),
            ("metrics.token_file", ""),
        ] {
            let file = file(text);
            let path = Some(file.path().to_owned());
            let mut config = ServeConfig::default();
            match field {
                "key_file" => config.key_file = path,
                "database_file" => config.database_file = path,
                _ => config.metrics.token_file = path,
            }
            let refused = fill(&mut config, no_environment).unwrap_err();
            assert_eq!(refused.field, field);
            assert!(!refused.problem.contains("hush"), "{refused}");
        }
        let mut config = ServeConfig {
            key_file: Some("/nowhere/keys".into()),
            ..ServeConfig::default()
        };
        let refused = fill(&mut config, no_environment).unwrap_err();
        assert!(refused.problem.contains("/nowhere/keys"), "{refused}");
    }
}
