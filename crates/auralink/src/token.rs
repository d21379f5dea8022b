//! `auralink token`: mints an access token.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use auralink_token::{Claims, KeyRing};
use auralink_types::check_name;
use clap::Args;

/// Mints an access token and prints it.
#[derive(Args, Clone, Debug)]
pub struct TokenCommand {
    /// Room to join; without one the token is a server's, and says with --grants what for
    #[arg(long)]
    pub room: Option<String>,
    /// Identity of the participant; a server's token needs none
    #[arg(long)]
    pub identity: Option<String>,
    /// Display name
    #[arg(long, default_value = "")]
    pub name: String,
    /// Grants as LiveKit names them, for example `canPublish=false`; `roomList=true` without --room is an operator's
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub grants: Vec<String>,
    /// API key
    #[arg(long, default_value = "devkey", env = "LIVEKIT_API_KEY")]
    pub key: String,
    /// Secret of the key
    #[arg(
        long,
        default_value = "secret",
        env = "LIVEKIT_API_SECRET",
        hide_env_values = true
    )]
    pub secret: String,
    /// Seconds for which it is valid
    #[arg(long, default_value_t = 6 * 3600, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub ttl: u64,
}

/// Prints the token.
pub fn run(command: TokenCommand) -> anyhow::Result<()> {
    println!("{}", mint(&command)?);
    Ok(())
}

fn mint(command: &TokenCommand) -> anyhow::Result<String> {
    let mut claims = claims(command)?;
    claims.name = command.name.clone();
    let mut grants = serde_json::to_value(&claims.video)?;
    for grant in &command.grants {
        let (key, value) = grant
            .split_once('=')
            .with_context(|| format!("grant {grant}: no = in it"))?;
        // `true`, `3` and `["microphone"]` are JSON; everything else is text.
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        grants[key] = value;
    }
    let known = serde_json::from_value::<auralink_token::VideoGrants>(grants.clone()).context("grants")?;
    let written = serde_json::to_value(&known)?;
    for grant in &command.grants {
        let key = grant.split('=').next().unwrap_or_default();
        if written.get(key) != grants.get(key) {
            bail!("grant {grant}: there is no such grant");
        }
    }
    claims.video = known;
    let keys = KeyRing::new([(command.key.as_str(), command.secret.as_str())]);
    Ok(keys.mint(
        &command.key,
        &claims,
        Duration::from_secs(command.ttl),
        SystemTime::now(),
    )?)
}

/// Who the token is for: a participant of a room, or a server.
fn claims(command: &TokenCommand) -> anyhow::Result<Claims> {
    for (argument, name) in [("--room", &command.room), ("--identity", &command.identity)] {
        if let Some(name) = name {
            check_name(argument, name)?;
        }
    }
    Ok(match (&command.room, &command.identity) {
        (Some(room), Some(identity)) => Claims::join(room, identity),
        (Some(_), None) => bail!("--identity is needed to join a room"),
        (None, _) if command.grants.is_empty() => {
            bail!("--room is needed to join one, or --grants to say what else it is for")
        }
        (None, identity) => Claims {
            identity: identity.clone().unwrap_or_default(),
            ..Claims::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(grants: &[&str]) -> TokenCommand {
        TokenCommand {
            room: Some("lobby".into()),
            identity: Some("ada".into()),
            name: String::new(),
            grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
            key: "devkey".into(),
            secret: "secret".into(),
            ttl: 60,
        }
    }

    #[test]
    fn a_minted_token_verifies_with_the_grants_asked_for() {
        let command = command(&["canPublish=false", "roomAdmin=true"]);
        let jwt = mint(&command).unwrap();
        let keys = KeyRing::new([("devkey", "secret")]);
        let claims = keys.verify(&jwt, SystemTime::now()).unwrap().claims;
        assert_eq!(
            (claims.identity.as_str(), claims.video.room.as_str()),
            ("ada", "lobby")
        );
        assert!(claims.video.room_admin && !claims.video.can_publish());
    }

    #[test]
    fn a_token_without_a_room_is_an_operators() {
        let mut command = command(&["roomList=true"]);
        (command.room, command.identity) = (None, None);
        let jwt = mint(&command).unwrap();
        let keys = KeyRing::new([("devkey", "secret")]);
        let claims = keys.verify(&jwt, SystemTime::now()).unwrap().claims;
        assert!(claims.video.is_operator() && claims.identity.is_empty());
        command.grants.clear();
        assert!(mint(&command).unwrap_err().to_string().contains("--room"));
        command.room = Some("lobby".into());
        assert!(mint(&command).unwrap_err().to_string().contains("--identity"));
        command.identity = Some("a\nb".into());
        assert!(mint(&command).unwrap_err().to_string().contains("--identity"));
    }

    #[test]
    fn a_grant_that_does_not_exist_is_refused_by_name() {
        for grant in ["canFly=true", "canPublish", "canPublish=maybe"] {
            let error = format!("{:#}", mint(&command(&[grant])).unwrap_err());
            assert!(error.contains("grant"), "{error}");
        }
    }
}
