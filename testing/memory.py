"""Resident memory of a server and of an AI core before, under and after a flood, each flood twice: what is as high after
the second as after the first is kept for reuse, what grows again is lost.

    pip install -r testing/python/requirements-grpc.txt
    python testing/memory.py [--binary target/debug/auralink] [--connections N] [--requests N] [--sessions N] [--at-once N]

The server gets requests without a token from many connections at a time, and nobody scrapes its /metrics. The core gets
gRPC sessions, each with ten frames of a tone that it codes with the neural codec.
"""

import argparse
import asyncio
import pathlib
import re
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples" / "python"))

import compress_stream  # noqa: E402
import grpc  # noqa: E402

FRAMES = 10
PER_CONNECTION = 50
LOOK_EVERY = 0.1
CALM = 0.5
REQUEST = b"GET /api/v1/aic/config HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nobody\r\n\r\n"


class Process:
    """One of ours, with the port that it names behind a label."""

    def __init__(self, binary, arguments, label):
        self.child = subprocess.Popen(
            [binary, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.child.stdout:
            if found := re.search(rf"{label}\s+(?:http://)?127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        raise RuntimeError("no address was named")

    def resident(self):
        """MiB that are in memory."""
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def end(self):
        self.child.terminate()
        self.child.wait(30)


async def asks(port, count):
    """One connection with its requests; it stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 401"):
            raise RuntimeError(head.decode())
        await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
    return writer


async def flood(port, options):
    each = options.requests // options.connections
    open_ones = await asyncio.gather(*(asks(port, each) for _ in range(options.connections)))
    for writer in open_ones:
        writer.close()


async def opened(stub, pb, call_id):
    fixed = pb.FixedRungs(rungs=[pb.Rung(neural=pb.NeuralRung(levels=12, packet_ms=20))])
    key = pb.SessionKey(call_id=call_id, track_id="microphone")
    stream = stub.CompressStream()
    await stream.write(pb.CompressStreamRequest(open=pb.OpenCompression(session=key, fixed=fixed)))
    await stream.read()
    return stream


async def coded(stream, pb, samples, rate):
    """All frames are answered; the session stays open."""
    size = int(rate * compress_stream.FRAME_SECONDS)
    for number in range(FRAMES):
        frame = pb.MediaFrame(
            codec=pb.CODEC_PCM_S16LE,
            payload=samples[number * size : (number + 1) * size].tobytes(),
            timestamp=number * compress_stream.TICKS_PER_FRAME,
            max_latency_ms=200,
            audio=pb.AudioFormat(sample_rate=rate, channels=1),
        )
        await stream.write(pb.CompressStreamRequest(frame=frame))
    answered = 0
    while answered < FRAMES:
        answered += (await stream.read()).WhichOneof("message") == "result"


async def sessions(port, options):
    pb, service = options.stubs
    samples, rate = compress_stream.sound(None)
    for wave in range(0, options.sessions, options.at_once):
        channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(-(-options.at_once // PER_CONNECTION))
        ]
        stubs = [service.AicCompressionStub(channel) for channel in channels]
        names = range(wave, min(wave + options.at_once, options.sessions))
        streams = await asyncio.gather(*(opened(stubs[n % len(stubs)], pb, f"call-{n}") for n in names))
        await asyncio.gather(*(coded(stream, pb, samples, rate) for stream in streams))
        for stream in streams:
            await stream.done_writing()
        # A core that is busy refuses new sessions.
        while (await stubs[0].HealthCheck(pb.HealthCheckRequest())).capacity.load > CALM:
            await asyncio.sleep(LOOK_EVERY)
        for channel in channels:
            await channel.close()


async def measure(what, process, work, rest):
    """A line of the table."""

    async def peak():
        most, task = 0.0, asyncio.ensure_future(work())
        while not task.done():
            most = max(most, process.resident())
            await asyncio.wait([task], timeout=LOOK_EVERY)
        task.result()
        return max(most, process.resident())

    found = [process.resident()]
    for _ in range(2):
        found.append(await peak())
        await asyncio.sleep(rest)
        found.append(process.resident())
    print(f"| {what} | " + " | ".join(f"{mebibytes:.0f}" for mebibytes in found) + " |", flush=True)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", default=str(ROOT / "target/debug/auralink"))
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=500)
    parser.add_argument("--rest", type=float, default=30, help="seconds of rest after each flood")
    options = parser.parse_args()
    options.stubs = compress_stream.stubs()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    print("| MiB | before | peak | rested | peak again | rested again |\n|---|---|---|---|---|---|", flush=True)
    serve = ["serve", "--dev", "--listen", "127.0.0.1:0", "--database", "memory"]
    server = Process(options.binary, serve, "http")
    what = f"server: {options.requests} requests without a token, {options.connections} connections"
    await measure(what, server, lambda: flood(server.port, options), options.rest)
    server.end()
    limits = ["--sessions", "5000", "--per-tenant", "5000", "--load", "1", "--workers", "1"]
    core = Process(options.binary, ["core", "--dev", "--listen", "127.0.0.1:0", *limits], "grpc")
    what = f"core: {options.sessions} gRPC sessions, {options.at_once} at a time"
    await measure(what, core, lambda: sessions(core.port, options), options.rest)
    core.end()


if __name__ == "__main__":
    asyncio.run(main())
