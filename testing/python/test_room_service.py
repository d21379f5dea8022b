"""LiveKit's server SDK from PyPI rules rooms in which LiveKit's native clients are."""

import asyncio
import unittest

from livekit import api, rtc
from livekit.protocol.room import PerformRpcRequest, PerformRpcResponse

from harness import KEY, SECRET, Server
from people import LISTEN_SECONDS, QUIET, Person, record, strongest_tone, within

ROOM = "ruled"


async def until(what, done):
    """Waits until `done()` holds."""

    async def wait():
        while not done():
            await asyncio.sleep(0.05)

    await within(wait(), what)


class Stage:
    """A tenant's server, and Anna, who speaks to Bert."""

    def __init__(self, url):
        self.url = url
        self.anna, self.bert = Person("anna", 440, (210, 40, 40)), Person("bert", 560, (40, 150, 50))

    async def __aenter__(self):
        self.tenant = api.LiveKitAPI(self.url.replace("ws", "http"), KEY, SECRET)
        self.rooms = self.tenant.room
        await self.rooms.create_room(api.CreateRoomRequest(name=ROOM, metadata="old", empty_timeout=60))
        for person in (self.anna, self.bert):
            await person.join(self.url, ROOM, True)
        await self.anna.publish()
        await self.bert.sees_and_hears(self.anna)
        return self

    async def __aexit__(self, *_):
        for person in (self.anna, self.bert):
            await person.leave()
        await self.rooms.delete_room(api.DeleteRoomRequest(room=ROOM))
        await self.tenant.aclose()

    def identity(self, person):
        return api.RoomParticipantIdentity(room=ROOM, identity=person.name)

    async def info(self, person):
        return await self.rooms.get_participant(self.identity(person))


async def look_around(stage):
    assert stage.bert.room.metadata == "old"
    listed = await stage.rooms.list_rooms(api.ListRoomsRequest(names=[ROOM]))
    assert [(room.name, room.num_participants, room.num_publishers, room.empty_timeout) for room in listed.rooms] == [
        (ROOM, 2, 1, 60)
    ], listed
    people = (await stage.rooms.list_participants(api.ListParticipantsRequest(room=ROOM))).participants
    assert sorted(person.identity for person in people) == ["anna", "bert"]
    assert len((await stage.info(stage.anna)).tracks) == 2
    room = await stage.rooms.update_room_metadata(api.UpdateRoomMetadataRequest(room=ROOM, metadata="new"))
    assert room.metadata == "new"
    await until("bert is told the room's metadata", lambda: stage.bert.room.metadata == "new")


async def mute(stage):
    [sound] = [track for track in (await stage.info(stage.anna)).tracks if track.type == api.TrackType.AUDIO]
    request = api.MuteRoomTrackRequest(room=ROOM, identity="anna", track_sid=sound.sid, muted=True)
    assert (await stage.rooms.mute_published_track(request)).track.muted
    heard = lambda: stage.bert.publications_of(stage.anna)[rtc.TrackKind.KIND_AUDIO]  # noqa: E731
    await until("bert is told that anna is muted", lambda: heard().muted)
    try:
        request.muted = False
        await stage.rooms.mute_published_track(request)
        raise AssertionError("unmuted from afar")
    except api.TwirpError as error:
        assert (error.code, error.status) == ("failed_precondition", 412), error


async def change(stage):
    request = api.UpdateParticipantRequest(room=ROOM, identity="anna", name="Anna A.", metadata="m")
    request.attributes["seat_number"] = "7"
    await stage.rooms.update_participant(request)
    seen = lambda: stage.bert.room.remote_participants["anna"]  # noqa: E731
    await until("bert is told of anna's change", lambda: seen().metadata == "m")
    await until("bert is told anna's attributes", lambda: dict(seen().attributes) == {"seat_number": "7"})
    assert seen().name == "Anna A."


async def falls_silent(listener, speaker):
    """The client keeps a track that the server takes from it; nothing comes of it any more."""
    track = await listener.track_of(speaker, rtc.TrackKind.KIND_AUDIO)
    while True:
        try:
            heard = await asyncio.wait_for(record(track, LISTEN_SECONDS), 1)
        except TimeoutError:
            return
        if strongest_tone(heard)[1] < QUIET:
            return


async def subscribe(stage):
    tracks = [track.sid for track in (await stage.info(stage.anna)).tracks]
    for wanted in (False, True):
        request = api.UpdateSubscriptionsRequest(room=ROOM, identity="bert", track_sids=tracks, subscribe=wanted)
        await stage.rooms.update_subscriptions(request)
        if wanted:
            await stage.bert.sees_and_hears(stage.anna)
        else:
            await within(falls_silent(stage.bert, stage.anna), "bert hearing nothing of anna")


async def send(stage):
    heard = {"anna": [], "bert": []}
    for person in (stage.anna, stage.bert):
        person.room.on("data_received", lambda packet, name=person.name: heard[name].append((packet.data, packet.topic)))
    for data, names in [(b"for bert", ["bert"]), (b"for all", [])]:
        request = api.SendDataRequest(room=ROOM, data=data, topic="t", destination_identities=names)
        await stage.rooms.send_data(request)
    await until("both have their data", lambda: all((b"for all", "t") in packets for packets in heard.values()))
    assert heard == {"anna": [(b"for all", "t")], "bert": [(b"for bert", "t"), (b"for all", "t")]}, heard


async def call(stage):
    async def greet(invocation):
        return f"{invocation.payload} from bert"

    stage.bert.room.local_participant.register_rpc_method("greet", greet)
    # The SDK has no method for it yet, but its client has the words.
    grants = api.VideoGrants(room_admin=True, room=ROOM)

    async def perform(method):
        asked = PerformRpcRequest(room=ROOM, destination_identity="bert", method=method, payload="hello")
        head = stage.rooms._auth_header(grants)
        return await stage.rooms._client.request("RoomService", "PerformRpc", asked, head, PerformRpcResponse)

    assert (await perform("greet")).payload == "hello from bert"
    try:
        await perform("dance")
        raise AssertionError("a method that nobody has was called")
    except api.TwirpError as error:
        assert (error.code, error.status) == ("invalid_argument", 400), error


async def revoke(stage):
    for person, permission in [
        (stage.bert, api.ParticipantPermission(can_publish=True, can_subscribe=False, can_publish_data=True)),
        (stage.anna, api.ParticipantPermission(can_publish=False, can_subscribe=True, can_publish_data=True)),
    ]:
        request = api.UpdateParticipantRequest(room=ROOM, identity=person.name, permission=permission)
        await stage.rooms.update_participant(request)
    await stage.bert.loses(stage.anna)
    assert not (await stage.info(stage.anna)).tracks
    await until(
        "anna knows that she may publish no more",
        lambda: not stage.anna.room.local_participant.permissions.can_publish,
    )


async def remove(stage):
    gone = asyncio.Event()
    stage.anna.room.on("disconnected", lambda reason: gone.set())
    await stage.rooms.remove_participant(stage.identity(stage.anna))
    await within(gone.wait(), "anna being disconnected")
    await until("bert seeing anna gone", lambda: "anna" not in stage.bert.room.remote_participants)
    try:
        await stage.info(stage.anna)
        raise AssertionError("anna is still there")
    except api.TwirpError as error:
        assert (error.code, error.status) == ("not_found", 404), error


class RoomService(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def run_on_stage(self, act):
        async def run():
            async with Stage(self.server.url) as stage:
                await act(stage)

        try:
            asyncio.run(run())
        except BaseException:
            print("\n".join(self.server.lines[-30:]))
            raise

    def test_rooms_and_people_are_listed_and_described(self):
        self.run_on_stage(look_around)

    def test_a_track_is_muted_for_everybody(self):
        self.run_on_stage(mute)

    def test_what_somebody_shows_is_changed_for_everybody(self):
        self.run_on_stage(change)

    def test_subscriptions_are_ended_and_begun(self):
        self.run_on_stage(subscribe)

    def test_data_comes_to_those_it_names(self):
        self.run_on_stage(send)

    def test_a_method_of_a_client_is_called(self):
        self.run_on_stage(call)

    def test_what_somebody_may_do_changes_at_once(self):
        self.run_on_stage(revoke)

    def test_somebody_is_removed(self):
        self.run_on_stage(remove)

    def test_a_wrong_secret_is_refused(self):
        async def ask():
            async with api.LiveKitAPI(self.server.url.replace("ws", "http"), KEY, "wrong") as tenant:
                await tenant.room.list_rooms(api.ListRoomsRequest())

        with self.assertRaises(api.TwirpError) as refused:
            asyncio.run(ask())
        self.assertEqual((refused.exception.code, refused.exception.status), ("unauthenticated", 401))


if __name__ == "__main__":
    unittest.main()
