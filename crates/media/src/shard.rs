//! The one task that owns the UDP socket and all sessions: sockets and clocks here, everything else in the switchboard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};

use crate::command::Command;
use crate::switchboard::Switchboard;

/// Largest datagram; media stays below 1500.
const DATAGRAM: usize = 2048;

/// Datagrams taken in a row before commands and timers get their turn.
const BATCH: usize = 64;

/// The socket, and whether it shows IPv4 addresses inside its own family.
struct Udp {
    socket: UdpSocket,
    mapped: bool,
}

/// Runs until every sender of commands is gone.
pub(crate) async fn run(
    socket: UdpSocket,
    mut board: Switchboard,
    mut commands: mpsc::Receiver<Command>,
    woken: Arc<Notify>,
) {
    let mapped = socket.local_addr().is_ok_and(|local| local.is_ipv6());
    let socket = Udp { socket, mapped };
    let mut buffer = vec![0u8; DATAGRAM];
    loop {
        let due = board.poll_timeout();
        let wake = tokio::select! {
            readable = socket.socket.readable() => Wake::Readable(readable.is_ok()),
            command = commands.recv() => match command {
                Some(command) => Wake::Command(command),
                None => return,
            },
            () = woken.notified() => Wake::Outcomes,
            () = tokio::time::sleep_until(due.into()) => Wake::Due,
        };
        let turn = Instant::now();
        match wake {
            Wake::Readable(true) => receive(&socket, &mut board, &mut buffer),
            Wake::Readable(false) | Wake::Due => {}
            Wake::Command(command) => board.handle_command(turn, command),
            Wake::Outcomes => board.handle_outcomes(turn),
        }
        transmit(&socket, &mut board, None);
        let now = Instant::now();
        if now >= board.poll_timeout() {
            board.handle_clock(now, SystemTime::now());
            board.handle_timeout(now);
            transmit(&socket, &mut board, None);
        }
        board.turns.record(turn.elapsed());
    }
}

/// Why a turn begins.
enum Wake {
    /// The socket may have datagrams.
    Readable(bool),
    /// Signalling has a message.
    Command(Command),
    /// The AI core has something to say.
    Outcomes,
    /// Time has passed.
    Due,
}

fn receive(socket: &Udp, board: &mut Switchboard, buffer: &mut [u8]) {
    for _ in 0..BATCH {
        // An error is either "nothing more" or a port-unreachable of somebody who left.
        let Ok((length, source)) = socket.socket.try_recv_from(buffer) else {
            return;
        };
        let received = Instant::now();
        let datagram = &buffer[..length];
        board.handle_datagram(received, plain(source), datagram);
        transmit(socket, board, is_media(datagram).then_some(received));
    }
}

/// Sends what the board has to send; `received` is when the media came that caused it.
fn transmit(socket: &Udp, board: &mut Switchboard, received: Option<Instant>) {
    while let Some(transmit) = board.pop_transmit() {
        let bytes: &[u8] = &transmit.contents;
        let destination = match transmit.destination {
            SocketAddr::V4(to) if socket.mapped => {
                SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port())
            }
            to => to,
        };
        match socket.socket.try_send_to(bytes, destination) {
            Ok(_) => board.counters.datagrams_out += 1,
            // A full socket buffer loses datagrams as a full router does.
            Err(_) => board.counters.unsent += 1,
        }
        if let Some(received) = received
            && is_media(bytes)
        {
            board.delays.record(received.elapsed());
        }
    }
}

/// An IPv4 address as such: an IPv6 socket shows it inside one of its own family.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// RTP as opposed to RTCP, DTLS and STUN (RFC 7983, RFC 5761).
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, second, ..] if !(192..=223).contains(second))
}
