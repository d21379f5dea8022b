// A viewer who asks for fewer pictures a second is shown so many, and none of them is broken.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { sees } from '../harness/senses.mjs';
import { openStage } from '../harness/stage.mjs';

const FPS = 30;
const SETTLE_MS = 1500;
const WATCH_MS = 3000;
/** A window cuts a picture in two at each end. */
const EDGES = (2 * 1000) / WATCH_MS;

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

/** Pictures shown a second, while each of them is looked at. */
async function pace(viewer, publisher) {
  await sleep(SETTLE_MS);
  const [from, before] = [performance.now(), await viewer.call('shown', publisher.name, 'video')];
  while (performance.now() - from < WATCH_MS) await sees(viewer, publisher);
  const pictures = (await viewer.call('shown', publisher.name, 'video')) - before;
  return (pictures * 1000) / (performance.now() - from);
}

describe('a viewer of one camera', () => {
  for (const [scalabilityMode, wishes] of [['L1T3', [15, 8, 30, 8, 30]], ['L1T2', [15, 30]]]) {
    test(`is shown as many pictures of ${scalabilityMode} as they ask for: ${wishes.join(', ')}`, async (t) => {
      const room = stage.room();
      const anna = await stage.join(room, 'anna');
      await anna.show({ fps: FPS, scalabilityMode, simulcast: false });
      const bert = await stage.join(room, 'bert');
      await sees(bert, anna);
      const full = await pace(bert, anna);
      const before = await bert.call('stats', 'anna', 'video');
      for (const fps of wishes) {
        await bert.call('wish', 'anna', 'video', { fps });
        const seen = await pace(bert, anna);
        t.diagnostic(`${fps} asked for: ${seen.toFixed(1)} of ${full.toFixed(1)} a second`);
        assert.ok(seen <= fps * 1.05 + EDGES, `${seen} a second, ${fps} were asked for`);
        assert.ok(seen > (Math.min(fps, full) * 2) / 3, `${seen} a second, ${fps} were asked for`);
      }
      const after = await bert.call('stats', 'anna', 'video');
      const grown = (field) => after[field] - before[field];
      for (const field of ['packetsLost', 'nackCount', 'pliCount', 'freezeCount']) {
        assert.equal(grown(field), 0, field);
      }
      await Promise.all([anna.close(), bert.close()]);
    });
  }
});
