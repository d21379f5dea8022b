//! Everybody, driven by one thread: it looks at its sockets a thousand times a second and is woken by none of them, which
//! spares the server's sends the waking as well.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::call::{Call, Media};
use crate::error::LoadError;
use crate::histogram::Histogram;
use crate::incoming::Incoming;
use crate::picture::Pictures;
use crate::process::ServerProcess;
use crate::report::{Flow, Found, Joins};
use crate::seat::Seat;
use crate::stream::{Clip, Clips};
use crate::turns::Turns;
use crate::wire::Wire;

/// How often everybody is looked at.
const TICK: Duration = Duration::from_millis(1);

/// Most failures that are told word by word.
const MAX_FAILURES: usize = 5;

/// Slots of a publisher: a voice and three layers of pictures.
const SLOTS: usize = 4;

/// A microphone.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    /// Number among the room's publishers.
    pub number: usize,
    /// Who talks when.
    pub turns: Turns,
    /// Since when turns are counted.
    pub since: Instant,
}

/// Messages of a length at a pace.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// Time between two.
    pub every: Duration,
    /// Length of each.
    pub bytes: usize,
}

/// What somebody sends.
#[derive(Clone, Default)]
pub struct Sends {
    /// Speech.
    pub voice: Option<Voice>,
    /// Pictures.
    pub pictures: Option<Arc<Pictures>>,
    /// Messages.
    pub messages: Option<Messages>,
}

impl Sends {
    fn anything(&self) -> bool {
        self.voice.is_some() || self.pictures.is_some() || self.messages.is_some()
    }

    pub(crate) fn talks(&self, now: Instant) -> bool {
        self.voice.is_some_and(|voice| {
            let after = now.saturating_duration_since(voice.since);
            voice.turns.talks(voice.number, after)
        })
    }
}

/// How somebody comes in.
pub struct Door<'a> {
    /// Identity, by which others know who sends.
    pub identity: &'a str,
    /// Local address of their socket.
    pub bind: IpAddr,
    /// What they send.
    pub sends: Sends,
}

/// What the publishers have sent and everybody has got.
#[derive(Default)]
pub(crate) struct Ledger {
    numbers: HashMap<Arc<str>, usize>,
    publishers: Vec<[Option<Sent>; SLOTS]>,
    counts: [Count; 3],
    joins: Histogram,
    connected: u64,
}

/// When each packet of a clip was sent last.
struct Sent {
    clip: Arc<Clip>,
    at: Vec<Option<SystemTime>>,
}

#[derive(Default)]
struct Count {
    sent: u64,
    received: u64,
    bytes: u64,
    way: Histogram,
}

impl Ledger {
    pub(crate) fn number(&self, identity: &str) -> Option<usize> {
        self.numbers.get(identity).copied()
    }

    fn enter(&mut self, identity: &str) -> usize {
        let next = self.publishers.len();
        let number = *self.numbers.entry(identity.into()).or_insert(next);
        if number == next {
            self.publishers.push([const { None }; SLOTS]);
        }
        number
    }

    pub(crate) fn sends(&mut self, publisher: usize, slot: usize, clip: &Arc<Clip>) {
        let sent = &mut self.publishers[publisher][slot];
        if sent.as_ref().is_none_or(|sent| !Arc::ptr_eq(&sent.clip, clip)) {
            *sent = Some(Sent {
                clip: clip.clone(),
                at: vec![None; clip.packets().len()],
            });
        }
    }

    pub(crate) fn sent(&mut self, publisher: usize, slot: usize, packet: usize, at: SystemTime) {
        let media = if slot == 0 { Media::Audio } else { Media::Video };
        self.counts[media as usize].sent += 1;
        if let Some(sent) = &mut self.publishers[publisher][slot] {
            sent.at[packet] = Some(at);
        }
    }

    pub(crate) fn received(&mut self, stream: &mut Incoming, at: SystemTime, payload: &[u8]) {
        let count = &mut self.counts[stream.media as usize];
        count.received += 1;
        count.bytes += payload.len() as u64;
        let Some(publisher) = stream.publisher.map(|number| &self.publishers[number]) else {
            return;
        };
        let found = |slot: usize| {
            let sent = publisher[slot].as_ref()?;
            let packet = sent.clip.find(payload)?;
            at.duration_since(sent.at[packet]?).ok()
        };
        let way = match stream.media {
            Media::Video => {
                // The layer it was found in last comes first: it is nearly always that.
                let mut layers = [stream.layer, 1, 2, 3].into_iter();
                layers.find_map(|layer| {
                    let way = found(layer.max(1))?;
                    stream.layer = layer.max(1);
                    Some(way)
                })
            }
            _ => found(0),
        };
        if let Some(way) = way {
            count.way.record(way);
        }
    }

    pub(crate) fn said(&mut self) {
        self.counts[Media::Data as usize].sent += 1;
    }

    pub(crate) fn heard(&mut self, bytes: usize, way: Option<Duration>) {
        let count = &mut self.counts[Media::Data as usize];
        count.received += 1;
        count.bytes += bytes as u64;
        if let Some(way) = way {
            count.way.record(way);
        }
    }

    pub(crate) fn joined(&mut self, took: Duration) {
        self.connected += 1;
        self.joins.record(took);
    }
}

/// Everybody.
pub struct Crowd {
    wire: Wire,
    seats: Vec<Option<Seat>>,
    /// Seats that were left.
    free: Vec<usize>,
    clips: Arc<Clips>,
    ledger: Ledger,
    begun: u64,
    failed: u64,
    failures: Vec<String>,
    since: Instant,
    unread: u64,
    own: Duration,
    tick: Instant,
    readable: Vec<usize>,
}

impl Crowd {
    /// Nobody yet; those who speak will say what is in `clips`.
    pub fn new(clips: Arc<Clips>) -> Result<Self, LoadError> {
        let now = Instant::now();
        Ok(Self {
            wire: Wire::new()?,
            seats: Vec::new(),
            free: Vec::new(),
            clips,
            ledger: Ledger::default(),
            begun: 0,
            failed: 0,
            failures: Vec::new(),
            since: now,
            unread: 0,
            own: Duration::ZERO,
            tick: now,
            readable: Vec::new(),
        })
    }

    /// Lets somebody in; the number of their seat. `call` begins the call from that local address.
    pub fn seat(
        &mut self,
        door: Door<'_>,
        call: impl FnOnce(Instant, SocketAddr) -> Result<Box<dyn Call>, LoadError>,
    ) -> Result<usize, LoadError> {
        let now = Instant::now();
        let number = self.free.last().copied().unwrap_or(self.seats.len());
        let socket = self.wire.open(door.bind, number)?;
        let call = call(now, socket.address()?)?;
        let publisher = door.sends.anything().then(|| self.ledger.enter(door.identity));
        let seat = Seat::new(now, door.identity, call, socket, door.sends, publisher)?;
        if self.free.pop().is_some() {
            self.seats[number] = Some(seat);
        } else {
            self.seats.push(Some(seat));
        }
        self.begun += 1;
        Ok(number)
    }

    /// Lets somebody go.
    pub fn unseat(&mut self, seat: usize) {
        if let Some(mut gone) = self.seats.get_mut(seat).and_then(Option::take) {
            gone.leave(&mut self.ledger);
            self.wire.close(&gone.socket);
            self.free.push(seat);
        }
    }

    /// People who are there, connected or not.
    pub fn people(&self) -> usize {
        self.seats.iter().flatten().count()
    }

    /// People whose connection stands.
    pub fn connected(&self) -> usize {
        self.seats.iter().flatten().filter(|seat| seat.connected).count()
    }

    /// Does what is due, and waits for the next time.
    pub fn turn(&mut self) -> Result<(), LoadError> {
        let now = Instant::now();
        let mut readable = std::mem::take(&mut self.readable);
        self.wire.readable(&mut readable)?;
        for &number in &readable {
            let Some(Some(seat)) = self.seats.get_mut(number) else {
                continue;
            };
            let socket = seat.socket.clone();
            let mut taken = Ok(());
            let ledger = &mut self.ledger;
            self.wire.read(&socket, |datagram| {
                if taken.is_ok() {
                    taken = seat.take(now, (datagram.from, datagram.at), datagram.bytes, ledger);
                }
            });
            if let Err(error) = taken {
                self.fail(number, &error);
            }
        }
        self.readable = readable;
        for number in 0..self.seats.len() {
            let Some(seat) = &mut self.seats[number] else {
                continue;
            };
            if let Err(error) = seat.step(now, &self.clips, &mut self.ledger) {
                self.fail(number, &error);
            }
        }
        self.tick = (self.tick + TICK).max(Instant::now());
        std::thread::sleep(self.tick.saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn fail(&mut self, number: usize, error: &LoadError) {
        self.failed += 1;
        if let Some(Some(seat)) = self.seats.get(number)
            && self.failures.len() < MAX_FAILURES
        {
            self.failures.push(format!("{}: {error}", seat.identity));
        }
        self.unseat(number);
    }

    /// Begins to count anew.
    pub fn restart(&mut self) -> Result<(), LoadError> {
        self.ledger.counts = Default::default();
        for seat in self.seats.iter_mut().flatten() {
            seat.incoming.values_mut().for_each(Incoming::restart);
        }
        self.unread = self.wire.dropped();
        self.own = ServerProcess::new(std::process::id())?.busy()?;
        self.since = Instant::now();
        Ok(())
    }

    /// What was counted since.
    pub fn found(&self) -> Result<Found, LoadError> {
        let seconds = self.since.elapsed().as_secs_f64();
        let own = ServerProcess::new(std::process::id())?.busy()? - self.own;
        let media = [Media::Audio, Media::Video, Media::Data];
        let flows = media.map(|media| self.flow(media));
        Ok(Found {
            seconds,
            flows: flows
                .into_iter()
                .filter(|flow| flow.sent > 0 || flow.received > 0)
                .collect(),
            unread: self.wire.dropped().saturating_sub(self.unread),
            own_busy: own.as_secs_f64() / seconds,
        })
    }

    fn flow(&self, media: Media) -> Flow {
        let count = &self.ledger.counts[media as usize];
        let streams = self
            .seats
            .iter()
            .flatten()
            .flat_map(|seat| seat.incoming.values());
        let streams: Vec<&Incoming> = streams
            .filter(|stream| stream.media == media && stream.received() > 0)
            .collect();
        let jitter: f64 = streams.iter().map(|stream| stream.jitter().as_secs_f64()).sum();
        Flow {
            media,
            sent: count.sent,
            received: count.received,
            received_bytes: count.bytes,
            streams: streams.len(),
            lost: streams.iter().map(|stream| stream.lost()).sum(),
            jitter_ms: (!streams.is_empty()).then(|| jitter * 1e3 / streams.len() as f64),
            timed: 0,
            way_ms_p50: None,
            way_ms_p99: None,
            way_ms_longest: None,
        }
        .timed(&count.way)
    }

    /// How joining went.
    pub fn joins(&self) -> Joins {
        Joins {
            begun: self.begun,
            connected: self.ledger.connected,
            ms_p50: self.ledger.joins.ms_at(0.5),
            ms_p99: self.ledger.joins.ms_at(0.99),
            failures: self.failures.clone(),
            failed: self.failed,
        }
    }
}
