//! AIC is each user's own choice: it is made for them before they join.

use std::path::Path;
use std::time::Duration;

use auralink_client::JoinError;
use serde_json::json;
use url::Url;

use crate::error::LoadError;

/// Longest time for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The REST interface of a server.
pub struct Policies {
    http: reqwest::Client,
    config: Url,
}

impl Policies {
    /// At the address of its signalling.
    pub fn at(url: &str, authorities: Option<&Path>) -> Result<Self, LoadError> {
        let refuse = |problem: String| JoinError::Url {
            url: url.to_owned(),
            problem,
        };
        let plain = url.replacen("ws", "http", usize::from(url.starts_with("ws")));
        let mut config = Url::parse(&plain).map_err(|error| refuse(error.to_string()))?;
        config.set_path(&format!(
            "{}/api/v1/aic/config",
            config.path().trim_end_matches('/')
        ));
        // Another part of the program may have chosen it already, and there is only this one to choose.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut http = reqwest::Client::builder().timeout(ANSWER);
        if let Some(path) = authorities {
            let pem = std::fs::read(path)?;
            let found =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| refuse(error.to_string()))?;
            http = found
                .into_iter()
                .fold(http, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = http.build().map_err(|error| refuse(error.to_string()))?;
        Ok(Self { http, config })
    }

    /// Turns AIC on for whoever has that token.
    pub async fn enable(&self, who: &str, token: &str) -> Result<(), LoadError> {
        let fail = |problem: String| LoadError::Policy {
            who: who.to_owned(),
            problem,
        };
        let request = self.http.post(self.config.clone()).bearer_auth(token);
        let request = request.json(&json!({ "enabled": true }));
        let answer = request.send().await.map_err(|error| fail(error.to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        Err(fail(format!(
            "{} answered {status}: {}",
            self.config,
            text.trim()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_interface_is_where_signalling_is() {
        for (url, config) in [
            ("ws://host:7880", "http://host:7880/api/v1/aic/config"),
            ("wss://host/base/", "https://host/base/api/v1/aic/config"),
            ("http://ws.host", "http://ws.host/api/v1/aic/config"),
        ] {
            assert_eq!(Policies::at(url, None).unwrap().config.as_str(), config);
        }
        assert!(Policies::at("host", None).is_err());
    }
}
