"""A6: LiveKit's native client (libwebrtc): tones keep their frequency, and lines that are used again are heard and seen."""

import asyncio
import unittest

from livekit import rtc

from harness import Server, token
from people import AMPLITUDE, PATIENCE_SECONDS, RATE, Person, record, strongest_tone, within

TONE_HZ = 440.0
# The first second is left out: the encoder, the jitter buffer and its clock settle in it.
SETTLE_SECONDS = 1
MEASURE_SECONDS = 3
ROUNDS = 3


async def carry_tone(url, room_name, single_peer_connection):
    """What one client hears of the tone another one plays."""
    listener = await Person("listener", 0, (0, 0, 0)).join(url, room_name, single_peer_connection)
    speaker = await Person("speaker", TONE_HZ, (200, 40, 40)).join(url, room_name, single_peer_connection)
    try:
        await speaker.publish()
        track = await within(listener.track_of(speaker, rtc.TrackKind.KIND_AUDIO), "a track")
        heard = await within(record(track, SETTLE_SECONDS + MEASURE_SECONDS), "a recording")
    finally:
        await speaker.leave()
        await listener.leave()
    return heard[SETTLE_SECONDS * RATE :]


async def use_lines_again(url, room, single_peer_connection):
    """One stays and watches while others leave and come, are let go and wanted again, unpublish and publish."""
    anna = await Person("anna", 440, (210, 40, 40)).join(url, room, single_peer_connection)
    bert = await Person("bert", 560, (40, 150, 50)).join(url, room, single_peer_connection)
    try:
        await bert.publish()
        await anna.sees_and_hears(bert)
        for n in range(ROUNDS):
            cleo = await Person(f"cleo-{n}", 680 + 120 * n, (50, 70, 210)).join(url, room, single_peer_connection)
            await cleo.publish()
            await asyncio.gather(anna.sees_and_hears(cleo), bert.sees_and_hears(cleo))
            await cleo.leave()

            for _ in range(2):
                anna.subscribe(bert, False)
                await anna.loses(bert)
                anna.subscribe(bert, True)
                await anna.sees_and_hears(bert)

            await bert.unpublish()
            await anna.loses(bert)
            await bert.publish()
            await anna.sees_and_hears(bert)
    finally:
        await bert.leave()
        await anna.leave()


class NativeSdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def run_with_log(self, call):
        """Shows what the server said where the call fails."""
        try:
            return asyncio.run(call)
        except BaseException:
            print("\n".join(self.server.lines[-30:]))
            raise

    def hear_tone(self, single_peer_connection):
        heard = self.run_with_log(
            carry_tone(self.server.url, f"tone-{single_peer_connection}", single_peer_connection)
        )
        # Of a machine that is out of breath the client's jitter buffer makes jumps of the phase: not in every second.
        seconds = [heard[start : start + RATE] for start in range(0, MEASURE_SECONDS * RATE, RATE)]
        frequency, amplitude = max((strongest_tone(second) for second in seconds), key=lambda tone: tone[1])
        print(f"heard {frequency:.1f} Hz at {amplitude:.3f} (sent {TONE_HZ} Hz at {AMPLITUDE})")
        self.assertAlmostEqual(frequency, TONE_HZ, delta=1.0)
        self.assertAlmostEqual(amplitude, AMPLITUDE, delta=0.15 * AMPLITUDE)

    def test_a_tone_keeps_its_frequency_and_amplitude_with_one_peer_connection_per_client(self):
        self.hear_tone(True)

    def test_a_tone_keeps_its_frequency_and_amplitude_with_two_peer_connections_per_client(self):
        self.hear_tone(False)

    def test_lines_used_again_are_seen_and_heard_with_one_peer_connection_per_client(self):
        self.run_with_log(use_lines_again(self.server.url, "again-one", True))

    def test_lines_used_again_are_seen_and_heard_with_two_peer_connections_per_client(self):
        self.run_with_log(use_lines_again(self.server.url, "again-two", False))

    def test_a_wrong_secret_is_refused(self):
        async def join():
            await rtc.Room().connect(self.server.url, token("tone", "eve")[:-4] + "AAAA")

        with self.assertRaises(rtc.ConnectError):
            asyncio.run(asyncio.wait_for(join(), PATIENCE_SECONDS))


if __name__ == "__main__":
    unittest.main()
