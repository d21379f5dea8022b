"""The AI core's gRPC service with grpcio: the Python example, mutual TLS and refusals that name their field."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest

from harness import ROOT

sys.path.insert(0, str(ROOT / "examples" / "python"))

try:
    import grpc

    import compress_stream
except ImportError as missing:
    grpc = None
    print(f"SKIPPED: the gRPC example in Python, because {missing}", file=sys.stderr)

START_SECONDS = 60
STOP_SECONDS = 20
ADDRESS = re.compile(r"grpc\s+127\.0\.0\.1:([1-9]\d*)")


class Core:
    """`auralink core` as a child process."""

    def __init__(self, *arguments):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.binary = os.environ.get("AURALINK_BIN", str(target / "debug" / "auralink"))
        command = [self.binary, "core", "--listen", "127.0.0.1:0", "--workers", "1", "--load", "1", *arguments]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.port, self.lines = None, []
        found = threading.Event()

        def read():
            for line in self.child.stdout:
                self.lines.append(line)
                match = ADDRESS.search(line)
                if match and self.port is None:
                    self.port = int(match.group(1))
                    found.set()
            found.set()

        threading.Thread(target=read, daemon=True).start()
        if not found.wait(START_SECONDS) or self.port is None:
            self.child.kill()
            raise RuntimeError("the core named no address:\n" + "".join(self.lines))

    def stop(self):
        self.child.terminate()
        return self.child.wait(STOP_SECONDS)


@unittest.skipIf(grpc is None, "grpcio is not installed")
class GrpcExample(unittest.TestCase):
    def test_the_example_gets_every_frame_answered_over_mutual_tls(self):
        with tempfile.TemporaryDirectory() as directory:
            certs = pathlib.Path(directory) / "certs"
            binary = os.environ.get("AURALINK_BIN", str(ROOT / "target" / "debug" / "auralink"))
            subprocess.run([binary, "certs", "--out", str(certs)], check=True, stdout=subprocess.DEVNULL)
            files = ["--cert", certs / "server.pem", "--key", certs / "server.key", "--client-ca", certs / "ca.pem"]
            core = Core(*map(str, files))
            try:
                answered, coded, bytes_in, bytes_out = compress_stream.run(
                    f"localhost:{core.port}", certs=str(certs)
                )
                self.assertEqual(answered, 100)
                self.assertGreater(coded, 50)
                self.assertLess(bytes_out * 5, bytes_in)
                with self.assertRaises(grpc.RpcError):
                    compress_stream.run(f"127.0.0.1:{core.port}")
            finally:
                self.assertEqual(core.stop(), 0)

    def test_a_bad_frame_is_refused_by_the_path_of_its_field(self):
        core = Core("--dev")
        try:
            pb, service = compress_stream.stubs()
            with compress_stream.channel(f"127.0.0.1:{core.port}", None) as link:
                stub = service.AicCompressionStub(link)
                lean = pb.Rung(lean=pb.LeanRung(bitrate_bps=16_000, packet_ms=20))
                request = pb.CompressFrameRequest(frame=pb.MediaFrame(codec=99, payload=b"x"), rung=lean)
                with self.assertRaises(grpc.RpcError) as refused:
                    stub.CompressFrame(request, timeout=10)
                self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
                self.assertIn("frame.codec", refused.exception.details())
        finally:
            self.assertEqual(core.stop(), 0)


if __name__ == "__main__":
    unittest.main()
