//! No body of a request to RoomService panics, be it JSON or protobuf.
#![no_main]
use auralink_media::read_any_twirp_body;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let [first, rest @ ..] = data {
        read_any_twirp_body(first & 1 == 1, rest);
    }
});
