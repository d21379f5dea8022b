// A3: people change their minds.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { flowing, heard, openStage, SHAPES } from '../harness/stage.mjs';

const ROUNDS = 10;
const DUPLICATE_IDENTITY = 2; // livekit.DisconnectReason

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

for (const [shape, options] of Object.entries(SHAPES)) describe(shape, () => {
  let anna;
  let bert;
  let room;
  before(async () => {
    room = stage.room();
    anna = await stage.join(room, 'anna', { room: options });
    await anna.call('publish');
    bert = await stage.join(room, 'bert', { room: options });
    await flowing(bert, 'anna', 'video');
    await flowing(bert, 'anna', 'audio');
  });
  after(() => Promise.all([anna?.close(), bert?.close()]));

  for (const kind of ['audio', 'video']) {
    test(`${kind} that is unsubscribed and subscribed again ${ROUNDS} times flows again every time`, async (t) => {
      let longest = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const before = (await bert.call('events')).length;
        await bert.call('subscribe', 'anna', kind, false);
        await heard(bert, 'TrackUnsubscribed', `anna/${kind}`, before);
        await bert.call('subscribe', 'anna', kind, true);
        await heard(bert, 'TrackSubscribed', `anna/${kind}`, before);
        const now = await bert.call('stats', 'anna', kind);
        const least = (kind === 'video' ? now.framesDecoded : now.packetsReceived) + 3;
        longest = Math.max(longest, (await flowing(bert, 'anna', kind, least)).ms);
      }
      t.diagnostic(`media again after at most ${longest} ms`);
    });
  }

  test(`a track muted and unmuted ${ROUNDS} times is seen muted and heard again every time`, async () => {
    for (const kind of ['audio', 'video']) {
      for (let round = 0; round < ROUNDS; round++) {
        const before = (await bert.call('events')).length;
        await anna.call('mute', kind, true);
        await heard(bert, 'TrackMuted', `anna/${kind}`, before);
        assert.equal((await bert.call('publication', 'anna', kind)).muted, true);
        await anna.call('mute', kind, false);
        await heard(bert, 'TrackUnmuted', `anna/${kind}`, before);
      }
      const now = await bert.call('stats', 'anna', kind);
      await flowing(bert, 'anna', kind, (kind === 'video' ? now.framesDecoded : now.packetsReceived) + 10);
    }
  });

  test('a signalling socket that breaks is mended without anybody leaving and media goes on', async (t) => {
    const seen = (await bert.call('events')).length;
    const { packetsReceived } = await bert.call('stats', 'anna', 'audio');
    await bert.call('simulate', 'signal-reconnect');
    const { ms } = await heard(bert, 'SignalReconnecting', undefined, seen);
    await heard(bert, 'Reconnected', undefined, seen);
    await flowing(bert, 'anna', 'audio', packetsReceived + 100);
    const { framesDecoded } = await bert.call('stats', 'anna', 'video');
    await flowing(bert, 'anna', 'video', framesDecoded + 10);
    const since = (await bert.call('events')).slice(seen).map((e) => e.event);
    assert.ok(!since.includes('Disconnected'), since.join(' '));
    assert.ok(!(await anna.call('events')).some((e) => e.event === 'ParticipantDisconnected' && e.detail === 'bert'));
    t.diagnostic(`noticed after ${ms} ms`);
  });

  test('who leaves and comes back under the same name is seen again', async () => {
    const cleo = await stage.join(room, 'cleo', { room: options });
    await cleo.call('publish', { video: false });
    await flowing(bert, 'cleo', 'audio', 10);
    await cleo.call('leave');
    await heard(bert, 'ParticipantDisconnected', 'cleo');
    const back = await stage.join(room, 'cleo', { room: options });
    await back.call('publish', { video: false });
    await flowing(bert, 'cleo', 'audio', 10);
    await Promise.all([cleo.close(), back.close()]);
  });

  test('a second participant of the same name takes the place of the first, who is told why', async () => {
    const first = await stage.join(room, 'dora', { room: options });
    const second = await stage.join(room, 'dora', { room: options });
    await heard(first, 'Disconnected', DUPLICATE_IDENTITY);
    assert.equal(await second.call('state'), 'connected');
    await flowing(second, 'anna', 'audio', 10);
    await Promise.all([first.close(), second.close()]);
  });
});
