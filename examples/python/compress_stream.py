"""A client of the AI core in Python: sends a tone, or a WAV file, and says what came back.

    auralink core --dev
    pip install grpcio==1.85.1 grpcio-tools==1.85.1
    python examples/python/compress_stream.py 127.0.0.1:7883 [in.wav] [--certs DIR]

The stubs are made from proto/ when it starts; a project would make them once.
"""

import argparse
import array
import importlib
import math
import pathlib
import sys
import tempfile
import time
import wave

import grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
FILE = "aic/v1/aic_compression.proto"
FRAME_SECONDS = 0.02
TICKS_PER_FRAME = 960


def stubs():
    """The modules of messages and of the service."""
    out = tempfile.mkdtemp(prefix="aic-stubs-")
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={out}", f"--grpc_python_out={out}", FILE]
    if protoc.main(arguments) != 0:
        raise RuntimeError("the stubs could not be made")
    sys.path.insert(0, out)
    return tuple(importlib.import_module(f"aic.v1.aic_compression_pb2{kind}") for kind in ("", "_grpc"))


def sound(path):
    """Mono 16-bit samples with their rate."""
    if path is None:
        step = 2 * math.pi * 220 / 16_000
        return array.array("h", (int(8_000 * math.sin(step * n)) for n in range(32_000))), 16_000
    with wave.open(path) as wav:
        if wav.getnchannels() != 1 or wav.getsampwidth() != 2 or wav.getframerate() not in (16_000, 48_000):
            raise SystemExit(f"{path}: 16-bit mono at 16 or 48 kHz is wanted")
        return array.array("h", wav.readframes(wav.getnframes())), wav.getframerate()


def channel(address, certs):
    """Plain to a core on loopback; with a directory made by `auralink certs`, mutual TLS."""
    if certs is None:
        return grpc.insecure_channel(address)
    read = lambda name: (pathlib.Path(certs) / name).read_bytes()  # noqa: E731
    credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("client.key"), read("client.pem"))
    return grpc.secure_channel(address, credentials)


def requests(pb, samples, rate):
    """The opening, then the frames in real time."""
    governed = pb.Governed(configuration=pb.Configuration(mode=pb.MODE_ADAPTIVE, max_latency_ms=100))
    key = pb.SessionKey(call_id="example", track_id="microphone")
    yield pb.CompressStreamRequest(open=pb.OpenCompression(session=key, governed=governed))
    size = int(rate * FRAME_SECONDS)
    due = time.monotonic()
    for number in range(len(samples) // size):
        time.sleep(max(0.0, due - time.monotonic()))
        due += FRAME_SECONDS
        yield pb.CompressStreamRequest(
            frame=pb.MediaFrame(
                codec=pb.CODEC_PCM_S16LE,
                payload=samples[number * size : (number + 1) * size].tobytes(),
                timestamp=number * TICKS_PER_FRAME,
                audio=pb.AudioFormat(sample_rate=rate, channels=1),
            )
        )


def run(address, path=None, certs=None):
    """Sends everything; returns frames answered, frames coded, bytes in, bytes out."""
    pb, service = stubs()
    samples, rate = sound(path)
    answered = coded = bytes_out = 0
    with channel(address, certs) as link:
        core = service.AicCompressionStub(link)
        health = core.HealthCheck(pb.HealthCheckRequest(), timeout=5)
        print("core", health.version, pb.HealthCheckResponse.Status.Name(health.status))
        for answer in core.CompressStream(requests(pb, samples, rate)):
            if answer.WhichOneof("message") != "result":
                print("session", answer.opened.session_id)
                continue
            result = answer.result
            answered += 1
            coded += result.coded
            bytes_out += sum(len(packet.payload) for packet in result.packets)
            if not result.coded:
                print("frame at", result.timestamp, "came back:", pb.Reason.Name(result.reason))
    return answered, coded, 2 * len(samples), bytes_out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", default="127.0.0.1:7883")
    parser.add_argument("wav", nargs="?")
    parser.add_argument("--certs", metavar="DIR")
    options = parser.parse_args()
    answered, coded, bytes_in, bytes_out = run(options.address, options.wav, options.certs)
    print(f"{answered} frames answered, {coded} coded; {bytes_in} bytes in, {bytes_out} bytes out")


if __name__ == "__main__":
    main()
