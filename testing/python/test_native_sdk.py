"""A6: LiveKit's native client (libwebrtc) sends a tone through the server; the other end measures it."""

import asyncio
import unittest

import numpy as np
from livekit import rtc

from harness import Server, token

RATE = 48_000
TONE_HZ = 440.0
AMPLITUDE = 0.3
BLOCK = RATE // 100
# The first second is left out: the encoder, the jitter buffer and its clock settle in it.
SETTLE_SECONDS = 1
MEASURE_SECONDS = 3
PATIENCE_SECONDS = 30


async def play_tone(source):
    """Feeds the source for as long as it is let; it paces itself by its queue."""
    position = 0
    while True:
        phase = 2 * np.pi * TONE_HZ * (position + np.arange(BLOCK)) / RATE
        samples = (AMPLITUDE * 32767 * np.sin(phase)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, BLOCK))
        position += BLOCK


async def record(track, seconds):
    """That many seconds of what arrives, as floats."""
    heard, wanted = [], int(seconds * RATE)
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
    async for event in stream:
        heard.append(np.frombuffer(event.frame.data, dtype=np.int16))
        if sum(len(block) for block in heard) >= wanted:
            break
    await stream.aclose()
    return np.concatenate(heard)[:wanted] / 32767.0


def strongest_tone(samples):
    """Frequency and amplitude of the strongest tone."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    peak = int(np.argmax(spectrum))
    return peak * RATE / len(samples), float(spectrum[max(peak - 2, 0) : peak + 3].max())


async def carry_tone(url, room_name, single_peer_connection):
    """What one client hears of the tone another one plays."""
    options = rtc.RoomOptions(single_peer_connection=single_peer_connection)
    speaker, listener = rtc.Room(), rtc.Room()
    arrived = asyncio.get_running_loop().create_future()

    @listener.on("track_subscribed")
    def _(track, _publication, _participant):
        if not arrived.done():
            arrived.set_result(track)

    await listener.connect(url, token(room_name, "listener"), options)
    await speaker.connect(url, token(room_name, "speaker"), options)
    source = rtc.AudioSource(RATE, 1, queue_size_ms=100)
    microphone = rtc.LocalAudioTrack.create_audio_track("tone", source)
    publish = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await speaker.local_participant.publish_track(microphone, publish)
    playing = asyncio.create_task(play_tone(source))
    try:
        track = await asyncio.wait_for(arrived, PATIENCE_SECONDS)
        heard = await asyncio.wait_for(record(track, SETTLE_SECONDS + MEASURE_SECONDS), PATIENCE_SECONDS)
    finally:
        playing.cancel()
        await speaker.disconnect()
        await listener.disconnect()
    return heard[SETTLE_SECONDS * RATE :]


class NativeSdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def hear_tone(self, single_peer_connection):
        try:
            room = f"tone-{single_peer_connection}"
            heard = asyncio.run(carry_tone(self.server.url, room, single_peer_connection))
        except Exception:
            print("\n".join(self.server.lines[-30:]))
            raise
        frequency, amplitude = strongest_tone(heard)
        print(f"heard {frequency:.1f} Hz at {amplitude:.3f} (sent {TONE_HZ} Hz at {AMPLITUDE})")
        self.assertAlmostEqual(frequency, TONE_HZ, delta=1.0)
        self.assertAlmostEqual(amplitude, AMPLITUDE, delta=0.15 * AMPLITUDE)

    def test_a_tone_keeps_its_frequency_and_amplitude_with_one_peer_connection_per_client(self):
        self.hear_tone(True)

    def test_a_tone_keeps_its_frequency_and_amplitude_with_two_peer_connections_per_client(self):
        self.hear_tone(False)

    def test_a_wrong_secret_is_refused(self):
        async def join():
            await rtc.Room().connect(self.server.url, token("tone", "eve")[:-4] + "AAAA")

        with self.assertRaises(rtc.ConnectError):
            asyncio.run(asyncio.wait_for(join(), PATIENCE_SECONDS))


if __name__ == "__main__":
    unittest.main()
