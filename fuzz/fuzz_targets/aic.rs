//! Any payload parses or is refused; what parses is written back byte for byte.
#![no_main]
use auralink_wire::aic::AicPacket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if let Ok(packet) = AicPacket::parse(payload) {
        let mut again = Vec::new();
        packet.write(&mut again).expect("a parsed packet is in range");
        assert_eq!(again, payload);
    }
});
