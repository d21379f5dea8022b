// LiveKit's server SDK from npm rules rooms in which stock browsers are.
import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { AccessToken, DataPacket_Kind, RoomServiceClient } from 'livekit-server-sdk';
import { seesAndHears } from '../harness/senses.mjs';
import { KEY, SECRET } from '../harness/server.mjs';
import { heard, openStage, until } from '../harness/stage.mjs';

// Node 18 has it, but not where the SDK looks for it.
globalThis.crypto ??= webcrypto;

const NOT_FOUND = { status: 404, code: 'not_found' };

let stage;
let rooms;
before(async () => {
  stage = await openStage();
  rooms = new RoomServiceClient(stage.server.http, KEY, SECRET);
});
after(() => stage?.close());

/** A room of its own with Anna, who speaks and shows something, and Bert, who sees and hears her. */
let room;
let anna;
let bert;
beforeEach(async () => {
  room = stage.room();
  await rooms.createRoom({ name: room, metadata: 'old', emptyTimeout: 60, maxParticipants: 2 });
  anna = await stage.join(room, 'anna');
  bert = await stage.join(room, 'bert');
  await Promise.all([anna.speak(), anna.show()]);
  await seesAndHears(bert, anna);
});

test('rooms and people are listed, described and counted', async () => {
  const [listed] = await rooms.listRooms([room]);
  assert.deepEqual(
    [listed.name, listed.metadata, listed.emptyTimeout, listed.maxParticipants, listed.numParticipants, listed.numPublishers],
    [room, 'old', 60, 2, 2, 1],
  );
  const people = await rooms.listParticipants(room);
  assert.deepEqual(people.map(({ identity }) => identity).sort(), ['anna', 'bert']);
  assert.equal((await rooms.getParticipant(room, 'anna')).tracks.length, 2);
  await assert.rejects(rooms.getParticipant(room, 'carl'), NOT_FOUND);
  assert.equal((await rooms.updateRoomMetadata(room, 'new')).metadata, 'new');
  await until('bert knows', () => bert.call('room'), ({ metadata }) => metadata === 'new');
});

test('one more than a room may have is not let in', async () => {
  await assert.rejects(stage.join(room, 'carl'), /could not join/);
});

test('a track is muted for everybody, its publisher included, and not unmuted from afar', async () => {
  const sid = await anna.call('trackSid', 'audio');
  assert.equal((await rooms.mutePublishedTrack(room, 'anna', sid, true)).muted, true);
  await heard(bert, 'TrackMuted', 'anna/audio');
  await heard(anna, 'TrackMuted', 'anna/audio');
  await assert.rejects(rooms.mutePublishedTrack(room, 'anna', sid, false), { status: 412, code: 'failed_precondition' });
  await anna.call('mute', 'audio', false);
  await seesAndHears(bert, anna);
});

test('what somebody shows is changed for everybody', async () => {
  await rooms.updateParticipant(room, 'anna', { name: 'Anna A.', metadata: 'm', attributes: { seat_number: '7' } });
  const { answer } = await until('bert knows', () => bert.call('profile', 'anna'), (seen) => seen?.metadata === 'm');
  assert.deepEqual(answer, { name: 'Anna A.', metadata: 'm', attributes: { seat_number: '7' } });
});

test('what somebody may do changes at once', async () => {
  const may = (canPublish, canSubscribe) => ({ permission: { canPublish, canSubscribe, canPublishData: true } });
  await rooms.updateParticipant(room, 'bert', may(true, false));
  await heard(bert, 'TrackUnsubscribed', 'anna/video');
  await rooms.updateParticipant(room, 'bert', may(true, true));
  await seesAndHears(bert, anna);
  await rooms.updateParticipant(room, 'anna', may(false, true));
  await until('bert sees no track of hers', () => bert.call('publication', 'anna', 'video'), (known) => !known);
  await until('anna knows', () => anna.call('permissions'), ({ canPublish }) => !canPublish);
});

test('subscriptions are ended and begun', async () => {
  const tracks = (await rooms.getParticipant(room, 'anna')).tracks.map(({ sid }) => sid);
  await rooms.updateSubscriptions(room, 'bert', tracks, false);
  await heard(bert, 'TrackUnsubscribed', 'anna/audio');
  await rooms.updateSubscriptions(room, 'bert', tracks, true);
  await seesAndHears(bert, anna);
});

test('data comes to those it names', async () => {
  const send = (text, options) => rooms.sendData(room, new TextEncoder().encode(text), DataPacket_Kind.RELIABLE, options);
  await send('for bert', { destinationIdentities: ['bert'], topic: 't' });
  await send('for all', { topic: 't' });
  await heard(bert, 'DataReceived', 'undefined/t/for bert');
  await heard(anna, 'DataReceived', 'undefined/t/for all');
  const events = await anna.call('events');
  assert.ok(!events.some(({ detail }) => detail === 'undefined/t/for bert'), 'anna was not meant');
});

test('a method of a browser is called', async () => {
  await bert.call('answer', 'turn');
  // The SDK has no method for it yet.
  const token = new AccessToken(KEY, SECRET);
  token.addGrant({ roomAdmin: true, room });
  const headers = { authorization: `Bearer ${await token.toJwt()}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ room, destinationIdentity: 'bert', method: 'turn', payload: 'abc' });
  const response = await fetch(`${stage.server.http}/twirp/livekit.RoomService/PerformRpc`, { method: 'POST', headers, body });
  assert.deepEqual(await response.json(), { payload: 'cba' });
});

test('somebody is moved to another room by their own client', async () => {
  const hall = stage.room();
  await rooms.moveParticipant(room, 'anna', hall);
  await heard(bert, 'ParticipantDisconnected', 'anna');
  await until('anna is in the hall', () => anna.call('room'), ({ name }) => name === hall);
  await until('anna speaks there', () => rooms.listParticipants(hall), ([who]) => who?.tracks.length === 2);
});

test('somebody is removed, and a deleted room sends everybody away', async () => {
  await rooms.removeParticipant(room, 'anna');
  await heard(anna, 'Disconnected', 4); // PARTICIPANT_REMOVED
  await heard(bert, 'ParticipantDisconnected', 'anna');
  await assert.rejects(rooms.removeParticipant(room, 'anna'), NOT_FOUND);
  await rooms.deleteRoom(room);
  await heard(bert, 'Disconnected', 5); // ROOM_DELETED
  assert.deepEqual(await rooms.listRooms([room]), []);
});

test('a wrong secret is refused', async () => {
  const stranger = new RoomServiceClient(stage.server.http, KEY, 'wrong');
  await assert.rejects(stranger.listRooms(), { status: 401, code: 'unauthenticated' });
});
