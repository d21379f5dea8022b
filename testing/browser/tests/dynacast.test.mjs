// A camera sends what somebody wants of it, and nothing else.
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { sees } from '../harness/senses.mjs';
import { SHAPES, openStage, until } from '../harness/stage.mjs';

const WATCH_MS = 500;
/** Layers that the SDK makes of a picture of that size, once the encoder dares. */
const ALL = 'hq';

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

/** Layers of which packets leave. */
async function layers(publisher) {
  const before = await publisher.call('sent', 'video');
  await sleep(WATCH_MS);
  const now = await publisher.call('sent', 'video');
  return Object.keys(now).filter((rid) => now[rid] > (before[rid] ?? 0)).sort().join('');
}

const sends = (publisher, rids) => until(`${publisher.name} sending '${rids}'`, () => layers(publisher), (seen) => seen === rids);

describe('a camera with dynacast', () => {
  for (const [shape, room] of Object.entries(SHAPES)) {
    test(`sends no layer that nobody wants, and each at once that somebody does: ${shape}`, async (t) => {
      const name = stage.room();
      const anna = await stage.join(name, 'anna', { room: { ...room, dynacast: true } });
      await anna.show({ scale: 4, fps: 15, simulcast: true });
      const bert = await stage.join(name, 'bert', { room });
      await sees(bert, anna);
      await sends(anna, ALL);
      await bert.call('wish', 'anna', 'video', { quality: 'LOW' });
      const low = await sends(anna, 'q');
      await bert.call('subscribe', 'anna', 'video', false);
      const nothing = await sends(anna, '');
      await bert.call('subscribe', 'anna', 'video', true);
      const again = await sees(bert, anna);
      await bert.call('wish', 'anna', 'video', { quality: 'HIGH' });
      const full = await sends(anna, ALL);
      await sees(bert, anna);
      t.diagnostic(`of ${ALL} only q after ${low.ms} ms, nothing after ${nothing.ms} ms; seen again after ${again} ms, all again after ${full.ms} ms`);
      await Promise.all([anna.close(), bert.close()]);
    });
  }
});
