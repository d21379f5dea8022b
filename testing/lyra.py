"""Codes speech with Lyra V2's published weights (Apache-2.0), as a peer in `./x bench speech`.

Reads `{"weights": DIR, "jobs": [{"in": WAV, "out": WAV, "stages": 16|30|46, "copies": N, "copy_stages": N,
"lost": [bool for each frame] or null}, ...]}` on standard input, 16 kHz mono, and prints one JSON line for each job as
it is done: `{"job": index, "encode_ms": median, "decode_ms": median}` for one frame of 20 ms on one thread.

A frame is 320 samples. The encoder gives 64 features, the quantiser up to 46 indices of 4 bits (16, 30, 46 stages are
3.2, 6.0, 9.2 kbps), the decoder 320 samples with no lag. A lost frame takes the first stages of its copy in one of the
next packets that arrived, or zero features, as upstream does.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from ai_edge_litert.interpreter import Interpreter

FRAME, RATE, STAGES = 320, 16_000, 46


class Net:
    """A stateful network with one input and one output."""

    def __init__(self, path):
        self.net = Interpreter(str(path), num_threads=1)
        self.net.allocate_tensors()
        self.given = self.net.get_input_details()[0]["index"]
        self.got = self.net.get_output_details()[0]["index"]

    def __call__(self, value):
        self.net.set_tensor(self.given, value)
        self.net.invoke()
        return self.net.get_tensor(self.got)

    def reset(self):
        self.net.reset_all_variables()


class Lyra:
    def __init__(self, weights):
        self.encoder = Net(weights / "soundstream_encoder.tflite")
        self.decoder = Net(weights / "lyragan.tflite")
        quantizer = Interpreter(str(weights / "quantizer.tflite"), num_threads=1)
        self.quantize = quantizer.get_signature_runner("encode")
        self.dequantize = quantizer.get_signature_runner("decode")

    def indices(self, samples, stages):
        features = self.encoder(samples.reshape(1, FRAME))
        found = self.quantize(input_frames=features, num_quantizers=np.int32(stages))
        indices = next(v for v in found.values() if v.size == STAGES).reshape(STAGES, 1, 1).astype(np.int32)
        indices[stages:] = -1
        return indices

    def sound(self, indices):
        return self.render(self.dequantize(encoding_indices=indices)["output_0"])

    def render(self, features):
        return self.decoder(np.asarray(features, np.float32).reshape(1, 1, 64)).reshape(FRAME)

    def run(self, samples, stages, copies, copy_stages, lost):
        self.encoder.reset()
        self.decoder.reset()
        frames = len(samples) // FRAME
        spent = [], []
        coded = []
        for n in range(frames):
            begin = time.perf_counter()
            coded.append(self.indices(samples[n * FRAME:(n + 1) * FRAME], stages))
            spent[0].append(time.perf_counter() - begin)
        out = []
        for n in range(frames):
            begin = time.perf_counter()
            if not lost or not lost[n]:
                out.append(self.sound(coded[n]))
            elif any(m < frames and not lost[m] for m in range(n + 1, n + copies + 1)):
                copy = coded[n].copy()
                copy[copy_stages:] = -1
                out.append(self.sound(copy))
            else:
                out.append(self.render(np.zeros(64)))
            spent[1].append(time.perf_counter() - begin)
        return np.concatenate(out), [float(np.median(s)) * 1000 for s in spent]


def main():
    wanted = json.load(sys.stdin)
    lyra = Lyra(Path(wanted["weights"]))
    for index, job in enumerate(wanted["jobs"]):
        samples, _ = soundfile.read(job["in"], dtype="float32")
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        out, (encode, decode) = lyra.run(padded, job["stages"], job["copies"], job["copy_stages"], job["lost"])
        soundfile.write(job["out"], np.clip(out[:len(samples)], -1, 1), RATE, subtype="PCM_16")
        print(json.dumps({"job": index, "encode_ms": encode, "decode_ms": decode}), flush=True)


if __name__ == "__main__":
    main()
