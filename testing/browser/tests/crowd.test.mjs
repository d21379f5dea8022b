// A5: more tracks than the first offer has lines for.
import { after, before, test } from 'node:test';
import { flowing, heard, openStage, participant } from '../harness/stage.mjs';
import { token } from '../harness/token.mjs';
import assert from 'node:assert/strict';

const PUBLISHERS = 8;

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

test(`${PUBLISHERS} publishers of sound and picture all reach one who joined before them`, async () => {
  const room = stage.room();
  const viewer = await stage.join(room, 'viewer');
  const tab = await stage.newPage();
  const names = Array.from({ length: PUBLISHERS }, (_, n) => `publisher-${n}`);
  const publishers = names.map((name) => participant(tab, name));
  for (const who of publishers) {
    const joined = await who.call('join', stage.server.url, token(room, who.name), { connect: { autoSubscribe: false } });
    assert.ok(joined.ok, JSON.stringify(joined));
  }
  // All at once, so that the server must gather what it asks of the viewer.
  await Promise.all(publishers.map((who, n) => who.call('publishTiny', 300 + 50 * n)));
  for (const name of names) {
    await flowing(viewer, name, 'audio', 25);
    await flowing(viewer, name, 'video', 2);
  }
  // Lines are freed and used again.
  for (const who of publishers.slice(0, 4)) {
    await who.call('leave');
    await heard(viewer, 'ParticipantDisconnected', who.name);
  }
  const late = participant(tab, 'late');
  assert.ok((await late.call('join', stage.server.url, token(room, 'late'), { connect: { autoSubscribe: false } })).ok);
  await late.call('publishTiny', 800);
  await flowing(viewer, 'late', 'audio', 25);
  await flowing(viewer, 'late', 'video', 2);
});
