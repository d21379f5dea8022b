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
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::ai::{Ai, AiState, CoreError};
use crate::command::Command;
use crate::directory::ShardId;
use crate::metrics::Counters;
use crate::relay::{Letter, Note};
use crate::session::SessionConfig;
use crate::switchboard::Switchboard;
use crate::transport::TransportId;
use crate::whereabouts::{Whereabouts, Whose};

use socket::{Inbox, Udp};

/// Batches from other shards that may wait; beyond it datagrams and media are lost as in a full socket.
const MAIL: usize = 256;

/// Letters that may wait for another shard; beyond it all that is known of each other is told anew.
const OVERDUE: usize = 1 << 16;

/// Pause before a shard that died begins anew.
const REVIVE_AFTER: Duration = Duration::from_millis(100);

/// A datagram that came in at another shard's socket.
pub(crate) struct Parcel {
    received: Instant,
    source: SocketAddr,
    bytes: Box<[u8]>,
}

/// What comes from another shard.
pub(crate) enum Mail {
    /// Datagrams that came in at its socket and are ours.
    Datagrams(Vec<Parcel>),
    /// What its parts of rooms tell ours.
    Letters(ShardId, Vec<Letter>),
    /// It has died, and begins anew.
    Death(ShardId),
}

/// The way to each shard, by its number.
pub(crate) type Neighbours = Arc<[mpsc::Sender<Mail>]>;

/// Where a shard finds what others had for it.
pub(crate) type Mailbox = mpsc::Receiver<Mail>;

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
            let turns = Turns::new(sessions.shard, &mut udp, &neighbours, &mut board);
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
            for (_, neighbour) in neighbours
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != sessions.shard.0)
            {
                // One that is gone has no rooms; one that waits for us to hear of its own death is not waited for.
                let _ = neighbour
                    .send_timeout(Mail::Death(sessions.shard), REVIVE_AFTER)
                    .await;
            }
            tokio::time::sleep(REVIVE_AFTER).await;
            core.reopen(&ai);
        }
    }
}

/// Why a turn begins.
enum Turn {
    /// The socket may have datagrams.
    Readable,
    /// Another shard had something.
    Mail(Mail),
    /// Signalling has a message.
    Command(Command),
    /// The AI core has something to say.
    Outcomes,
    /// Time has passed.
    Due,
}

/// One life of a shard, turn by turn.
struct Turns<'a> {
    shard: ShardId,
    udp: &'a mut Udp,
    neighbours: &'a Neighbours,
    board: &'a mut Switchboard,
    /// What came in this turn for each shard.
    outbound: Vec<Vec<Parcel>>,
    /// What waits for each shard.
    letters: Vec<Vec<Letter>>,
    /// When the first media of this turn came.
    since: Option<Instant>,
}

impl<'a> Turns<'a> {
    fn new(shard: ShardId, udp: &'a mut Udp, neighbours: &'a Neighbours, board: &'a mut Switchboard) -> Self {
        Self {
            shard,
            udp,
            neighbours,
            board,
            outbound: neighbours.iter().map(|_| Vec::new()).collect(),
            letters: neighbours.iter().map(|_| Vec::new()).collect(),
            since: None,
        }
    }

    async fn run(mut self, commands: &mut mpsc::Receiver<Command>, mailbox: &mut Mailbox, woken: &Notify) {
        let mut inbox = Inbox::new();
        loop {
            let due = self.board.poll_timeout();
            let turn = tokio::select! {
                () = self.udp.readable() => Turn::Readable,
                Some(mail) = mailbox.recv() => Turn::Mail(mail),
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
                Turn::Mail(Mail::Datagrams(parcels)) => self.unpack(begun, &parcels),
                Turn::Mail(Mail::Letters(from, letters)) => self.read(begun, from, letters),
                Turn::Mail(Mail::Death(of)) => self.board.handle_death(begun, of),
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

    /// What parts of rooms on another shard tell ours.
    fn read(&mut self, now: Instant, from: ShardId, letters: Vec<Letter>) {
        let came = letters.iter().find_map(|letter| match &letter.note {
            Note::Packet(relayed) => Some(relayed.packet.timestamp),
            _ => None,
        });
        if let Some(came) = came {
            self.since.get_or_insert(came);
        }
        self.board.handle_letters(now, from, letters);
    }

    /// Posts what parts of rooms here have to tell others. What must arrive waits for a shard that is behind.
    fn post(&mut self, now: Instant) {
        for (to, letter) in self.board.letters().drain(..) {
            if let Some(waiting) = self.letters.get_mut(to.0) {
                waiting.push(letter);
            }
        }
        for number in 0..self.letters.len() {
            let waiting = &mut self.letters[number];
            if waiting.is_empty() {
                continue;
            }
            let mail = Mail::Letters(self.shard, std::mem::take(waiting));
            let Err(TrySendError::Full(Mail::Letters(_, mut kept))) = self.neighbours[number].try_send(mail)
            else {
                continue;
            };
            let all = kept.len();
            kept.retain(|letter| !letter.note.may_be_lost());
            self.board.counters.relayed_lost += (all - kept.len()) as u64;
            if kept.len() > OVERDUE {
                tracing::error!(shard = number, "a shard is far behind; its rooms are met anew");
                kept.clear();
                self.board.meet_anew(now, ShardId(number));
            }
            self.letters[number] = kept;
        }
    }

    /// Gives other shards what is theirs.
    fn hand_over(&mut self) {
        for (parcels, neighbour) in self.outbound.iter_mut().zip(self.neighbours.iter()) {
            if parcels.is_empty() {
                continue;
            }
            let count = parcels.len() as u64;
            match neighbour.try_send(Mail::Datagrams(std::mem::take(parcels))) {
                Ok(()) => self.board.counters.handed_over += count,
                // A shard that is behind loses datagrams as a full socket does.
                Err(_) => self.board.counters.unsent += count,
            }
        }
    }

    /// Sends everything that this turn has made.
    fn transmit(&mut self, now: Instant) {
        self.board.flush(now);
        self.post(now);
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
