// A5: more tracks than the first offer has lines for.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, participant } from '../harness/stage.mjs';
import { token } from '../harness/token.mjs';

const PUBLISHERS = 8;

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

test(`${PUBLISHERS} publishers of sound and picture all reach one who joined before them`, async () => {
  const room = stage.room();
  const viewer = await stage.join(room, 'viewer');
  const tab = await stage.newPage();
  const enter = async (name, number) => {
    const who = participant(tab, name, number);
    const joined = await who.call('join', stage.server.url, token(room, name), { connect: { autoSubscribe: false } });
    assert.ok(joined.ok, JSON.stringify(joined));
    return who;
  };
  const publishers = [];
  for (let n = 0; n < PUBLISHERS; n++) publishers.push(await enter(`publisher-${n}`, n));
  // All at once, so that the server must gather what it asks of the viewer.
  await Promise.all(publishers.flatMap((who) => [who.speak(), who.show()]));
  for (const who of publishers) await seesAndHears(viewer, who);
  // Lines are freed and used again.
  for (const who of publishers.slice(0, 4)) {
    await who.call('leave');
    await heard(viewer, 'ParticipantDisconnected', who.name);
  }
  const late = await enter('late', PUBLISHERS);
  await Promise.all([late.speak(), late.show()]);
  for (const who of [late, ...publishers.slice(4)]) await seesAndHears(viewer, who);
  await Promise.all([viewer.close(), tab.browserContext().close()]);
});
