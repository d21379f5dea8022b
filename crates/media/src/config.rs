//! What the media server is started with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use auralink_token::KeyRing;

/// Configuration of the media server.
#[derive(Clone)]
pub struct MediaConfig {
    /// Address of the one UDP socket for all media; port 0 lets the system choose.
    pub udp: SocketAddr,
    /// Addresses told to clients; empty for loopback and whatever this machine has.
    pub advertised: Vec<IpAddr>,
    /// API keys and their secrets.
    pub keys: Arc<KeyRing>,
}

impl MediaConfig {
    /// Loopback only, with a port of the system's choice.
    pub fn loopback(keys: Arc<KeyRing>) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            udp: SocketAddr::new(ip, 0),
            advertised: vec![ip],
            keys,
        }
    }

    /// Host candidates for a socket bound to `bound`.
    pub(crate) fn candidates(&self, bound: SocketAddr) -> Vec<SocketAddr> {
        let mut ips = self.advertised.clone();
        if ips.is_empty() {
            if bound.ip().is_unspecified() {
                ips.extend(outward_address());
                ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
            } else {
                ips.push(bound.ip());
            }
        }
        ips.dedup();
        ips.into_iter()
            .map(|ip| SocketAddr::new(ip, bound.port()))
            .collect()
    }
}

/// The address from which this machine would reach the world; connecting a UDP socket sends nothing.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}
