//! The shard's UDP socket: one of several on the server's one port.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket as StdSocket};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use str0m::net::Transmit;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// What the system is asked to buffer each way; it may give less. A burst of keyframes to a room must fit.
const BUFFER: usize = 4 << 20;

/// Most bytes of several datagrams that arrive or leave as one (UDP GRO and GSO).
const GATHERED: usize = 65_000;

/// Most datagrams that leave as one; older kernels take no more.
const GSO_SEGMENTS: usize = 64;

/// Most datagrams for several peers in one call.
const MESSAGES: usize = 64;

/// How often a port of the system's choice is tried: somebody else may take it in between.
const TRIES: usize = 8;

/// Binds so many sockets to one address. The first asks for it alone, so that a second server on the same address is told
/// that it is taken.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdSocket>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_once(address, count) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < TRIES => {}
            result => return result,
        }
    }
}

fn bind_once(address: SocketAddr, count: usize) -> io::Result<Vec<StdSocket>> {
    let alone = open(address, false)?;
    let address = alone.local_addr()?;
    if count <= 1 {
        return Ok(vec![alone]);
    }
    drop(alone);
    (0..count).map(|_| open(address, true)).collect()
}

fn open(address: SocketAddr, shared: bool) -> io::Result<StdSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    // Less than asked for is no error: the system has its limits.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What the system gave: bytes that it buffers for reading and for sending.
pub(crate) fn buffers(socket: &StdSocket) -> io::Result<(usize, usize)> {
    let socket = socket2::SockRef::from(socket);
    Ok((socket.recv_buffer_size()?, socket.send_buffer_size()?))
}

/// What one call to the system received.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
    count: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_SIZE * GATHERED].into(),
            meta: [RecvMeta::default(); BATCH_SIZE],
            count: 0,
        }
    }

    /// Each datagram with its source; an IPv4 address as such.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let received = self.meta[..self.count].iter().zip(self.bytes.chunks(GATHERED));
        received.flat_map(|(meta, bytes)| {
            let source = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            let each = bytes[..meta.len].chunks(meta.stride.max(1));
            each.map(move |datagram| (source, datagram))
        })
    }
}

/// A socket that takes and gives many datagrams in one call to the system.
pub(crate) struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Whether it shows IPv4 addresses inside its own family.
    mapped: bool,
    /// Datagrams of one size for one peer, one behind another.
    gathered: Vec<u8>,
}

impl Udp {
    /// Must be called within the runtime that is to read it.
    pub(crate) fn new(socket: StdSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let mapped = socket.local_addr()?.is_ipv6();
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self {
            socket,
            state,
            mapped,
            gathered: Vec::new(),
        })
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn readable(&self) {
        // An error shows at the next attempt to receive.
        let _ = self.socket.readable().await;
    }

    /// Takes what there is, up to a full inbox.
    pub(crate) fn receive(&self, inbox: &mut Inbox) {
        let Inbox { bytes, meta, count } = inbox;
        let mut chunks = bytes.chunks_mut(GATHERED);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let received = self.socket.try_io(Interest::READABLE, || {
            self.state.recv((&self.socket).into(), &mut slices, meta)
        });
        // An error is either "nothing more" or a port-unreachable of somebody who left.
        *count = received.unwrap_or(0);
    }

    /// Sends them in their order; how many of them the system took.
    pub(crate) fn send(&mut self, mut transmits: &[Transmit]) -> usize {
        let mut sent = 0;
        while !transmits.is_empty() {
            let most = self.state.max_gso_segments().min(GSO_SEGMENTS);
            let train = train(transmits, most);
            let taken = if train > 1 {
                sent += self.send_train(&transmits[..train]);
                train
            } else {
                let mut singles = 1;
                while singles < transmits.len().min(MESSAGES) && self::train(&transmits[singles..], most) == 1
                {
                    singles += 1;
                }
                sent += self.send_each(&transmits[..singles]);
                singles
            };
            transmits = &transmits[taken..];
        }
        sent
    }

    /// Datagrams for one peer, all of one size but for a shorter last one: the system splits them (UDP GSO).
    fn send_train(&mut self, train: &[Transmit]) -> usize {
        self.gathered.clear();
        for transmit in train {
            self.gathered.extend_from_slice(&transmit.contents);
        }
        let gathered = quinn_udp::Transmit {
            destination: self.reach(train[0].destination),
            ecn: None,
            contents: &self.gathered,
            segment_size: Some(train[0].contents.len()),
            src_ip: None,
        };
        let sent = self.socket.try_io(Interest::WRITABLE, || {
            self.state.try_send((&self.socket).into(), &gathered)
        });
        match sent {
            Ok(()) => train.len(),
            // Where an interface can't do that, the state remembers it for the next time.
            Err(_) => self.send_each(train),
        }
    }

    /// Datagrams for anybody, in one call.
    #[cfg(target_os = "linux")]
    fn send_each(&self, transmits: &[Transmit]) -> usize {
        use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
        if let [only] = transmits {
            return usize::from(self.send_one(only));
        }
        let addresses: Vec<SocketAddrAny> = transmits
            .iter()
            .map(|transmit| self.reach(transmit.destination).into())
            .collect();
        let slices: Vec<[IoSlice<'_>; 1]> = transmits
            .iter()
            .map(|transmit| [IoSlice::new(&transmit.contents)])
            .collect();
        let mut nothing: Vec<_> = transmits.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> = addresses
            .iter()
            .zip(&slices)
            .zip(&mut nothing)
            .map(|((address, slice), nothing)| MMsgHdr::new_with_addr(address, slice, nothing))
            .collect();
        let (mut sent, mut at) = (0, 0);
        while at < messages.len() {
            let taken = self.socket.try_io(Interest::WRITABLE, || {
                Ok(sendmmsg(&self.socket, &mut messages[at..], SendFlags::DONTWAIT)?)
            });
            match taken {
                Ok(count) => {
                    sent += count;
                    at += count.max(1);
                }
                // A full socket buffer loses datagrams as a full router does.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // This one, not those behind it.
                Err(_) => at += 1,
            }
        }
        sent
    }

    #[cfg(not(target_os = "linux"))]
    fn send_each(&self, transmits: &[Transmit]) -> usize {
        transmits
            .iter()
            .filter(|transmit| self.send_one(transmit))
            .count()
    }

    fn send_one(&self, transmit: &Transmit) -> bool {
        let destination = self.reach(transmit.destination);
        self.socket.try_send_to(&transmit.contents, destination).is_ok()
    }

    /// An address as this socket's family writes it.
    fn reach(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(to) if self.mapped => SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port()),
            to => to,
        }
    }
}

/// How many of the first datagrams can leave as one.
fn train(transmits: &[Transmit], most: usize) -> usize {
    let Some(first) = transmits.first() else {
        return 0;
    };
    let size = first.contents.len();
    let most = most.min(GATHERED / size.max(1)).max(1);
    let mut count = 1;
    while let Some(next) = transmits.get(count).filter(|_| count < most) {
        if next.destination != first.destination || next.contents.len() > size || next.contents.is_empty() {
            break;
        }
        count += 1;
        if next.contents.len() < size {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_sockets_share_an_address_that_nobody_else_can_have() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let addresses: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        assert!(addresses.iter().all(|address| *address == addresses[0]));
        for count in [1, 2] {
            let second = bind(addresses[0], count).unwrap_err();
            assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        }
    }

    fn transmit(to: &Udp, contents: Vec<u8>) -> Transmit {
        let local = to.socket.local_addr().unwrap();
        Transmit {
            proto: str0m::net::Protocol::Udp,
            source: local,
            destination: local,
            contents: contents.into(),
        }
    }

    /// A socket that may send at once, and so many others.
    async fn sender_and(others: usize) -> (Udp, Vec<Udp>) {
        let open = || Udp::new(bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0)).unwrap();
        let sender = open();
        sender.socket.writable().await.unwrap();
        (sender, (0..others).map(|_| open()).collect())
    }

    async fn receive_all(udp: &Udp, count: usize) -> Vec<Vec<u8>> {
        let mut inbox = Inbox::new();
        let mut received = Vec::new();
        while received.len() < count {
            udp.readable().await;
            udp.receive(&mut inbox);
            received.extend(inbox.datagrams().map(|(_, datagram)| datagram.to_vec()));
        }
        received
    }

    #[tokio::test]
    async fn whatever_their_sizes_and_peers_datagrams_arrive_whole_and_in_order() {
        let (mut sender, udp) = sender_and(2).await;
        // Trains, singles and trains with a shorter end, and one that is longer than what went before.
        let sizes = [900, 900, 900, 300, 900, 901, 20, 20, 20, 1200, 1, 1];
        let mut wanted = [Vec::new(), Vec::new()];
        let mut transmits = Vec::new();
        for (number, size) in sizes.iter().cycle().take(200).enumerate() {
            let peer = (number / 5) % 2;
            let contents = vec![number as u8; *size];
            wanted[peer].push(contents.clone());
            transmits.push(transmit(&udp[peer], contents));
        }
        assert_eq!(sender.send(&transmits), transmits.len());
        for (peer, wanted) in udp.iter().zip(wanted) {
            assert_eq!(receive_all(peer, wanted.len()).await, wanted);
        }
    }

    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_does_not_hold_up_those_behind_it() {
        let (mut sender, udp) = sender_and(1).await;
        let mut transmits: Vec<_> = (0..3)
            .map(|n| transmit(&udp[0], vec![n; 10 + usize::from(n)]))
            .collect();
        // The socket has no address of that family.
        transmits[1].destination = "[2001:db8::1]:9".parse().unwrap();
        assert_eq!(sender.send(&transmits), 2);
        assert_eq!(receive_all(&udp[0], 2).await, [vec![0; 10], vec![2; 12]]);
    }
}
