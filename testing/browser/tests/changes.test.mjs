// A3: people change their minds, and connections break.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { hears, seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, SHAPES } from '../harness/stage.mjs';

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
    await Promise.all([anna.speak(), anna.show()]);
    bert = await stage.join(room, 'bert', { room: options });
    await seesAndHears(bert, anna);
  });
  after(() => Promise.all([anna?.close(), bert?.close()]));

  test('a signalling socket that breaks is mended without anybody leaving and media goes on', async (t) => {
    const seen = (await bert.call('events')).length;
    await bert.call('simulate', 'signal-reconnect');
    const { ms } = await heard(bert, 'SignalReconnecting', undefined, seen);
    await heard(bert, 'Reconnected', undefined, seen);
    await seesAndHears(bert, anna);
    const since = (await bert.call('events')).slice(seen).map((e) => e.event);
    assert.ok(!since.includes('Disconnected'), since.join(' '));
    assert.ok(!(await anna.call('events')).some((e) => e.event === 'ParticipantDisconnected' && e.detail === 'bert'));
    t.diagnostic(`noticed after ${ms} ms`);
  });

  test('who leaves and comes back under the same name is heard again', async () => {
    const cleo = await stage.join(room, 'cleo', { room: options });
    await cleo.speak();
    await hears(bert, cleo);
    await cleo.call('leave');
    await heard(bert, 'ParticipantDisconnected', 'cleo');
    const back = await stage.join(room, 'cleo', { room: options });
    await back.speak();
    await hears(bert, back);
    await Promise.all([cleo.close(), back.close()]);
  });

  test('a second participant of the same name takes the place of the first, who is told why', async () => {
    const first = await stage.join(room, 'dora', { room: options });
    const second = await stage.join(room, 'dora', { room: options });
    await heard(first, 'Disconnected', DUPLICATE_IDENTITY);
    assert.equal(await second.call('state'), 'connected');
    await hears(second, anna);
    await Promise.all([first.close(), second.close()]);
  });
});
