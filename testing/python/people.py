"""People in a room, on LiveKit's native client: each speaks with a tone and shows a colour of their own, and is asked what they get."""

import asyncio

import numpy as np
from livekit import rtc

from harness import token

RATE = 48_000
AMPLITUDE = 0.3
BLOCK = RATE // 100
WIDTH, HEIGHT, FRAMES_A_SECOND = 160, 120, 10
PATIENCE_SECONDS = 20
FAR_HZ = 10
FAR_COLOUR = 60
LISTEN_SECONDS = 0.3
PICTURES = 3
# Well under the tone, well over what concealment of nothing makes.
QUIET = 0.02


def strongest_tone(samples):
    """Frequency and amplitude of the strongest tone."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    peak = int(np.argmax(spectrum))
    return peak * RATE / len(samples), float(spectrum[max(peak - 2, 0) : peak + 3].max())


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


async def play_tone(source, hz):
    """Feeds the source for as long as it is let; it paces itself by its queue."""
    position = 0
    while True:
        phase = 2 * np.pi * hz * (position + np.arange(BLOCK)) / RATE
        samples = (AMPLITUDE * 32767 * np.sin(phase)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, BLOCK))
        position += BLOCK


async def paint(source, colour):
    """A field of one colour with a white bar that wanders across its lower half."""
    at = 0
    while True:
        picture = np.empty((HEIGHT, WIDTH, 4), dtype=np.uint8)
        picture[:] = (*colour, 255)
        at = (at + WIDTH // 14) % WIDTH
        picture[HEIGHT * 6 // 10 :, at : at + WIDTH // 8] = 255
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, picture.tobytes()))
        await asyncio.sleep(1 / FRAMES_A_SECOND)


class Person:
    """One participant."""

    def __init__(self, name, hz, colour):
        self.name, self.hz, self.colour = name, hz, colour
        self.room = rtc.Room()
        self.publications = []
        self.playing = []

    async def join(self, url, room, single_peer_connection):
        options = rtc.RoomOptions(single_peer_connection=single_peer_connection)
        await self.room.connect(url, token(room, self.name), options)
        return self

    async def publish(self):
        """A microphone and a camera."""
        sound = rtc.AudioSource(RATE, 1, queue_size_ms=100)
        pictures = rtc.VideoSource(WIDTH, HEIGHT)
        self.playing = [
            asyncio.create_task(play_tone(sound, self.hz)),
            asyncio.create_task(paint(pictures, self.colour)),
        ]
        for track, source in [
            (rtc.LocalAudioTrack.create_audio_track("voice", sound), rtc.TrackSource.SOURCE_MICROPHONE),
            (rtc.LocalVideoTrack.create_video_track("face", pictures), rtc.TrackSource.SOURCE_CAMERA),
        ]:
            options = rtc.TrackPublishOptions(source=source, simulcast=False)
            self.publications.append(await self.room.local_participant.publish_track(track, options))

    async def unpublish(self):
        for publication in self.publications:
            await self.room.local_participant.unpublish_track(publication.sid)
        self.stop()

    async def leave(self):
        self.stop()
        await self.room.disconnect()

    def stop(self):
        for task in self.playing:
            task.cancel()
        self.playing, self.publications = [], []

    def publications_of(self, other):
        """What this one knows of another's tracks, by kind."""
        who = self.room.remote_participants.get(other.name)
        return {p.kind: p for p in who.track_publications.values()} if who else {}

    def subscribe(self, other, wanted):
        for publication in self.publications_of(other).values():
            publication.set_subscribed(wanted)

    async def track_of(self, other, kind):
        """The other's track, once there is one."""
        while True:
            publication = self.publications_of(other).get(kind)
            if publication is not None and publication.track is not None:
                return publication.track
            await asyncio.sleep(0.05)

    async def loses(self, other):
        """Waits until there is no track of the other's."""

        async def wait():
            while any(p.track is not None for p in self.publications_of(other).values()):
                await asyncio.sleep(0.05)

        await within(wait(), f"{self.name} losing {other.name}")

    async def hears(self, other):
        """Waits until the other's own tone is what arrives."""
        last = None

        async def wait():
            nonlocal last
            while True:
                track = await self.track_of(other, rtc.TrackKind.KIND_AUDIO)
                last = strongest_tone(await record(track, LISTEN_SECONDS))
                if abs(last[0] - other.hz) < FAR_HZ and last[1] > QUIET:
                    return

        await within(wait(), f"{self.name} hearing {other.name} at {other.hz} Hz", lambda: last)

    async def sees(self, other):
        """Waits until pictures of the other's own colour arrive that differ from one another."""
        last = None

        async def wait():
            nonlocal last
            track = await self.track_of(other, rtc.TrackKind.KIND_VIDEO)
            stream, prints = rtc.VideoStream(track, format=rtc.VideoBufferType.RGBA), set()
            async for event in stream:
                frame = event.frame
                picture = np.frombuffer(frame.data, dtype=np.uint8).reshape(frame.height, frame.width, 4)
                last = picture[: frame.height // 2, :, :3].mean(axis=(0, 1))
                if np.linalg.norm(last - other.colour) < FAR_COLOUR:
                    prints.add((picture[frame.height * 8 // 10, :, 2] >> 5).tobytes())
                if len(prints) >= PICTURES:
                    break
            await stream.aclose()

        await within(wait(), f"{self.name} seeing {other.name} in {other.colour}", lambda: last)

    async def sees_and_hears(self, other):
        await asyncio.gather(self.sees(other), self.hears(other))


async def within(waiting, what, last=lambda: None):
    """Gives up after a while, saying what was waited for."""
    try:
        return await asyncio.wait_for(waiting, PATIENCE_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true; last: {last()}") from None
