//! Any .aic file parses or is refused; what parses is written back.
#![no_main]
use auralink_codec::file::AicFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = AicFile::parse(bytes) {
        let again = file.to_bytes();
        assert_eq!(AicFile::parse(&again).as_ref(), Ok(&file));
    }
});
