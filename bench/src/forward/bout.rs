//! One server under one load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use auralink_client::made_up_voice;
use auralink_load::{
    Call, Clips, Crowd, Door, LoadError, Person, Pictures, Seating, Sends, ServerProcess, Turns, Voice,
};
use serde::Serialize;
use tokio::runtime::Handle;

use super::janus;
use super::scenario::Scenario;
use crate::access;

/// Longest wait for people to be connected.
const PATIENCE: Duration = Duration::from_secs(60);

/// Left out after that: lines are agreed, key pictures asked for.
const SETTLE: Duration = Duration::from_secs(4);

/// Between two joins.
const BETWEEN: Duration = Duration::from_millis(15);

/// What is put on a server.
#[derive(Clone)]
pub struct Load {
    /// What is forwarded.
    pub scenario: Scenario,
    /// People who only listen.
    pub listeners: usize,
    /// How long is measured.
    pub length: Duration,
    /// The picture, if it is needed.
    pub pictures: Option<Arc<Pictures>>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Bout {
    /// Packets a second that people got.
    pub packets_per_s: f64,
    /// Of 1 second of the server's processor time.
    pub packets_per_busy_s: f64,
    /// The server's processor time, of one core.
    pub busy: f64,
    /// Of a packet's way through the server.
    pub way_ms_p50: f64,
    /// As above.
    pub way_ms_p99: f64,
    /// Packets lost on the way.
    pub lost: u64,
    /// Payload of a packet, bytes: who forwards smaller pictures forwards less.
    pub payload_bytes: f64,
    /// Packets that the crowd itself read too late.
    pub unread: u64,
    /// How busy the crowd was, of one core.
    pub own_busy: f64,
}

/// The server that people join.
#[derive(Clone)]
pub enum Under {
    /// Ours, by address.
    Auralink(String),
    /// The baseline, by its API.
    Janus(janus::Api),
}

/// Puts the load on; blocks its thread.
pub fn fight(load: &Load, under: &Under, pid: u32, runtime: &Handle) -> Result<Bout> {
    let process = ServerProcess::new(pid)?;
    let crowd = Crowd::new(Clips::new(made_up_voice(), false)?)?;
    let mut bout = Hall {
        load,
        under,
        runtime,
        crowd,
        start: Instant::now(),
    };
    let publishers = load.scenario.publishers();
    for number in 0..publishers {
        bout.seat_publisher(number)?;
        bout.pass(BETWEEN)?;
    }
    bout.connected()?;
    let listeners = match (load.scenario.is_mutual(), under) {
        // There the same connection goes both ways; here it takes two.
        (true, Under::Auralink(_)) => 0,
        (true, Under::Janus(_)) => publishers,
        (false, _) => load.listeners,
    };
    for number in 0..listeners {
        bout.seat_listener(number)?;
        bout.pass(BETWEEN)?;
    }
    bout.connected()?;
    bout.pass(SETTLE)?;
    bout.crowd.restart()?;
    let before = process.busy()?;
    bout.pass(load.length)?;
    let found = bout.crowd.found()?;
    let busy = (process.busy()? - before).as_secs_f64();
    let [flow] = &found.flows[..] else {
        bail!("one kind of media was sent, {} were counted", found.flows.len());
    };
    let streams = load.scenario.streams(load.listeners);
    ensure!(
        flow.streams == streams,
        "{} of {streams} streams arrived",
        flow.streams
    );
    let way = flow.way_ms_p50.zip(flow.way_ms_p99);
    let (way_ms_p50, way_ms_p99) = way.context("no packet's way could be timed")?;
    Ok(Bout {
        packets_per_s: flow.received as f64 / found.seconds,
        packets_per_busy_s: flow.received as f64 / busy,
        busy: busy / found.seconds,
        way_ms_p50,
        way_ms_p99,
        lost: flow.lost,
        payload_bytes: flow.received_bytes as f64 / flow.received.max(1) as f64,
        unread: found.unread,
        own_busy: found.own_busy,
    })
}

struct Hall<'a> {
    load: &'a Load,
    under: &'a Under,
    runtime: &'a Handle,
    crowd: Crowd,
    start: Instant,
}

fn talker(number: usize) -> String {
    format!("talker-{number}")
}

impl Hall<'_> {
    fn seat_publisher(&mut self, number: usize) -> Result<()> {
        let scenario = self.load.scenario;
        let identity = talker(number);
        let (speaks, shows) = scenario.sends();
        let voice = Voice {
            number,
            turns: Turns::ALL,
            since: self.start,
        };
        let sends = Sends {
            voice: speaks.then_some(voice),
            pictures: self.load.pictures.clone().filter(|_| shows),
            messages: None,
        };
        let (under, runtime) = (self.under.clone(), self.runtime);
        let listens = scenario.is_mutual();
        let seating = self.seating(&identity, listens, (speaks, shows))?;
        self.seat(&identity, sends, |now, local| {
            Ok(match (&under, seating) {
                (Under::Janus(api), _) => {
                    let feed = 1 + number as u64;
                    let person = janus::Publisher::join(runtime, api, feed, (speaks, shows), (now, local))?;
                    Box::new(person)
                }
                (Under::Auralink(_), seating) => Box::new(Person::join(runtime, &seating, now, local)?),
            })
        })
    }

    fn seat_listener(&mut self, number: usize) -> Result<()> {
        let identity = format!("listener-{number}");
        let (under, runtime, scenario) = (self.under.clone(), self.runtime, self.load.scenario);
        let seating = self.seating(&identity, true, (false, false))?;
        self.seat(&identity, Sends::default(), |now, local| {
            Ok(match &under {
                Under::Janus(api) => {
                    let feeds: HashMap<u64, Arc<str>> = (0..scenario.publishers())
                        .filter(|other| !scenario.is_mutual() || *other != number)
                        .map(|other| (1 + other as u64, talker(other).into()))
                        .collect();
                    Box::new(janus::Subscriber::join(runtime, api, feeds, (now, local))?)
                }
                Under::Auralink(_) => Box::new(Person::join(runtime, &seating, now, local)?),
            })
        })
    }

    fn seating(&self, identity: &str, listens: bool, (speaks, shows): (bool, bool)) -> Result<Seating> {
        Ok(Seating {
            url: match self.under {
                Under::Auralink(address) => format!("ws://{address}"),
                Under::Janus(_) => String::new(),
            },
            authorities: None,
            token: access::token("forward", identity)?,
            listens,
            speaks,
            shows,
            // What is compared are the same packets, and Janus gets no RED.
            red: false,
            model: None,
        })
    }

    fn seat(
        &mut self,
        identity: &str,
        sends: Sends,
        call: impl FnOnce(Instant, std::net::SocketAddr) -> Result<Box<dyn Call>, LoadError>,
    ) -> Result<()> {
        let door = Door {
            identity,
            bind: match self.under {
                Under::Auralink(_) => [127, 0, 0, 1].into(),
                Under::Janus(_) => janus::address()?,
            },
            sends,
        };
        self.crowd.seat(door, call)?;
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<()> {
        let since = Instant::now();
        while since.elapsed() < time {
            self.crowd.turn()?;
        }
        let joins = self.crowd.joins();
        ensure!(
            joins.failed == 0,
            "{} fell out: {}",
            joins.failed,
            joins.failures.join("; ")
        );
        Ok(())
    }

    fn connected(&mut self) -> Result<()> {
        let since = Instant::now();
        while self.crowd.connected() < self.crowd.people() {
            ensure!(
                since.elapsed() < PATIENCE,
                "not everybody is connected after {PATIENCE:?}"
            );
            self.pass(BETWEEN)?;
        }
        Ok(())
    }
}
