//! What the kernel says of a UDP socket: proc(5), `/proc/net/udp`.

use std::net::SocketAddr;

/// Datagrams that found the socket's buffer full, since it was bound; `None` where the kernel doesn't say.
pub fn dropped(socket: SocketAddr) -> Option<u64> {
    let table = if socket.is_ipv4() { "udp" } else { "udp6" };
    let text = std::fs::read_to_string(format!("/proc/self/net/{table}")).ok()?;
    dropped_in(&text, socket.port())
}

/// Of the sockets bound to that port: the local address is the second column, the drops are the last.
fn dropped_in(table: &str, port: u16) -> Option<u64> {
    let local = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter(|line| {
            let address = line.split_whitespace().nth(1);
            address.is_some_and(|address| address.ends_with(&local))
        })
        .map(|line| line.split_whitespace().next_back()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_by_port() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                       123: 0100007F:1ECA 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 17\n\
                       124: 0100007F:1ECB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 5\n";
        assert_eq!(dropped_in(table, 7882), Some(17));
        assert_eq!(dropped_in(table, 7), Some(0));
        assert_eq!(dropped_in("sl\n 1: 00000000:0007 broken", 7), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_nobody_reads_drops_what_does_not_fit() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(dropped(address), Some(0));
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10_000 {
            sender.send_to(&[0; 1400], address).unwrap();
        }
        assert!(dropped(address).unwrap() > 0);
    }
}
