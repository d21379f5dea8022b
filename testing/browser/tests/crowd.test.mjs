// A5: more tracks than the first offer has lines for, and rooms as large as a class.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hearsAll, seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, participant } from '../harness/stage.mjs';
import { token } from '../harness/token.mjs';

const PUBLISHERS = 8;
/** Talkers in a room that grows. */
const CROWDS = [30, 40];

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

/** One of many who publish from the same page and listen to nobody. */
async function enter(tab, room, name, number) {
  const who = participant(tab, name, number);
  const joined = await who.call('join', stage.server.url, token(room, name), { connect: { autoSubscribe: false } });
  assert.ok(joined.ok, `${name}: ${JSON.stringify(joined)}`);
  return who;
}

test(`${PUBLISHERS} publishers of sound and picture all reach one who joined before them`, async () => {
  const room = stage.room();
  const viewer = await stage.join(room, 'viewer');
  const tab = await stage.newPage();
  const publishers = [];
  for (let n = 0; n < PUBLISHERS; n++) publishers.push(await enter(tab, room, `publisher-${n}`, n));
  // All at once, so that the server must gather what it asks of the viewer.
  await Promise.all(publishers.flatMap((who) => [who.speak(), who.show()]));
  for (const who of publishers) await seesAndHears(viewer, who);
  // Lines are freed and used again.
  for (const who of publishers.slice(0, 4)) {
    await who.call('leave');
    await heard(viewer, 'ParticipantDisconnected', who.name);
  }
  const late = await enter(tab, room, 'late', PUBLISHERS);
  await Promise.all([late.speak(), late.show()]);
  for (const who of [late, ...publishers.slice(4)]) await seesAndHears(viewer, who);
  await Promise.all([viewer.close(), tab.browserContext().close()]);
});

test(`in a room that grows to ${CROWDS.join(' and ')} talkers who was there first and who comes last hear every voice`, async (t) => {
  const room = stage.room();
  const first = await stage.join(room, 'first');
  const tab = await stage.newPage();
  const talkers = [];
  for (const size of CROWDS) {
    const from = Date.now();
    while (talkers.length < size) {
      const talker = await enter(tab, room, `talker-${talkers.length}`, talkers.length);
      await talker.speak();
      talkers.push(talker);
    }
    const joined = Date.now() - from;
    t.diagnostic(`${size} talkers are in after ${joined} ms, all heard after another ${await hearsAll(first, talkers)} ms`);
  }
  const last = await stage.join(room, 'last');
  t.diagnostic(`who comes last hears all of them after ${await hearsAll(last, talkers)} ms`);
  await Promise.all([first.close(), last.close(), tab.browserContext().close()]);
});
