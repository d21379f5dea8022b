//! Moving pictures to send: a real encoder's VP8 in three sizes, coded once by ffmpeg and kept in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::error::LoadError;
use crate::stream::{Clip, Packet};

/// Names of the layers as LiveKit has them, with width, height and rate of a 720p camera in stock clients.
pub const LAYERS: [(&str, u32, u32, &str); 3] = [
    ("q", 320, 180, "150k"),
    ("h", 640, 360, "500k"),
    ("f", 1280, 720, "1700k"),
];

/// Length of what is sent again and again.
const SECONDS: u32 = 10;

/// Pictures per second, and from one key picture to the next: a listener who asks for one gets the next in line.
const FPS: u32 = 30;
const KEY_EVERY: u32 = 60;

/// Most payload in a packet, so that its datagram fits every network's 1280 bytes.
const MOST: usize = 1100;

/// VP8 payload descriptor: start of partition, picture id of 15 bits (RFC 7741 section 4.2).
pub(crate) const DESCRIPTOR: usize = 4;

/// Share of the time between two pictures over which a picture's packets are spread.
const SPREAD: f64 = 0.5;

/// The layers of one camera, smallest first.
pub struct Pictures {
    /// One clip for each of [`LAYERS`].
    pub layers: Vec<Arc<Clip>>,
}

impl Pictures {
    /// Of a video file, or of ffmpeg's test picture. `None`, after saying so on standard error, where there is no ffmpeg.
    pub fn load(source: Option<&Path>) -> Result<Option<Arc<Self>>, LoadError> {
        let directory = cache();
        let mut layers = Vec::new();
        for (name, width, height, rate) in LAYERS {
            let path = directory.join(format!("{}-{width}x{height}-{rate}.ivf", label(source)));
            if !path.is_file() {
                if Command::new("ffmpeg")
                    .arg("-version")
                    .stdout(Stdio::null())
                    .status()
                    .is_err()
                {
                    eprintln!(
                        "NO VIDEO in this run: there is no ffmpeg to code it, nor {}",
                        path.display()
                    );
                    return Ok(None);
                }
                fs::create_dir_all(&directory)?;
                encode(source, (width, height, rate), &path)?;
            }
            let bytes = fs::read(&path).map_err(|error| fail(&path, &error.to_string()))?;
            let clip = read(&bytes).ok_or_else(|| fail(&path, "this is no VP8 in IVF; delete it"))?;
            tracing::debug!(layer = name, packets = clip.packets().len(), "a layer of video");
            layers.push(Arc::new(clip));
        }
        Ok(Some(Arc::new(Self { layers })))
    }
}

fn fail(path: &Path, problem: &str) -> LoadError {
    LoadError::Stream {
        what: path.display().to_string(),
        problem: problem.to_owned(),
    }
}

/// What was coded stays here, as programs of the desktop do it.
fn cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home);
    base.unwrap_or_else(std::env::temp_dir).join("auralink-load")
}

/// A name for what a source looks like: a file that was changed is another.
fn label(source: Option<&Path>) -> String {
    let Some(path) = source else {
        return "test".to_owned();
    };
    let length = fs::metadata(path).map_or(0, |about| about.len());
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("{}-{length}", name.chars().map(plain).collect::<String>())
}

fn encode(
    source: Option<&Path>,
    (width, height, rate): (u32, u32, &str),
    to: &Path,
) -> Result<(), LoadError> {
    let part = to.with_extension(format!("{}.part", std::process::id()));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-y", "-loglevel", "error"]);
    match source {
        Some(path) => ffmpeg.args(["-stream_loop", "-1", "-i"]).arg(path),
        None => ffmpeg.args(["-f", "lavfi", "-i", &format!("testsrc2=size=1280x720:rate={FPS}")]),
    };
    let fit = format!(
        "scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:-1:-1,fps={FPS},format=yuv420p"
    );
    let (seconds, every) = (SECONDS.to_string(), KEY_EVERY.to_string());
    ffmpeg.args([
        "-an",
        "-t",
        &seconds,
        "-vf",
        &fit,
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "6",
    ]);
    ffmpeg.args([
        "-b:v",
        rate,
        "-maxrate",
        rate,
        "-bufsize",
        rate,
        "-error-resilient",
        "1",
    ]);
    ffmpeg.args(["-g", &every, "-keyint_min", &every, "-f", "ivf"]);
    let made = ffmpeg.arg(&part).stderr(Stdio::piped()).output()?;
    if !made.status.success() {
        // What it began is of no use; that it is still there harms nobody.
        let _ = fs::remove_file(&part);
        return Err(LoadError::Stream {
            what: source.map_or("test picture".to_owned(), |path| path.display().to_string()),
            problem: String::from_utf8_lossy(&made.stderr).trim().to_owned(),
        });
    }
    Ok(fs::rename(&part, to)?)
}

/// The pictures in an IVF file of VP8 as packets.
fn read(ivf: &[u8]) -> Option<Clip> {
    if !ivf.starts_with(b"DKIF") || ivf.get(8..12)? != b"VP80" {
        return None;
    }
    let mut rest = ivf.get(32..)?;
    let mut packets = Vec::new();
    while let Some((head, body)) = rest.split_at_checked(12) {
        let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
        let (picture, next) = body.split_at_checked(length)?;
        packetize(picture, &mut packets);
        rest = next;
    }
    Clip::new(packets)
}

fn packetize(picture: &[u8], packets: &mut Vec<Packet>) {
    let Some(first) = picture.first() else {
        return;
    };
    let key = first & 1 == 0;
    let count = picture.len().div_ceil(MOST);
    let between = Duration::from_secs(1) / FPS;
    let gap = between.mul_f64(SPREAD / count as f64);
    // Pieces of one size rather than a short last one: its end is what it is known by.
    for (n, piece) in picture.chunks(picture.len().div_ceil(count)).enumerate() {
        let start = if n == 0 { 0x10 } else { 0 };
        let mut payload = vec![0x80 | start, 0x80, 0x80, 0];
        payload.extend_from_slice(piece);
        packets.push(Packet {
            payload: payload.into(),
            red: false,
            marker: false,
            key: key && n == 0,
            level: None,
            gap,
            ticks: 0,
        });
    }
    if let Some(last) = packets.last_mut() {
        last.marker = true;
        last.gap = between - gap * (count as u32 - 1);
        last.ticks = 90_000 / FPS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ivf(pictures: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"DKIF\0\0\x20\0VP80".to_vec();
        bytes.resize(32, 0);
        for picture in pictures {
            bytes.extend_from_slice(&(picture.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&[0; 8]);
            bytes.extend_from_slice(picture);
        }
        bytes
    }

    #[test]
    fn pictures_are_cut_into_packets_that_take_a_picture_s_time_together() {
        let key: Vec<u8> = (0..2500u32)
            .map(|n| if n == 0 { 0 } else { (n * 7 % 251) as u8 })
            .collect();
        let delta = vec![1u8; 300];
        let clip = read(&ivf(&[key.clone(), delta])).unwrap();
        let packets = clip.packets();
        assert_eq!(packets.len(), 4);
        let keys: Vec<bool> = packets.iter().map(|packet| packet.key).collect();
        let markers: Vec<bool> = packets.iter().map(|packet| packet.marker).collect();
        assert_eq!(keys, [true, false, false, false]);
        assert_eq!(markers, [false, false, true, true]);
        assert_eq!(packets.iter().map(|packet| packet.ticks).sum::<u32>(), 2 * 3000);
        let time: Duration = packets.iter().map(|packet| packet.gap).sum();
        assert!(
            time.abs_diff(Duration::from_secs(2) / FPS) < Duration::from_micros(1),
            "{time:?}"
        );
        let whole: Vec<u8> = packets[..3]
            .iter()
            .flat_map(|packet| packet.payload[DESCRIPTOR..].to_vec())
            .collect();
        assert_eq!(whole, key);
        assert_eq!(packets[0].payload[0], 0x90);
        assert_eq!(packets[1].payload[0], 0x80);
    }

    #[test]
    fn a_file_that_is_cut_off_or_no_video_is_refused() {
        let whole = ivf(&[vec![0; 50]]);
        for end in 0..32 {
            assert!(read(&whole[..end]).is_none(), "{end}");
        }
        for end in 45..whole.len() {
            assert!(read(&whole[..end]).is_none(), "{end}");
        }
        assert!(read(b"RIFF").is_none());
    }
}
