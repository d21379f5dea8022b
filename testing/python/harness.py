"""Starts the server under test and makes LiveKit access tokens; standard library only."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import subprocess
import threading
import time

KEY, SECRET = "devkey", "secret"
START_SECONDS = 30
STOP_SECONDS = 5
ADDRESS = re.compile(r"https?://((?:127\.0\.0\.1|localhost):[1-9]\d*)")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def token(room, identity, **claims):
    """An access token for one room, signed with the development key."""

    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    now = int(time.time())
    body = {
        "iss": KEY,
        "sub": identity,
        "nbf": now - 10,
        "exp": now + 600,
        "video": {"roomJoin": True, "room": room},
        **claims,
    }
    head = part(b'{"alg":"HS256","typ":"JWT"}') + "." + part(json.dumps(body).encode())
    return head + "." + part(hmac.new(SECRET.encode(), head.encode(), hashlib.sha256).digest())


class Server:
    """The program itself as a child process, on ports chosen by the system."""

    def __init__(self):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        binary = os.environ.get("AURALINK_BIN", str(target / "debug" / "auralink"))
        words = os.environ.get("AURALINK_ARGS", "serve --dev --listen 127.0.0.1:0 --database memory")
        self.lines = []
        self._found = threading.Event()
        self.address = None
        self.child = subprocess.Popen(
            [binary, *words.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        if not self._found.wait(START_SECONDS) or self.address is None:
            self.child.kill()
            raise RuntimeError("the server named no address:\n" + "\n".join(self.lines))

    def _read(self):
        for line in self.child.stdout:
            self.lines = [*self.lines[-200:], line.rstrip()]
            match = ADDRESS.search(line)
            if match and self.address is None:
                self.address = match.group(1)
                self._found.set()
        self._found.set()

    @property
    def url(self):
        """What an SDK connects to."""
        return f"ws://{self.address}"

    def stop(self):
        """Asks it to end; its exit code."""
        self.child.terminate()
        try:
            return self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()
