//! A shard: a thread with a socket, a clock and a switchboard of its own. Sockets and clocks here, everything else in the
//! switchboard.

pub(crate) mod socket;

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use auralink_engine::{Processor, Wake};
use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc};

use crate::ai::{Ai, AiState, CoreError};
use crate::command::Command;
use crate::metrics::Counters;
use crate::session::SessionConfig;
use crate::switchboard::Switchboard;
use crate::transport::TransportId;
use crate::whereabouts::{Whereabouts, Whose};

use socket::{Inbox, Udp};

/// Batches of other shards' datagrams that may wait; beyond it they are lost as in a full socket.
const MAIL: usize = 256;

/// Pause before a shard that died begins anew.
const REVIVE_AFTER: Duration = Duration::from_millis(100);

/// A datagram that came in at another shard's socket.
pub(crate) struct Parcel {
    received: Instant,
    source: SocketAddr,
    bytes: Box<[u8]>,
}

/// Where datagrams are sent that are another shard's, by its number.
pub(crate) type Neighbours = Arc<[mpsc::Sender<Vec<Parcel>>]>;

/// Where a shard finds what others had for it.
pub(crate) type Mailbox = mpsc::Receiver<Vec<Parcel>>;

/// The ways from each of so many shards to each.
pub(crate) fn neighbourhood(count: usize) -> (Neighbours, Vec<Mailbox>) {
    let (senders, boxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(MAIL)).unzip();
    (senders.into(), boxes)
}

/// A shard's way to the AI core.
pub(crate) struct Core {
    way: Option<Box<dyn Processor>>,
    /// Notified when the core has something to say.
    woken: Arc<Notify>,
}

impl Core {
    /// Opens a way.
    pub(crate) fn open(ai: &Ai) -> Result<Self, CoreError> {
        let woken = Arc::new(Notify::new());
        let mut core = Self { way: None, woken };
        core.way = Some((ai.core)(core.wake())?);
        Ok(core)
    }

    fn reopen(&mut self, ai: &Ai) {
        match (ai.core)(self.wake()) {
            Ok(way) => self.way = Some(way),
            Err(error) => {
                tracing::error!(%error, "no way to the AI core: everything is forwarded as it comes")
            }
        }
    }

    fn wake(&self) -> Wake {
        let bell = self.woken.clone();
        Arc::new(move || bell.notify_one())
    }
}

/// What a shard lives on; it outlives a switchboard that died.
pub(crate) struct Shard {
    pub(crate) socket: StdSocket,
    pub(crate) sessions: SessionConfig,
    pub(crate) ai: Ai,
    pub(crate) core: Core,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) mailbox: Mailbox,
    pub(crate) neighbours: Neighbours,
}

impl Shard {
    /// Starts its thread, which runs until every sender of commands is gone.
    pub(crate) fn start(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name(format!("media-{}", self.sessions.shard.0))
            .spawn(move || runtime.block_on(self.live()))?;
        Ok(())
    }

    /// Whatever panics here costs this shard's calls: its people are asked to come back, and find it begun anew.
    async fn live(self) {
        let Self {
            socket,
            sessions,
            ai,
            mut core,
            mut commands,
            mut mailbox,
            neighbours,
        } = self;
        let mut udp = match Udp::new(socket) {
            Ok(udp) => udp,
            Err(error) => {
                return tracing::error!(shard = sessions.shard.0, %error, "a media shard has no socket");
            }
        };
        let mut counters = Counters::default();
        loop {
            let (now, wall) = (Instant::now(), SystemTime::now());
            let state = AiState::new(now, wall, &ai, core.way.take());
            let whereabouts = Whereabouts::new(sessions.names.clone());
            let mut board = Switchboard::new(now, whereabouts, sessions.clone(), state);
            board.counters = counters;
            let turns = Turns::new(&mut udp, &neighbours, &mut board);
            let lived = AssertUnwindSafe(turns.run(&mut commands, &mut mailbox, &core.woken));
            if lived.catch_unwind().await.is_ok() {
                return;
            }
            tracing::error!(
                shard = sessions.shard.0,
                "a media shard died; its people are asked to come back"
            );
            counters = board.counters.clone();
            counters.shard_deaths += 1;
            // What is left of it may be unfit for goodbyes, and for an end.
            let _ = catch_unwind(AssertUnwindSafe(|| board.give_up(Instant::now())));
            let _ = catch_unwind(AssertUnwindSafe(|| drop(board)));
            tokio::time::sleep(REVIVE_AFTER).await;
            core.reopen(&ai);
        }
    }
}

/// Why a turn begins.
enum Turn {
    /// The socket may have datagrams.
    Readable,
    /// Another shard had some.
    Mail(Vec<Parcel>),
    /// Signalling has a message.
    Command(Command),
    /// The AI core has something to say.
    Outcomes,
    /// Time has passed.
    Due,
}

/// One life of a shard, turn by turn.
struct Turns<'a> {
    udp: &'a mut Udp,
    neighbours: &'a Neighbours,
    board: &'a mut Switchboard,
    /// What came in this turn for each shard.
    outbound: Vec<Vec<Parcel>>,
    /// When the first media of this turn came.
    since: Option<Instant>,
}

impl<'a> Turns<'a> {
    fn new(udp: &'a mut Udp, neighbours: &'a Neighbours, board: &'a mut Switchboard) -> Self {
        Self {
            udp,
            neighbours,
            board,
            outbound: neighbours.iter().map(|_| Vec::new()).collect(),
            since: None,
        }
    }

    async fn run(mut self, commands: &mut mpsc::Receiver<Command>, mailbox: &mut Mailbox, woken: &Notify) {
        let mut inbox = Inbox::new();
        loop {
            let due = self.board.poll_timeout();
            let turn = tokio::select! {
                () = self.udp.readable() => Turn::Readable,
                Some(parcels) = mailbox.recv() => Turn::Mail(parcels),
                command = commands.recv() => match command {
                    Some(command) => Turn::Command(command),
                    None => return,
                },
                () = woken.notified() => Turn::Outcomes,
                () = tokio::time::sleep_until(due.into()) => Turn::Due,
            };
            let begun = Instant::now();
            match turn {
                Turn::Readable => self.receive(&mut inbox),
                Turn::Mail(parcels) => self.unpack(begun, &parcels),
                Turn::Command(command) => self.board.handle_command(begun, command),
                Turn::Outcomes => self.board.handle_outcomes(begun),
                Turn::Due => {}
            }
            self.transmit(begun);
            let now = Instant::now();
            if now >= self.board.poll_timeout() {
                self.board.handle_clock(now, SystemTime::now());
                self.board.handle_timeout(now);
                self.transmit(now);
            }
            self.board.turns.record(begun.elapsed());
        }
    }

    fn receive(&mut self, inbox: &mut Inbox) {
        self.udp.receive(inbox);
        let received = Instant::now();
        for (source, datagram) in inbox.datagrams() {
            match self.board.whose(source, datagram) {
                Whose::Theirs(shard) => self.outbound[shard.0].push(Parcel {
                    received,
                    source,
                    bytes: datagram.into(),
                }),
                Whose::Ours(id) => self.take(received, received, (id, source), datagram),
                Whose::Nobodys => self.board.counters.stray += 1,
            }
        }
        self.hand_over();
    }

    /// Datagrams that another shard had. They are not sent on once more: whoever has moved in between is heard again soon.
    fn unpack(&mut self, now: Instant, parcels: &[Parcel]) {
        for parcel in parcels {
            match self.board.whose(parcel.source, &parcel.bytes) {
                Whose::Ours(id) => self.take(now, parcel.received, (id, parcel.source), &parcel.bytes),
                Whose::Theirs(_) | Whose::Nobodys => self.board.counters.stray += 1,
            }
        }
    }

    fn take(
        &mut self,
        now: Instant,
        received: Instant,
        (id, source): (TransportId, SocketAddr),
        datagram: &[u8],
    ) {
        if is_media(datagram) {
            self.since.get_or_insert(received);
        }
        self.board.handle_datagram(now, id, source, datagram);
    }

    /// Gives other shards what is theirs.
    fn hand_over(&mut self) {
        for (parcels, neighbour) in self.outbound.iter_mut().zip(self.neighbours.iter()) {
            if parcels.is_empty() {
                continue;
            }
            let count = parcels.len() as u64;
            match neighbour.try_send(std::mem::take(parcels)) {
                Ok(()) => self.board.counters.handed_over += count,
                // A shard that is behind loses datagrams as a full socket does.
                Err(_) => self.board.counters.unsent += count,
            }
        }
    }

    /// Sends everything that this turn has made.
    fn transmit(&mut self, now: Instant) {
        self.board.flush(now);
        let since = self.since.take();
        let transmits = self.board.transmits();
        if transmits.is_empty() {
            return;
        }
        let waiting = transmits.make_contiguous();
        let (count, sent) = (waiting.len(), self.udp.send(waiting));
        let media = waiting
            .iter()
            .filter(|transmit| is_media(&transmit.contents))
            .count();
        transmits.clear();
        self.board.counters.datagrams_out += sent as u64;
        self.board.counters.unsent += (count - sent) as u64;
        if let Some(since) = since {
            self.board.delays.record_for(media as u64, since.elapsed());
        }
    }
}

/// RTP as opposed to RTCP, DTLS and STUN (RFC 7983, RFC 5761).
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, second, ..] if !(192..=223).contains(second))
}
