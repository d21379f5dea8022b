"""PESQ-WB and STOI of the speech codec on a folder of clips, through the `auralink` program itself.

`python -m training.evaluate --clips DIR --auralink BIN [--kbps 1.5 3 6 9] [--opus 6 8 12] [--json FILE]`

Every clip is brought to 16 kHz mono, coded and decoded by the program, aligned by nothing but the codec's own known
delay, and scored against the 16 kHz original. Opus (libopus through ffmpeg, 20 ms, VOIP, constrained VBR) is the
baseline; its actual rate is counted from its packets, as narrow as the encoder chooses to code them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
from pesq import pesq
from pystoi import stoi

RATE = 16_000
SUFFIXES = {".flac", ".wav", ".opus", ".ogg"}


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def to_wav(source, target):
    ffmpeg("-i", source, "-ac", 1, "-ar", RATE, "-af", "aresample=resampler=swr:filter_size=64:cutoff=0.97",
           "-c:a", "pcm_s16le", target)


def auralink(program, wav, kbps, folder):
    """-> (decoded, payload kbit/s)"""
    aic, out = folder / "coded.aic", folder / "decoded.wav"
    for arguments in (["encode", "--kbps", f"{kbps:g}", wav, aic], ["decode", aic, out]):
        subprocess.run([program, "codec", *map(str, arguments)], check=True, stderr=subprocess.PIPE)
    return soundfile.read(out, dtype="float32")[0], kbps


def opus(wav, kbps, folder):
    coded, out = folder / "coded.opus", folder / "opus.wav"
    ffmpeg("-i", wav, "-c:a", "libopus", "-application", "voip", "-frame_duration", 20, "-vbr", "constrained",
           "-b:a", f"{int(kbps * 1000)}", coded)
    to_wav(coded, out)
    packets = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", coded],
                             check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    sizes = [int(p.strip(",")) for p in packets]
    return soundfile.read(out, dtype="float32")[0], sum(sizes) * 8 / (len(sizes) * 0.02) / 1000


def score(reference, decoded):
    n = min(len(reference), len(decoded))
    reference, decoded = reference[:n], decoded[:n]
    return float(pesq(RATE, reference, decoded, "wb")), float(stoi(reference, decoded, RATE))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clips", required=True, help="folder of sound files")
    p.add_argument("--auralink", required=True, help="the auralink program")
    p.add_argument("--kbps", type=float, nargs="*", default=[1.5, 3, 6, 9])
    p.add_argument("--opus", type=float, nargs="*", default=[6, 8, 12])
    p.add_argument("--json", help="write clips and means here")
    a = p.parse_args()
    clips = sorted(f for f in Path(a.clips).rglob("*") if f.suffix.lower() in SUFFIXES)
    if not clips:
        sys.exit(f"{a.clips}: no sound files")
    jobs = [("auralink", k) for k in a.kbps] + [("opus", k) for k in a.opus]
    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for n, clip in enumerate(clips):
            to_wav(clip, folder / "clip.wav")
            reference = soundfile.read(folder / "clip.wav", dtype="float32")[0]
            for codec, kbps in jobs:
                if codec == "auralink":
                    decoded, actual = auralink(a.auralink, folder / "clip.wav", kbps, folder)
                else:
                    decoded, actual = opus(folder / "clip.wav", kbps, folder)
                quality, intelligible = score(reference, decoded)
                found[codec, kbps].append({"clip": clip.name, "kbps": round(actual, 2),
                                           "pesq_wb": round(quality, 3), "stoi": round(intelligible, 4)})
            print(f"\r{n + 1}/{len(clips)} {clip.name:40}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    summary = []
    print(f"{'codec':10} {'asked':>6} {'kbps':>6} {'PESQ-WB':>8} {'±':>5} {'STOI':>6}  ({len(clips)} clips)")
    for codec, kbps in jobs:
        rows = found[codec, kbps]
        scores = np.array([r["pesq_wb"] for r in rows])
        line = {"codec": codec, "asked_kbps": kbps, "kbps": round(float(np.mean([r["kbps"] for r in rows])), 2),
                "pesq_wb": round(float(scores.mean()), 3),
                "pesq_wb_standard_error": round(float(scores.std(ddof=1) / len(scores) ** 0.5), 3) if len(scores) > 1 else 0.0,
                "stoi": round(float(np.mean([r["stoi"] for r in rows])), 4), "clips": len(rows)}
        summary.append(line)
        print(f"{codec:10} {kbps:6g} {line['kbps']:6.2f} {line['pesq_wb']:8.3f} {line['pesq_wb_standard_error']:5.2f} "
              f"{line['stoi']:6.3f}")
    if a.json:
        Path(a.json).write_text(json.dumps({"summary": summary, "clips": {
            f"{codec} {kbps:g}": rows for (codec, kbps), rows in found.items()}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
