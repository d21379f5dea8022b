// Judges what a participant really sees and hears. Statistics don't count: they are right while a tile is black.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './stage.mjs';

/** How often the right thing must be perceived, one after the other, before it counts. */
const TIMES = 3;
const FAR_HZ = 12;
const FAR_COLOUR = 60;
const QUIET_DBFS = -60;

const apart = (one, other) => Math.hypot(...one.map((value, channel) => value - other[channel]));

/** Waits until the viewer's screen shows moving pictures on the publisher's own colour. */
export async function sees(viewer, publisher, { source = 'video', colour = publisher.colour } = {}) {
  const prints = new Set();
  const { ms } = await until(
    `${viewer.name} seeing ${publisher.name}'s ${source} move on ${colour}`,
    async () => {
      const seen = await viewer.call('sense', publisher.name, source);
      const right = seen && apart(seen.colour, colour) < FAR_COLOUR;
      if (right) prints.add(seen.print);
      else prints.clear();
      return { seen, pictures: prints.size };
    },
    ({ pictures }) => pictures >= TIMES,
  );
  return ms;
}

/** Whether this is that tone. */
const isVoice = (sensed, hz) => Boolean(sensed) && sensed.level > QUIET_DBFS && Math.abs(sensed.hz - hz) < FAR_HZ;

/** Waits until the viewer's loudspeaker plays the publisher's own tone. */
export async function hears(viewer, publisher) {
  let times = 0;
  const { ms } = await until(
    `${viewer.name} hearing ${publisher.name}'s ${publisher.hz} Hz`,
    async () => {
      const sensed = await viewer.call('sense', publisher.name, 'audio');
      times = isVoice(sensed, publisher.hz) ? times + 1 : 0;
      return { sensed, times };
    },
    ({ times }) => times >= TIMES,
  );
  return ms;
}

/** Waits until each of the publishers was heard, in whatever order. */
export async function hearsAll(viewer, publishers) {
  const missing = new Map(publishers.map(({ name, hz }) => [name, hz]));
  const { ms } = await until(
    `${viewer.name} hearing all ${publishers.length}`,
    async () => {
      const sensed = await viewer.call('hearAll');
      for (const [name, hz] of missing) if (isVoice(sensed[name], hz)) missing.delete(name);
      return [...missing.keys()];
    },
    (names) => names.length === 0,
  );
  return ms;
}

/** Both; the longer of the two waits. */
export async function seesAndHears(viewer, publisher) {
  return Math.max(...(await Promise.all([sees(viewer, publisher), hears(viewer, publisher)])));
}

/** Holds only if for so long nothing of it was perceived. */
export async function perceivesNothing(viewer, publisher, what, forMs = 1500) {
  for (const from = Date.now(); Date.now() - from < forMs; await sleep(100)) {
    const sensed = await viewer.call('sense', publisher.name, what);
    const nothing = sensed === null || (what === 'audio' && sensed.level <= QUIET_DBFS);
    assert.ok(nothing, `${viewer.name} perceives ${publisher.name}'s ${what}: ${JSON.stringify(sensed)}`);
  }
}
