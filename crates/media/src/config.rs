//! What the media server is started with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use auralink_token::KeyRing;
use serde::Deserialize;

/// How much of the server one tenant may take; 0 sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantLimits {
    /// Participants at a time.
    pub participants: u32,
    /// Joins a second, and as many at once after a pause.
    pub joins_per_second: u32,
}

/// What may be done to rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomRules {
    /// A tenant's server may end that a track is muted, as it may always mute one.
    pub remote_unmute: bool,
}

/// Most shards of a server.
const MAX_SHARDS: usize = 256;

/// Configuration of the media server.
#[derive(Clone)]
pub struct MediaConfig {
    /// Address of the one UDP port for all media; port 0 lets the system choose.
    pub udp: SocketAddr,
    /// Shards, each a thread that has some of the rooms; 0 for one per processor.
    pub workers: usize,
    /// People of one room on one shard from which on the next ones come to another; 0 for never.
    pub split_at: usize,
    /// Addresses told to clients; empty for loopback and whatever this machine has.
    pub advertised: Vec<IpAddr>,
    /// API keys and their secrets.
    pub keys: Arc<KeyRing>,
    /// What each of them may take.
    pub limits: TenantLimits,
    /// What may be done to rooms.
    pub rooms: RoomRules,
}

impl MediaConfig {
    /// Loopback only, with a port of the system's choice and two shards.
    pub fn loopback(keys: Arc<KeyRing>) -> Self {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            udp: SocketAddr::new(ip, 0),
            workers: 2,
            split_at: 0,
            advertised: vec![ip],
            keys,
            limits: TenantLimits::default(),
            rooms: RoomRules::default(),
        }
    }

    /// Shards there are to be.
    pub(crate) fn shards(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            wanted => wanted.min(MAX_SHARDS),
        }
    }

    /// Host candidates for a socket bound to `bound`.
    pub(crate) fn candidates(&self, bound: SocketAddr) -> Vec<SocketAddr> {
        let mut ips = self.advertised.clone();
        if ips.is_empty() {
            match bound.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => ips.extend(own_addresses([true, false])),
                // Such a socket takes IPv4 as well.
                IpAddr::V6(ip) if ip.is_unspecified() => ips.extend(own_addresses([true, true])),
                ip => ips.push(ip),
            }
        }
        ips.dedup();
        ips.into_iter()
            .map(|ip| SocketAddr::new(ip, bound.port()))
            .collect()
    }
}

/// This machine's address in the world and on its loopback, of those families (IPv4, IPv6).
fn own_addresses(families: [bool; 2]) -> Vec<IpAddr> {
    let v4 = (
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "192.0.2.1:9",
        IpAddr::V4(Ipv4Addr::LOCALHOST),
    );
    let v6 = (
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "[2001:db8::1]:9",
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    );
    let mut found = Vec::new();
    for (_, (any, world, loopback)) in families.iter().zip([v4, v6]).filter(|(wanted, _)| **wanted) {
        found.extend(outward_address(any, world));
        if UdpSocket::bind((loopback, 0)).is_ok() {
            found.push(loopback);
        }
    }
    found
}

/// The address from which this machine would reach the world; connecting a UDP socket sends nothing.
fn outward_address(any: IpAddr, world: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(world).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(bound: &str) -> Vec<SocketAddr> {
        let keys = Arc::new(KeyRing::new([("key", "secret")]));
        let config = MediaConfig {
            advertised: Vec::new(),
            ..MediaConfig::loopback(keys)
        };
        config.candidates(bound.parse().unwrap())
    }

    #[test]
    fn a_socket_for_all_addresses_advertises_those_of_its_families() {
        let v4 = candidates("0.0.0.0:7882");
        assert!(v4.iter().all(SocketAddr::is_ipv4));
        assert!(v4.contains(&"127.0.0.1:7882".parse().unwrap()));
        let both = candidates("[::]:7882");
        assert!(both.contains(&"127.0.0.1:7882".parse().unwrap()));
        if UdpSocket::bind("[::1]:0").is_ok() {
            assert!(both.contains(&"[::1]:7882".parse().unwrap()));
        }
    }

    #[test]
    fn a_socket_for_one_address_advertises_that() {
        assert_eq!(candidates("[::1]:7882"), ["[::1]:7882".parse().unwrap()]);
    }
}
