//! A sound file that a thread of its own reads ahead, so that neither its length costs memory nor its disk the call a
//! packet.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use auralink_audio::{AudioError, Reader};

use super::{AtEnd, SAMPLE_RATE};

/// Samples handed over at a time: a quarter of a second.
const BLOCK: usize = SAMPLE_RATE as usize / 4;

/// Blocks read ahead, four seconds; the thread waits when they are there.
const AHEAD: usize = 16;

/// Samples behind the latest position that can be read again: a coder that begins is warmed up on them.
const MEMORY: usize = SAMPLE_RATE as usize;

/// What has been read of the file, around the position where the call is.
pub(super) struct Stream {
    blocks: Receiver<Vec<f32>>,
    window: VecDeque<f32>,
    /// Position of the first sample in the window.
    begin: i64,
}

impl Stream {
    /// Opens the file and reads its first block, so that what cannot be read is refused here.
    pub(super) fn open(path: &Path, at_end: AtEnd) -> Result<Self, AudioError> {
        let mut reader = Reader::open(path, SAMPLE_RATE)?;
        let first = block(&mut reader)?;
        let (sender, blocks) = sync_channel(AHEAD);
        let again = (at_end == AtEnd::Loop && path.is_file()).then(|| path.to_owned());
        thread::Builder::new()
            .name("sound-file".to_owned())
            .spawn(move || {
                if let Err(error) = read_ahead(reader, again, &sender) {
                    tracing::error!(%error, "the published file is silent from here on");
                }
            })
            .map_err(|cause| AudioError {
                file: path.display().to_string(),
                problem: cause.into(),
            })?;
        Ok(Self {
            blocks,
            window: first.into(),
            begin: 0,
        })
    }

    /// Never waits: what the disk, or the other end of a pipe, has not given in time is silence, and comes later.
    pub(super) fn read(&mut self, position: i64, out: &mut [f32]) {
        let end = position + out.len() as i64;
        // No more than is read ahead: a call that skips further goes on from there.
        for _ in 0..=AHEAD {
            if self.end() >= end {
                break;
            }
            match self.blocks.try_recv() {
                Ok(block) => self.window.extend(block),
                Err(_) => break,
            }
        }
        if self.end() < position {
            self.window.clear();
            self.begin = position;
        }
        let missing = (end - self.end()).max(0) as usize;
        self.window.extend(std::iter::repeat_n(0.0, missing));
        for (offset, sample) in out.iter_mut().enumerate() {
            let index = usize::try_from(position + offset as i64 - self.begin);
            *sample = index
                .ok()
                .and_then(|index| self.window.get(index))
                .copied()
                .unwrap_or(0.0);
        }
        let old = (position - MEMORY as i64 - self.begin).clamp(0, self.window.len() as i64);
        self.window.drain(..old as usize);
        self.begin += old;
    }

    fn end(&self) -> i64 {
        self.begin + self.window.len() as i64
    }
}

/// Hands the file over, block by block, until its end or until nobody takes it any more.
fn read_ahead(
    mut reader: Reader,
    again: Option<PathBuf>,
    to: &SyncSender<Vec<f32>>,
) -> Result<(), AudioError> {
    loop {
        let next = block(&mut reader)?;
        if next.is_empty() {
            let Some(path) = &again else {
                return Ok(());
            };
            reader = Reader::open(path, SAMPLE_RATE)?;
        } else if to.send(next).is_err() {
            return Ok(());
        }
    }
}

/// The next block; empty at the end.
fn block(reader: &mut Reader) -> Result<Vec<f32>, AudioError> {
    let mut block = vec![0.0; BLOCK];
    let count = reader.read(&mut block)?;
    block.truncate(count);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_audio::WavWriter;

    fn ramp(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n % 30_000) as f32 / 32_768.0).collect()
    }

    /// Reads like a call, but only as fast as the thread reads.
    fn read(stream: &mut Stream, samples: usize) -> Vec<f32> {
        let mut out = Vec::new();
        while out.len() < samples {
            while stream.end() < (out.len() + 960) as i64 {
                match stream.blocks.recv() {
                    Ok(block) => stream.window.extend(block),
                    Err(_) => break,
                }
            }
            let mut packet = [9.0; 960];
            stream.read(out.len() as i64, &mut packet);
            out.extend(packet);
        }
        out.truncate(samples);
        out
    }

    #[test]
    fn a_file_is_repeated_without_a_seam_or_followed_by_silence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let pcm = ramp(20_011);
        WavWriter::write_all(&path, SAMPLE_RATE, &pcm).unwrap();
        let mut looped = Stream::open(&path, AtEnd::Loop).unwrap();
        let heard = read(&mut looped, 100_000);
        assert!(
            heard
                .iter()
                .enumerate()
                .all(|(n, sample)| *sample == pcm[n % pcm.len()])
        );
        let mut once = Stream::open(&path, AtEnd::Pad).unwrap();
        let heard = read(&mut once, 40_000);
        assert_eq!(heard[..pcm.len()], pcm);
        assert!(heard[pcm.len()..].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn a_second_is_remembered_and_no_more_is_kept_than_that_and_what_is_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let pcm = ramp(20 * SAMPLE_RATE as usize);
        WavWriter::write_all(&path, SAMPLE_RATE, &pcm).unwrap();
        let mut stream = Stream::open(&path, AtEnd::Pad).unwrap();
        let at = 15 * SAMPLE_RATE as usize;
        read(&mut stream, at);
        assert!(stream.window.len() <= MEMORY + 2 * BLOCK);
        let mut again = [9.0; 960];
        stream.read((at - 20_000) as i64, &mut again);
        assert_eq!(again[..], pcm[at - 20_000..][..960]);
        stream.read(0, &mut again);
        assert_eq!(again, [0.0; 960], "long gone");
        stream.read(-100, &mut again);
        assert_eq!(again, [0.0; 960], "before the beginning");
    }

    #[test]
    fn a_call_that_skips_ahead_skips_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let pcm = ramp(5 * SAMPLE_RATE as usize);
        WavWriter::write_all(&path, SAMPLE_RATE, &pcm).unwrap();
        let mut stream = Stream::open(&path, AtEnd::Loop).unwrap();
        read(&mut stream, 4_800);
        while stream.end() < 30_000 {
            let block = stream.blocks.recv().unwrap();
            stream.window.extend(block);
        }
        let mut packet = [9.0; 960];
        stream.read(28_800, &mut packet);
        assert_eq!(packet[..], pcm[28_800..29_760]);
        stream.read(1 << 40, &mut packet);
        assert!(
            stream.window.len() <= 960 + AHEAD * BLOCK,
            "a gap of years takes no memory"
        );
    }

    #[test]
    fn what_is_no_sound_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.wav");
        std::fs::write(&path, b"no audio here").unwrap();
        let error = Stream::open(&path, AtEnd::Loop).err().unwrap().to_string();
        assert!(error.contains("text.wav"), "{error}");
    }
}
