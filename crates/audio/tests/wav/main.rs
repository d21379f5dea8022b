//! WAV as people have it: each dialect as a few bytes, the sound it must be, or the words it must be refused with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bytes;

use std::io::Cursor;

use auralink_audio::{AudioError, Problem, Reader};
use bytes::{Format, PCM, chunk, file, pcm16, riff, sized};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

const SOUND: [i16; 4] = [16_384, -16_384, 8_192, -32_768];
const HEARD: [f32; 4] = [0.5, -0.5, 0.25, -1.0];

/// All samples of a file, at its own rate of 8 kHz.
fn read(bytes: Vec<u8>) -> Result<Vec<f32>, AudioError> {
    let mut reader = Reader::new("x.wav", Cursor::new(bytes), 8_000)?;
    let mut all = vec![0.0; 200_000];
    let count = reader.read(&mut all)?;
    all.truncate(count);
    Ok(all)
}

fn refused(bytes: Vec<u8>) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn chunks_of_any_length_may_come_before_the_sound() {
    for name in [b"LIST", b"bext", b"JUNK", b"id3 ", b"iXML", b"cart", b"\0\0\0\0"] {
        for length in [0, 1, 5, 26, 602, 70_001] {
            let before = chunk(name, &vec![7; length]);
            let between = chunk(name, &vec![0; length]);
            let bytes = file(&[before, PCM.chunk(), between, chunk(b"data", &pcm16(&SOUND))]);
            assert_eq!(read(bytes).unwrap(), HEARD, "{name:?} of {length} bytes");
        }
    }
}

#[test]
fn a_forgotten_padding_byte_is_forgiven() {
    let unpadded = sized(b"LIST", 5, b"INFO!");
    let bytes = file(&[unpadded, PCM.chunk(), chunk(b"data", &pcm16(&SOUND))]);
    assert_eq!(read(bytes).unwrap(), HEARD);
}

#[test]
fn sizes_that_were_never_filled_in_mean_the_rest_of_the_file() {
    for (whole, data) in [
        (0, 0),
        (u32::MAX, u32::MAX),
        (u32::MAX, 0),
        (0, u32::MAX),
        (36, 0),
        (0x7fff_f024, 0x7fff_f000),
        (0xffff_ffff, 0xffff_ffdb),
    ] {
        let chunks = [PCM.chunk(), sized(b"data", data, &pcm16(&SOUND))].concat();
        assert_eq!(
            read(riff(whole, &chunks)).unwrap(),
            HEARD,
            "{whole:#x}, {data:#x}"
        );
    }
}

#[test]
fn a_file_that_was_cut_off_is_read_as_far_as_it_goes() {
    let whole = file(&[PCM.chunk(), chunk(b"data", &pcm16(&SOUND))]);
    for cut in 1..8 {
        let heard = read(whole[..whole.len() - cut].to_vec());
        match cut {
            7.. => assert!(matches!(heard.unwrap_err().problem, Problem::NoSamples)),
            _ => assert_eq!(heard.unwrap(), HEARD[..(8 - cut) / 2]),
        }
    }
}

#[test]
fn what_follows_the_sound_is_no_sound() {
    let sound = chunk(b"data", &pcm16(&SOUND));
    for behind in [
        b"\xff\x7f\xff\x7f garbage".to_vec(),
        chunk(b"LIST", &[0x55; 501]),
        vec![0; 3],
    ] {
        let bytes = [file(&[PCM.chunk(), sound.clone()]), behind].concat();
        assert_eq!(read(bytes).unwrap(), HEARD);
    }
    let odd = Format {
        align: 1,
        bits: 8,
        ..PCM
    };
    let bytes = file(&[
        odd.chunk(),
        chunk(b"data", &[192, 64, 128]),
        chunk(b"LIST", b"INFO"),
    ]);
    assert_eq!(
        read(bytes).unwrap(),
        [0.5, -0.5, 0.0],
        "the padding byte is none either"
    );
}

#[test]
fn a_file_without_sound_is_refused_as_such() {
    for (bytes, words) in [
        (vec![], "empty"),
        (b"RIFF".to_vec(), "ends in its first twelve bytes"),
        (file(&[]), "ends in its header"),
        (file(&[PCM.chunk()]), "holds no sample"),
        (file(&[PCM.chunk(), chunk(b"data", &[])]), "holds no sample"),
        (
            file(&[PCM.chunk(), chunk(b"data", &[]), chunk(b"LIST", &[9; 100])]),
            "holds no sample",
        ),
        (
            file(&[chunk(b"data", &pcm16(&SOUND)), PCM.chunk()]),
            "no fmt chunk",
        ),
        (file(&[chunk(b"fmt ", &[1, 0, 1, 0])]), "fmt chunk has 4 bytes"),
        (
            file(&[PCM.chunk(), sized(b"LIST", 1 << 30, b"short")]),
            "holds no sample",
        ),
    ] {
        let error = refused(bytes);
        assert!(error.starts_with("x.wav: ") && error.contains(words), "{error}");
    }
}

#[test]
fn twenty_four_bits_in_thirty_two_are_sound_and_not_noise() {
    let samples = [1 << 30, -(1 << 30), 1 << 29, i32::MIN];
    let data = chunk(b"data", &samples.map(i32::to_le_bytes).concat());
    let wide = Format {
        align: 4,
        bits: 32,
        ..PCM
    };
    let said_by_the_block = Format { bits: 24, ..wide };
    for format in [
        wide.chunk(),
        wide.extensible(24, 4),
        wide.extensible(20, 4),
        wide.extensible(32, 0),
        said_by_the_block.chunk(),
        said_by_the_block.extensible(24, 4),
    ] {
        assert_eq!(read(file(&[format, data.clone()])).unwrap(), HEARD);
    }
    let packed = samples.map(|sample: i32| {
        [
            sample.to_le_bytes()[1],
            sample.to_le_bytes()[2],
            sample.to_le_bytes()[3],
        ]
    });
    let packed = chunk(b"data", &packed.concat());
    for bits in [24, 20, 18] {
        let format = Format {
            align: 3,
            bits,
            ..PCM
        };
        assert_eq!(
            read(file(&[format.chunk(), packed.clone()])).unwrap(),
            HEARD,
            "{bits} bits in 24"
        );
    }
}

#[test]
fn floats_and_the_telephones_codes_are_read() {
    let of = |tag, align, bits, data: &[u8]| {
        let format = Format {
            tag,
            align,
            bits,
            ..PCM
        };
        let plain = read(file(&[format.chunk(), chunk(b"data", data)])).unwrap();
        let extended = read(file(&[format.extensible(bits, 4), chunk(b"data", data)])).unwrap();
        assert_eq!(plain, extended);
        plain
    };
    assert_eq!(of(3, 4, 32, &HEARD.map(f32::to_le_bytes).concat()), HEARD);
    assert_eq!(
        of(3, 8, 64, &HEARD.map(|x| f64::from(x).to_le_bytes()).concat()),
        HEARD
    );
    assert_eq!(of(6, 1, 8, &[0xd5, 0x55]), [8.0 / 32_768.0, -8.0 / 32_768.0]);
    assert_eq!(
        of(7, 1, 8, &[0x80, 0x00]),
        [32_124.0 / 32_768.0, -32_124.0 / 32_768.0]
    );
}

#[test]
fn imas_adpcm_is_read_by_blocks() {
    // One block: first sample 1000, step 14 (index 7), then codes 4 (up by 15), 12 (down by 19), six of 0.
    let block = [0xe8, 0x03, 7, 0, 0xc4, 0, 0, 0];
    let format = Format {
        tag: 0x11,
        align: 8,
        bits: 4,
        ..PCM
    };
    let heard = read(file(&[format.chunk(), chunk(b"data", &block)])).unwrap();
    let whole: Vec<i32> = heard.iter().map(|sample| (sample * 32_768.0) as i32).collect();
    assert_eq!(whole[..3], [1_000, 1_015, 996]);
    assert_eq!(whole.len(), 9);
}

#[test]
fn large_and_big_endian_files_are_read() {
    for mark in [b"RF64", b"BW64"] {
        let mut sizes = vec![0; 28];
        sizes[8..16].copy_from_slice(&8u64.to_le_bytes());
        let chunks = [
            chunk(b"ds64", &sizes),
            PCM.chunk(),
            sized(b"data", u32::MAX, &pcm16(&SOUND)),
            chunk(b"LIST", &[0x55; 40]),
        ];
        let mut bytes = riff(u32::MAX, &chunks.concat());
        bytes[..4].copy_from_slice(mark);
        assert_eq!(read(bytes).unwrap(), HEARD);
    }
    let mut bytes =
        b"RIFX\0\0\0\x2cWAVEfmt \0\0\0\x10\0\x01\0\x01\0\0\x1f\x40\0\0\x3e\x80\0\x02\0\x10data\0\0\0\x08"
            .to_vec();
    bytes.extend(SOUND.map(i16::to_be_bytes).concat());
    assert_eq!(read(bytes).unwrap(), HEARD);
}

#[test]
fn a_voice_in_the_centre_of_a_surround_mask_keeps_its_level() {
    for (channels, mask, centre) in [
        (6, 0x3f, 2),
        (6, 0x60f, 2),
        (8, 0x63f, 2),
        (3, 0x7, 2),
        (5, 0x607, 2),
        (1, 4, 0),
    ] {
        let format = Format {
            channels,
            align: 2 * channels,
            ..PCM
        };
        let frames: Vec<i16> = SOUND
            .iter()
            .flat_map(|sample| (0..channels).map(move |channel| if channel == centre { *sample } else { 0 }))
            .collect();
        let bytes = file(&[format.extensible(16, mask), chunk(b"data", &pcm16(&frames))]);
        assert_eq!(read(bytes).unwrap(), HEARD, "{channels} channels, {mask:#x}");
    }
}

#[test]
fn what_no_sound_has_is_refused_with_its_place() {
    let format = Format {
        tag: 3,
        channels: 2,
        align: 8,
        bits: 32,
        ..PCM
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut samples = vec![0.1f32; 40_000];
        samples[30_001] = value;
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let error = refused(file(&[format.chunk(), chunk(b"data", &data)]));
        assert!(
            error.contains("sample 15000 of channel 1") && error.contains(&value.to_string()),
            "{error}"
        );
    }
}

#[test]
fn a_coding_that_is_not_read_is_named_with_what_to_do() {
    for (tag, name) in [
        (0x42, "G.723.1"),
        (0x45, "G.726"),
        (0xff, "AAC"),
        (0x4242, "format 0x4242"),
    ] {
        let format = Format { tag, ..PCM };
        let error = refused(file(&[format.chunk(), chunk(b"data", &[0; 100])]));
        assert!(error.contains(name) && error.contains("ffmpeg -i"), "{error}");
    }
    let fields = [
        (Format { channels: 0, ..PCM }, "channels"),
        (Format { rate: 0, ..PCM }, "sample rate"),
        (
            Format {
                rate: 4_000_000_000,
                ..PCM
            },
            "sample rate",
        ),
        (Format { bits: 0, ..PCM }, "bits of a sample"),
        (Format { bits: 48, ..PCM }, "bits of a sample"),
        (Format { tag: 3, ..PCM }, "bits of a sample"),
    ];
    for (format, field) in fields {
        let error = refused(file(&[format.chunk(), chunk(b"data", &[0; 100])]));
        assert!(error.contains(field), "{error}");
    }
}

/// One file of each kind, long enough to hold several blocks.
fn examples() -> Vec<Vec<u8>> {
    let sound: Vec<u8> = (0..2_000u32).map(|n| (n * n / 7) as u8).collect();
    let formats = [
        (1, 2, 4, 16),
        (1, 1, 4, 24),
        (1, 3, 9, 24),
        (3, 1, 4, 32),
        (6, 1, 1, 8),
        (2, 2, 256, 4),
        (0x11, 2, 256, 4),
        (0x55, 2, 1, 0),
        (0x31, 1, 65, 0),
    ];
    let mut files: Vec<Vec<u8>> = Vec::new();
    for (tag, channels, align, bits) in formats {
        let format = Format {
            tag,
            channels,
            align,
            bits,
            ..PCM
        };
        for fmt in [format.chunk(), format.extensible(bits, 0x3)] {
            files.push(file(&[chunk(b"LIST", &[1; 33]), fmt, chunk(b"data", &sound)]));
        }
    }
    files
}

#[test]
fn every_length_of_every_example_is_read_or_refused() {
    for example in examples() {
        for length in (0..200).chain((200..example.len()).step_by(37)) {
            // Whatever comes of it, it is an answer.
            let _ = read(example[..length].to_vec());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_read_or_refused(
        example in 0usize..18,
        damage in prop::collection::vec((0usize..140, any::<u8>()), 1..12),
    ) {
        let mut bytes = examples().swap_remove(example);
        for (place, value) in damage {
            bytes[place] = value;
        }
        let _ = read(bytes);
    }
}
