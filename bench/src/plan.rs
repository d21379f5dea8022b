//! The runs of the demo: what each client is, what is asked of the server, what is done to it.

use serde_json::{Value, json};

/// What one run is about.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name in table, JSON and file names.
    pub mode: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    /// Configuration posted for both users before they join; `None` leaves AIC as it is: off.
    pub config: Option<Value>,
    /// Who is talking.
    pub clients: Clients,
    /// When the AI worker is killed, and for how long.
    pub outage: Option<Outage>,
}

/// What the two clients can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Both send and understand only what a stock LiveKit client does.
    Stock,
    /// Both understand AIC and can be steered.
    Aic,
    /// The first is a stock client, the second an AIC client: what the first says, the server must code; what the
    /// second says, it must decode.
    StockSpeaker,
    /// The first begins with the neural codec of its own accord, the second is a stock client that cannot decode it.
    NeuralSpeaker,
}

/// A failure brought about in mid-call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// Share of the run after which it begins.
    pub at: f64,
    /// How long the worker stays away, in milliseconds.
    pub down_ms: u64,
}

/// What the built-in model holds at 6 kbps and not at 3, and Opus only for more of the wire.
const NEURAL_FLOOR: f64 = 0.45;

/// All runs in order; the first is the baseline.
pub fn plans() -> Vec<Plan> {
    let mode = |mode: &'static str, about| Plan {
        mode,
        about,
        config: Some(json!({ "enabled": true, "mode": mode })),
        clients: Clients::Aic,
        outage: None,
    };
    let neural = || Some(json!({ "enabled": true, "mode": "aggressive", "min_quality_score": NEURAL_FLOOR }));
    vec![
        Plan {
            mode: "off",
            about: "AIC off, two stock clients: Opus 48 kbps with RED, 20 ms packets.",
            config: None,
            clients: Clients::Stock,
            outage: None,
        },
        mode("conservative", "Saves half, quality floor 0.95."),
        mode("adaptive", "The default: saves 80 %, quality floor 0.85."),
        mode(
            "aggressive",
            "For very low bandwidth: saves 90 %, quality floor 0.70.",
        ),
        Plan {
            mode: "neural",
            about: "Aggressive with a quality floor of 0.45, so that the ladder goes down to the neural codec.",
            config: neural(),
            clients: Clients::Aic,
            outage: None,
        },
        Plan {
            mode: "worker_killed",
            about: "The server codes what a stock client says for one that understands AIC; its AI worker is killed in mid-call and comes back.",
            config: neural(),
            clients: Clients::StockSpeaker,
            outage: Some(Outage {
                at: 0.35,
                down_ms: 3_000,
            }),
        },
        Plan {
            mode: "neural_speaker_killed",
            about: "A client begins with the neural codec although a stock client listens; the server steers it, and its AI worker is killed in mid-call.",
            config: neural(),
            clients: Clients::NeuralSpeaker,
            outage: Some(Outage {
                at: 0.35,
                down_ms: 3_000,
            }),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{AicConfig, ConfigChange};

    #[test]
    fn every_configuration_is_one_that_the_server_takes() {
        for plan in plans() {
            let Some(config) = plan.config else { continue };
            let change: ConfigChange = serde_json::from_value(config).unwrap();
            assert!(
                AicConfig::default().apply(&change).unwrap().policy().active,
                "{}",
                plan.mode
            );
        }
    }

    #[test]
    fn the_baseline_comes_first_and_is_untouched() {
        let first = &plans()[0];
        assert_eq!((first.mode, first.clients), ("off", Clients::Stock));
        assert!(first.config.is_none() && first.outage.is_none());
    }
}
