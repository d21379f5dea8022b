// A1, A2: people meet.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, SHAPES } from '../harness/stage.mjs';

// Wide enough for two layers.
const SIMULCAST = { scale: 4 };

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

for (const [shape, options] of Object.entries(SHAPES)) {
  test(`with ${shape} two browsers hear and see each other without loss, and a third who comes later sees both`, async (t) => {
    const room = stage.room();
    const anna = await stage.join(room, 'anna', { room: options });
    const bert = await stage.join(room, 'bert', { room: options });
    await Promise.all([anna, bert].flatMap((who) => [who.speak(), who.show(SIMULCAST)]));

    await t.test('each sees the other’s picture move and hears the other’s voice', async () => {
      for (const [viewer, other] of [[anna, bert], [bert, anna]]) {
        const ms = await seesAndHears(viewer, other);
        for (const kind of ['video', 'audio']) {
          assert.equal((await viewer.call('stats', other.name, kind)).packetsLost, 0, `${viewer.name} lost ${kind} packets`);
        }
        const { concealedSamples, totalSamplesReceived } = await viewer.call('stats', other.name, 'audio');
        const share = concealedSamples / totalSamplesReceived;
        assert.ok(share < 0.05, `${viewer.name} concealed ${(100 * share).toFixed(1)} % of the audio`);
        t.diagnostic(`${viewer.name}: ${other.name} there after ${ms} ms, ${(100 * share).toFixed(2)} % concealed`);
      }
    });

    await t.test('a third browser that joins later sees and hears both at once', async () => {
      const cleo = await stage.join(room, 'cleo', { room: options });
      for (const other of [anna, bert]) {
        t.diagnostic(`cleo: ${other.name} there after another ${await seesAndHears(cleo, other)} ms`);
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
    await Promise.all([anna.close(), bert.close()]);
  });
}

test('a browser with one peer connection and one with two hear and see each other and talk on data channels', async () => {
  const room = stage.room();
  const [one, two] = Object.values(SHAPES);
  const anna = await stage.join(room, 'anna', { room: one });
  const bert = await stage.join(room, 'bert', { room: two });
  await Promise.all([anna, bert].flatMap((who) => [who.speak(), who.show()]));
  for (const [viewer, other] of [[anna, bert], [bert, anna]]) {
    await seesAndHears(viewer, other);
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
