//! The shard's UDP socket: one of several on the server's one port.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// What the system is asked to buffer each way; it may give less. A burst of keyframes to a room must fit.
const BUFFER: usize = 4 << 20;

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

/// A socket, and whether it shows IPv4 addresses inside its own family.
pub(crate) struct Udp {
    socket: UdpSocket,
    mapped: bool,
}

impl Udp {
    /// Must be called within the runtime that is to read it.
    pub(crate) fn new(socket: StdSocket) -> io::Result<Self> {
        let mapped = socket.local_addr()?.is_ipv6();
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { socket, mapped })
    }

    /// Waits until there may be something to receive.
    pub(crate) async fn readable(&self) {
        // An error shows at the next attempt to receive.
        let _ = self.socket.readable().await;
    }

    /// Takes one datagram, if there is one.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr, Instant)> {
        // An error is either "nothing more" or a port-unreachable of somebody who left.
        let (length, source) = self.socket.try_recv_from(buffer).ok()?;
        // An IPv4 address as such.
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        Some((length, source, Instant::now()))
    }

    /// Sends one datagram; whether the system took it.
    pub(crate) fn send(&self, destination: SocketAddr, bytes: &[u8]) -> bool {
        let destination = match destination {
            SocketAddr::V4(to) if self.mapped => SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port()),
            to => to,
        };
        self.socket.try_send_to(bytes, destination).is_ok()
    }
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
}
