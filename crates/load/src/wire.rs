//! Sockets: one for each participant, read many datagrams at a time, each with the instant at which the kernel had it. So
//! a crowd that is late in reading counts no delay that is its own.

use std::collections::HashSet;
use std::fs;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};

/// What a read may give: the kernel hands over a sender's train of datagrams in one piece of up to this length.
const TRAIN: usize = 1 << 16;

/// What a socket may hold until it is read: 200 ms of eight cameras.
const BUFFER: usize = 1 << 20;

/// Sockets that are told to be readable at a time; the others are told next time.
const READY: usize = 1024;

/// A datagram that came.
pub struct Datagram<'a> {
    /// From where.
    pub from: SocketAddr,
    /// When the kernel had it.
    pub at: SystemTime,
    /// What it says.
    pub bytes: &'a [u8],
}

/// One socket.
pub struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// Where it is.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a datagram; one that cannot be sent is a lost one.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) {
        let _ = self.socket.send_to(bytes, to);
    }
}

/// What all sockets share.
pub struct Wire {
    poll: Poll,
    events: Events,
    buffers: Vec<Box<[u8]>>,
    /// Local ports, by which the kernel counts.
    ports: HashSet<u16>,
}

impl Wire {
    /// Without sockets.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(READY),
            buffers: vec![vec![0; TRAIN].into(); BATCH_SIZE],
            ports: HashSet::new(),
        })
    }

    /// A socket at that address; `seat` is told when it can be read.
    pub fn open(&mut self, address: IpAddr, seat: usize) -> std::io::Result<Socket> {
        let socket = UdpSocket::bind((address, 0))?;
        let state = UdpSocketState::new((&socket).into())?;
        // A system that allows less gives what it allows.
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER);
        let registry = self.poll.registry();
        registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            Token(seat),
            Interest::READABLE,
        )?;
        self.ports.insert(socket.local_addr()?.port());
        Ok(Socket { socket, state })
    }

    /// A socket is of no interest any more.
    pub fn close(&mut self, socket: &Socket) {
        // What is closed anyway need not be let go of.
        let _ = self
            .poll
            .registry()
            .deregister(&mut SourceFd(&socket.socket.as_raw_fd()));
        if let Ok(address) = socket.address() {
            self.ports.remove(&address.port());
        }
    }

    /// Seats whose sockets can be read since the last time; waits for none.
    pub fn readable(&mut self, seats: &mut Vec<usize>) -> std::io::Result<()> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        seats.clear();
        seats.extend(self.events.iter().map(|event| event.token().0));
        Ok(())
    }

    /// Reads a socket until it is empty.
    pub fn read(&mut self, socket: &Socket, mut take: impl FnMut(Datagram<'_>)) {
        let mut about = [RecvMeta::default(); BATCH_SIZE];
        loop {
            let mut buffers = self.buffers.iter_mut();
            // There are as many buffers as slots.
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| buffer)));
            // An error is either "nothing more" or a port-unreachable of a server that is gone.
            let Ok(count) = socket
                .state
                .recv((&socket.socket).into(), &mut slices, &mut about)
            else {
                return;
            };
            for (buffer, about) in slices.iter().zip(&about[..count]) {
                let at = about
                    .timestamp
                    .map_or_else(SystemTime::now, |since| UNIX_EPOCH + since);
                for bytes in buffer[..about.len].chunks(about.stride.max(1)) {
                    let from = about.addr;
                    take(Datagram { from, at, bytes });
                }
            }
            if count < BATCH_SIZE {
                return;
            }
        }
    }

    /// Datagrams that the kernel threw away because these sockets were read too late, as long as these are open.
    pub fn dropped(&self) -> u64 {
        ["/proc/net/udp", "/proc/net/udp6"]
            .iter()
            .filter_map(|table| fs::read_to_string(table).ok())
            .map(|table| dropped(&table, &self.ports))
            .sum()
    }
}

/// Sum of the last column over sockets with those local ports (proc(5), `/proc/net/udp`).
fn dropped(table: &str, ports: &HashSet<u16>) -> u64 {
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let drops: u64 = fields.next_back()?.parse().ok()?;
        ports.contains(&port).then_some(drops)
    });
    rows.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_in_order_with_the_time_at_which_they_came() {
        let mut wire = Wire::new().unwrap();
        let socket = wire.open([127, 0, 0, 1].into(), 7).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = SystemTime::now();
        for n in 0..40u8 {
            sender.send_to(&[n; 100], socket.address().unwrap()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        let mut seats = Vec::new();
        wire.readable(&mut seats).unwrap();
        assert_eq!(seats, [7]);
        let mut read = Vec::new();
        wire.read(&socket, |datagram| {
            assert_eq!(datagram.from, sender.local_addr().unwrap());
            // The kernel's clock is not read by the same way as ours; and where nobody wanted times before, it begins to note
            // them a moment late, and dates what was there already by when it was read.
            let apart = Duration::from_millis(5);
            let now = SystemTime::now();
            assert!(
                (before - apart..=now + apart).contains(&datagram.at),
                "{:?} is not from {before:?} to {now:?}",
                datagram.at
            );
            assert_eq!(datagram.bytes.len(), 100);
            read.push(datagram.bytes[0]);
        });
        assert_eq!(read, (0..40).collect::<Vec<u8>>());
        assert_eq!(wire.dropped(), 0);
    }

    #[test]
    fn the_kernels_drops_are_counted_for_ones_own_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            12: 0100007F:1F40 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 5\n\
            13: 0100007F:1F41 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 9\n\
            nonsense\n";
        assert_eq!(dropped(table, &HashSet::from([8000])), 5);
        assert_eq!(dropped("", &HashSet::from([8000])), 0);
    }
}
