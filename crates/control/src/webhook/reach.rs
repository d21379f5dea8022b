//! Where webhooks may go. A tenant says where, the server connects: unless the operator wants that, not to addresses
//! inside their own network (server-side request forgery). Names are looked at once more when they are resolved, so one
//! that points elsewhere later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which addresses webhooks may be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Public ones.
    #[default]
    Public,
    /// Any, loopback and private ones too.
    Anywhere,
}

/// What is said of an address that is out of reach.
const REFUSED: &str = "leads to a loopback, link-local, private or reserved address";

impl Reach {
    /// Refuses what needs no look-up to be refused.
    pub(crate) fn check(self, url: &Url) -> Result<(), &'static str> {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        let allowed = match literal {
            Ok(address) => self.allows(address),
            Err(_) => self == Self::Anywhere || !(host == "localhost" || host.ends_with(".localhost")),
        };
        if allowed { Ok(()) } else { Err(REFUSED) }
    }

    fn allows(self, address: IpAddr) -> bool {
        self == Self::Anywhere
            || match address {
                IpAddr::V4(address) => is_public(address),
                IpAddr::V6(address) => is_public_v6(address),
            }
    }
}

/// None of the special-purpose blocks of RFC 6890 that are not globally reachable.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18))
}

/// Global unicast, and what it may wrap an IPv4 address in only where that one is public.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, .., g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        (0, 0) if address.to_ipv4_mapped().is_some() => is_public(v4(g, h)),
        // NAT64 (RFC 6052), 6to4 (RFC 3056).
        (0x64, 0xff9b) => c == 0 && is_public(v4(g, h)),
        (0x2002, _) => is_public(v4(b, c)),
        // Teredo, documentation.
        (0x2001, 0 | 0xdb8) | (0x3fff, 0..0x1000) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found.filter(|address| reach.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} {REFUSED}", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> bool {
        Reach::Public.check(&Url::parse(url).unwrap()).is_err()
    }

    #[test]
    fn addresses_inside_a_network_are_out_of_reach_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0",
            "localhost",
            "LOCALHOST.",
            "db.localhost",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[ff02::1]",
        ] {
            assert!(refused(&format!("https://{host}/hook")), "{host}");
        }
    }

    #[test]
    fn public_addresses_and_names_are_in_reach() {
        for host in [
            "192.0.2.1.example.org",
            "hooks.example.org",
            "9.9.9.9",
            "[2620:fe::fe]",
            "[::ffff:9.9.9.9]",
        ] {
            assert!(!refused(&format!("https://{host}/hook")), "{host}");
        }
    }

    #[test]
    fn an_operator_may_allow_every_address() {
        assert_eq!(
            Reach::Anywhere.check(&Url::parse("http://127.0.0.1:9/").unwrap()),
            Ok(())
        );
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_resolved() {
        let name = || "localhost".parse().unwrap();
        let refused = Reach::Public.resolve(name()).await.err().unwrap();
        assert!(refused.to_string().contains("loopback"), "{refused}");
        assert!(Reach::Anywhere.resolve(name()).await.is_ok());
    }
}
