//! Any six bytes parse or are refused; what parses is written back byte for byte.
#![no_main]
use auralink_wire::extension::AicExtension;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = AicExtension::parse(data) {
        assert_eq!(value.to_bytes().expect("a parsed value is in range"), data);
    }
});
