//! What a file is, by its first bytes; its name says nothing: an MP3 file called `.wav` is an MP3 file.

use crate::error::Problem;
use crate::input::Input;

/// Bytes looked at: enough for two headers of MPEG audio to be told from chance.
pub(crate) const HEAD: usize = 4_096;

/// What is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Wav,
    Flac,
    Ogg,
    Mp3,
}

/// What people have besides, by its first bytes and where these stand.
const FOREIGN: &[(usize, &[u8], &str)] = &[
    (8, b"AVI ", "an AVI video"),
    (4, b"ftyp", "an MP4 file (M4A, AAC or video)"),
    (0, b"FORM", "an AIFF file"),
    (0, b"caff", "a CAF file of macOS"),
    (0, b".snd", "an AU file"),
    (0, b"riff\x2e\x91\xcf\x11", "a Wave64 file"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file"),
    (0, b"#!AMR", "an AMR recording"),
    (0, b"NIST_1A", "a NIST SPHERE file"),
    (0, b"Creative Voice File", "a VOC file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
    (0, b"DSD ", "a DSD file"),
    (0, b"ADIF", "an AAC file"),
    (0, b"MThd", "a MIDI file, which holds notes and no sound"),
];

/// What is no sound at all.
const NO_SOUND: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, whose file has not been fetched",
    ),
];

/// Tells what `input` is; a tag of ID3 before it, which some programs write before anything, is taken off.
pub(crate) fn tell(input: &mut Input) -> Result<Kind, Problem> {
    if input.peek(1)?.is_empty() {
        return Err(Problem::Empty);
    }
    let tagged = nanomp3::id3v2_len(input.peek(10)?);
    if tagged > 0 {
        input.skip(tagged as u64)?;
    }
    let head = input.peek(HEAD)?;
    let has = |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
    if [b"RIFF", b"RIFX", b"RF64", b"BW64"]
        .iter()
        .any(|mark| has(0, *mark))
        && (head.len() < 12 || has(8, b"WAVE"))
    {
        return Ok(Kind::Wav);
    }
    if has(0, b"fLaC") {
        return Ok(Kind::Flac);
    }
    if has(0, b"OggS") {
        return Ok(Kind::Ogg);
    }
    if has(0, b"AIC1") {
        return Err(Problem::Foreign {
            what: "an .aic file".to_owned(),
            remedy: "make sound of it with `auralink codec decode`".to_owned(),
        });
    }
    if let Some((.., what)) = FOREIGN.iter().find(|(at, mark, _)| has(*at, mark)) {
        return Err(convert(what));
    }
    if let Some((_, what)) = NO_SOUND.iter().find(|(mark, _)| has(0, mark)) {
        return Err(Problem::Foreign {
            what: (*what).to_owned(),
            remedy: "name a sound file (WAV, FLAC, Ogg or MP3)".to_owned(),
        });
    }
    // Layer 0 does not exist in MPEG audio: there the same mark begins AAC.
    if head.len() > 1 && head[0] == 0xff && head[1] & 0xf6 == 0xf0 {
        return Err(convert("an AAC file"));
    }
    if tagged > 0 || nanomp3::detect(head) {
        return Ok(Kind::Mp3);
    }
    Err(Problem::Foreign {
        what: format!(
            "no sound file that is known here (it begins with {})",
            start(head)
        ),
        remedy: "if it is raw samples, give it a header: ffmpeg -f s16le -ar 48000 -ac 1 -i FILE out.wav"
            .to_owned(),
    })
}

/// For what ffmpeg can turn into something that is read.
pub(crate) fn convert(what: &str) -> Problem {
    Problem::Foreign {
        what: format!("{what}, which is not read here"),
        remedy: "convert it, for instance: ffmpeg -i FILE out.wav".to_owned(),
    }
}

/// The first bytes, as text where they are text.
fn start(head: &[u8]) -> String {
    format!("\"{}\"", head[..head.len().min(8)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Result<Kind, String> {
        tell(&mut Input::new(std::io::Cursor::new(bytes.to_vec()))).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_file_is_what_its_bytes_say_and_the_error_says_what_to_do() {
        assert_eq!(told(b"RIFF\x24\0\0\0WAVEfmt "), Ok(Kind::Wav));
        assert_eq!(told(b"RF64\xff\xff\xff\xffWAVEds64"), Ok(Kind::Wav));
        assert_eq!(
            told(b"ID3\x04\0\0\0\0\0\x02xxfLaC"),
            Ok(Kind::Flac),
            "behind a tag"
        );
        assert_eq!(told(b"ID3\x04\0\0\0\0\0\x02xx\xff\xfb"), Ok(Kind::Mp3));
        for (bytes, what, remedy) in [
            (&b"\0\0\0\x20ftypM4A "[..], "an MP4 file", "ffmpeg -i"),
            (b"FORM\0\0\0\0AIFF", "an AIFF file", "ffmpeg -i"),
            (b"RIFF\0\0\0\0AVI LIST", "an AVI video", "ffmpeg -i"),
            (b"caff\0\x01\0\0", "a CAF file", "ffmpeg -i"),
            (b"\xff\xf1\x50\x80", "an AAC file", "ffmpeg -i"),
            (b"AIC1\0\0", "an .aic file", "auralink codec decode"),
            (b"<!DOCTYPE html>", "a web page", "name a sound file"),
            (b"no audio here", "no sound file", "give it a header"),
            (b"", "empty", ""),
        ] {
            let error = told(bytes).unwrap_err();
            assert!(error.contains(what) && error.contains(remedy), "{error}");
        }
    }
}
