//! One peer connection of a test client: str0m on a UDP socket of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpApi;
use str0m::channel::{ChannelConfig, Reliability};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;

pub struct Link {
    pub rtc: Rtc,
    udp: UdpSocket,
    local: SocketAddr,
    /// One datagram in so many that arrive is lost; 0 for none.
    pub lose_every: u32,
    arrived: u32,
}

impl Link {
    pub async fn open() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = udp.local_addr().unwrap();
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .enable_opus(true, true)
            .set_extension(7, Extension::PlayoutDelay)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        Self {
            rtc,
            udp,
            local,
            lose_every: 0,
            arrived: 0,
        }
    }

    /// What a NAT does that forgot this client: it is seen at another address and does not know it.
    pub async fn rebind(&mut self) {
        self.udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    }

    /// Lets the connection say all it has to say; resolves to when it wants to be called again.
    pub async fn flush(&mut self, happened: &mut Vec<Event>) -> Instant {
        loop {
            // A connection that the server closes while it is being set up fails; so it would in an application.
            let Ok(output) = self.rtc.poll_output() else {
                return Instant::now() + Duration::from_millis(20);
            };
            match output {
                Output::Timeout(due) => return due,
                Output::Transmit(transmit) => {
                    let _ = self.udp.send_to(&transmit.contents, transmit.destination).await;
                }
                Output::Event(event) => happened.push(event),
            }
        }
    }

    pub async fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.udp.recv_from(buffer).await.ok()
    }

    pub fn take(&mut self, datagram: &[u8], source: SocketAddr) {
        self.arrived += 1;
        if self.lose_every > 0 && self.arrived.is_multiple_of(self.lose_every) {
            return;
        }
        if let Ok(contents) = datagram.try_into() {
            let receive = Receive {
                proto: Protocol::Udp,
                source,
                destination: self.local,
                contents,
            };
            self.rtc
                .handle_input(Input::Receive(Instant::now(), receive))
                .unwrap();
        }
    }

    pub fn tick(&mut self) {
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
    }
}

/// The channels that every LiveKit client opens on the connection on which it offers.
pub fn open_channels(api: &mut SdpApi<'_>) {
    api.add_channel("_reliable".into());
    api.add_channel_with_config(ChannelConfig {
        label: "_lossy".into(),
        ordered: false,
        reliability: Reliability::MaxRetransmits { retransmits: 0 },
        ..Default::default()
    });
}
