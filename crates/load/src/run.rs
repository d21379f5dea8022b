//! A load from beginning to end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use auralink_client::{facing, made_up_voice};
use auralink_token::{Claims, KeyRing};
use tokio::runtime::Handle;

use crate::call::Media;
use crate::crowd::{Crowd, Door, Messages, Sends, Voice};
use crate::error::LoadError;
use crate::person::{Person, Seating};
use crate::picture::Pictures;
use crate::plan::{Aic, Plan};
use crate::policy::Policies;
use crate::process::ServerProcess;
use crate::report::{Report, ServerUse};
use crate::stream::Clips;

/// Left out between the last join and what is measured: lines are agreed, key pictures asked for.
const SETTLE: Duration = Duration::from_secs(3);

/// Longest wait for the last to be connected.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long tokens are valid beyond the measured time.
const SPARE: Duration = Duration::from_secs(3600);

/// Until what was said last has gone out.
const GOODBYE: Duration = Duration::from_millis(300);

/// How often progress is told.
const TELL: Duration = Duration::from_secs(1);

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// People who are to be there.
    pub wanted: usize,
    /// Who are connected.
    pub connected: usize,
    /// Of what is measured, how much is over; `None` before.
    pub measured: Option<Duration>,
}

/// Puts a load on; `progress` is told once a second how far it is and says whether to go on. Stopped while it measures, it
/// reports what it has.
pub async fn run(
    plan: Plan,
    progress: impl FnMut(Progress) -> bool + Send + 'static,
) -> Result<Report, LoadError> {
    plan.check()?;
    let bind = facing(&plan.url).await?;
    if plan.aic != Aic::Off {
        let policies = Policies::at(&plan.url, plan.authorities.as_deref())?;
        for person in 0..plan.people() {
            let (room, number) = plan.place(person);
            if number < plan.publishers {
                let who = identity(&plan, room, number);
                policies.enable(&who, &token(&plan, room, &who)?).await?;
            }
        }
    }
    let runtime = Handle::current();
    let driving = tokio::task::spawn_blocking(move || {
        let stage = Stage::set(plan, bind, runtime)?;
        stage.play(progress)
    });
    driving.await.map_err(|_| LoadError::Ended)?
}

/// Who somebody is; who has AIC on is somebody else than who has not, as policies outlive a call.
fn identity(plan: &Plan, room: usize, number: usize) -> String {
    let aic = match plan.aic {
        Aic::Off => "off",
        Aic::Stock => "stock",
        Aic::Capable => "capable",
    };
    format!("{}-{aic}-{room}-{number}", plan.name)
}

fn token(plan: &Plan, room: usize, identity: &str) -> Result<String, LoadError> {
    let ring = KeyRing::new([(plan.key.as_str(), plan.secret.as_str())]);
    let claims = Claims::join(plan.room(room), identity);
    Ok(ring.mint(&plan.key, &claims, plan.length + SPARE, SystemTime::now())?)
}

struct Stage {
    plan: Plan,
    bind: IpAddr,
    runtime: Handle,
    clips: Arc<Clips>,
    pictures: Option<Arc<Pictures>>,
    crowd: Crowd,
    start: Instant,
    /// Seat of each person.
    seats: Vec<usize>,
}

impl Stage {
    fn set(mut plan: Plan, bind: IpAddr, runtime: Handle) -> Result<Self, LoadError> {
        let speech = plan.speech.take().unwrap_or_else(made_up_voice);
        let clips = Clips::new(speech, plan.aic == Aic::Capable)?;
        let pictures = match plan.media.contains(&Media::Video) {
            true => Pictures::load(plan.video.as_deref())?,
            false => None,
        };
        Ok(Self {
            crowd: Crowd::new(clips.clone())?,
            plan,
            bind,
            runtime,
            clips,
            pictures,
            start: Instant::now(),
            seats: Vec::new(),
        })
    }

    fn play(mut self, mut progress: impl FnMut(Progress) -> bool) -> Result<Report, LoadError> {
        let server = self.plan.server.map(ServerProcess::new).transpose()?;
        let before = server.map(|server| server.resident()).transpose()?;
        let wanted = self.plan.people();
        let mut told = self.start;
        let mut goes_on = true;
        let mut tell = |crowd: &Crowd, measured: Option<Duration>| {
            let now = Instant::now();
            if now >= told + TELL {
                told = now;
                goes_on &= progress(Progress {
                    wanted,
                    connected: crowd.connected(),
                    measured,
                });
            }
            goes_on
        };
        let last = Duration::from_secs_f64(wanted as f64 / self.plan.joins);
        let mut settled = None;
        loop {
            let since = self.start.elapsed();
            while self.seats.len() < wanted
                && since.as_secs_f64() * self.plan.joins >= self.seats.len() as f64
            {
                let seat = self.join(self.seats.len())?;
                self.seats.push(seat);
            }
            self.crowd.turn()?;
            if self.seats.len() == wanted && self.crowd.people() == 0 {
                return Err(LoadError::Nobody(self.crowd.joins().failures.join("; ")));
            }
            let all = self.seats.len() == wanted && self.crowd.connected() == self.crowd.people();
            if all || since > last + PATIENCE {
                let at = *settled.get_or_insert(since + SETTLE);
                if since > at {
                    break;
                }
            }
            if !tell(&self.crowd, None) {
                break;
            }
        }
        self.crowd.restart()?;
        let busy = server.map(|server| server.busy()).transpose()?;
        let from = Instant::now();
        let mut left = 0;
        while from.elapsed() < self.plan.length && tell(&self.crowd, Some(from.elapsed())) {
            self.crowd.turn()?;
            while from.elapsed().as_secs_f64() * self.plan.leaves >= (left + 1) as f64 {
                self.replace(left % wanted)?;
                left += 1;
            }
        }
        let found = self.crowd.found()?;
        let people = self.crowd.connected();
        let used = match (server, busy, before) {
            (Some(server), Some(busy), Some(before)) => {
                let (spent, resident) = (server.busy()? - busy, server.resident()?);
                Some(ServerUse::new(&found, spent, before, resident, people))
            }
            _ => None,
        };
        for seat in std::mem::take(&mut self.seats) {
            self.crowd.unseat(seat);
        }
        std::thread::sleep(GOODBYE);
        Ok(Report {
            people,
            joins: self.crowd.joins(),
            found,
            server: used,
            plan: self.plan,
        })
    }

    fn replace(&mut self, person: usize) -> Result<(), LoadError> {
        self.crowd.unseat(self.seats[person]);
        self.seats[person] = self.join(person)?;
        Ok(())
    }

    fn join(&mut self, person: usize) -> Result<usize, LoadError> {
        let plan = &self.plan;
        let (room, number) = plan.place(person);
        let identity = identity(plan, room, number);
        let publishes = number < plan.publishers;
        let sends = |media: Media| publishes && plan.media.contains(&media);
        let voice = Voice {
            number,
            turns: plan.turns(),
            since: self.start,
        };
        let messages = Messages {
            every: Duration::from_secs_f64(1.0 / plan.messages),
            bytes: plan.message_bytes,
        };
        let door = Door {
            identity: &identity,
            bind: self.bind,
            sends: Sends {
                voice: sends(Media::Audio).then_some(voice),
                pictures: self.pictures.clone().filter(|_| publishes),
                messages: sends(Media::Data).then_some(messages),
            },
        };
        let seating = Seating {
            url: plan.url.clone(),
            authorities: plan.authorities.clone(),
            token: token(plan, room, &identity)?,
            listens: !publishes || plan.publishers_listen,
            speaks: door.sends.voice.is_some(),
            shows: door.sends.pictures.is_some(),
            red: true,
            model: self.clips.model(),
        };
        let runtime = &self.runtime;
        self.crowd.seat(door, |now, local| {
            let person = Person::join(runtime, &seating, now, local)?;
            Ok(Box::new(person))
        })
    }
}
