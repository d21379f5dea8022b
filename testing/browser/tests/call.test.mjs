// A1, A2: people meet.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { flowing, heard, openStage, SHAPES } from '../harness/stage.mjs';

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

for (const [shape, options] of Object.entries(SHAPES)) {
  test(`with ${shape} two browsers hear and see each other without loss, and a third who comes later sees both`, async (t) => {
    const room = stage.room();
    const anna = await stage.join(room, 'anna', { room: options });
    const bert = await stage.join(room, 'bert', { room: options });
    await Promise.all([anna.call('publish'), bert.call('publish')]);

    await t.test('within a few seconds each has decoded the other’s camera and microphone', async () => {
      for (const [viewer, other] of [[anna, bert], [bert, anna]]) {
        const video = await flowing(viewer, other.name, 'video', 61);
        const audio = await flowing(viewer, other.name, 'audio', 100);
        const { packetsLost } = video.answer;
        assert.equal(packetsLost, 0, `${viewer.name} lost video packets`);
        assert.equal(audio.answer.packetsLost, 0, `${viewer.name} lost audio packets`);
        const heard = await viewer.call('stats', other.name, 'audio');
        const share = heard.concealedSamples / heard.totalSamplesReceived;
        assert.ok(share < 0.05, `${viewer.name} concealed ${(100 * share).toFixed(1)} % of the audio`);
        assert.ok(heard.totalAudioEnergy > 0, `${viewer.name} hears silence only`);
        t.diagnostic(`${viewer.name}: 60 frames after ${video.ms} ms, ${(100 * share).toFixed(2)} % concealed`);
      }
    });

    await t.test('a third browser that joins later sees both at once, by a keyframe it asked for', async () => {
      const cleo = await stage.join(room, 'cleo', { room: options });
      for (const other of ['anna', 'bert']) {
        const video = await flowing(cleo, other, 'video');
        const audio = await flowing(cleo, other, 'audio');
        t.diagnostic(`cleo: ${other}'s picture after another ${video.ms} ms, sound after ${audio.ms} ms`);
      }
      await cleo.call('leave');
      await heard(anna, 'ParticipantDisconnected', 'cleo');
      await cleo.close();
    });

    await t.test('words on both data channels reach the others with the name of who said them', async () => {
      for (const reliable of [true, false]) {
        await anna.call('say', `hello ${reliable}`, 'chat', reliable);
        await heard(bert, 'DataReceived', `anna/chat/hello ${reliable}`);
      }
    });

    await t.test('who unpublishes his camera is still heard', async () => {
      await anna.call('unpublish', 'video');
      await heard(bert, 'TrackUnsubscribed', 'anna/video');
      const { packetsReceived } = await bert.call('stats', 'anna', 'audio');
      await flowing(bert, 'anna', 'audio', packetsReceived + 25);
    });
    await Promise.all([anna.close(), bert.close()]);
  });
}

test('a browser with one peer connection and one with two hear and see each other and talk on data channels', async () => {
  const room = stage.room();
  const [one, two] = Object.values(SHAPES);
  const anna = await stage.join(room, 'anna', { room: one });
  const bert = await stage.join(room, 'bert', { room: two });
  await Promise.all([anna.call('publish'), bert.call('publish')]);
  for (const [viewer, other] of [[anna, bert], [bert, anna]]) {
    await flowing(viewer, other.name, 'video', 20);
    await flowing(viewer, other.name, 'audio', 50);
    await viewer.call('say', `hello from ${viewer.name}`, 'chat', true);
    await heard(other, 'DataReceived', `${viewer.name}/chat/hello from ${viewer.name}`);
  }
  await Promise.all([anna.close(), bert.close()]);
});

test('the server says goodbye and ends cleanly on SIGTERM', async () => {
  const own = await openStage();
  await own.join(own.room(), 'dora');
  const end = await own.close();
  assert.deepEqual(end, { code: 0, signal: null });
});
