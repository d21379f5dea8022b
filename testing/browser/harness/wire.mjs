// What two people who talk in stock browsers cost on the wire, without AIC and in each of its modes, at the same time.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import assert from 'node:assert/strict';
import { startRelayedServer } from './relay.mjs';
import { openStage } from './stage.mjs';
import { token } from './token.mjs';

export const MODES = ['off', 'adaptive', 'aggressive'];
/** Utterances that each of the two says again and again. */
const UTTERANCES = 3;
/** Until the rung has been found and agreed. */
const SETTLE_SECONDS = 8;

const DATA = process.env.AURALINK_DATA ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));

/** Real speech; nothing where it isn't. */
export function speech() {
  try {
    return readdirSync(`${DATA}/speech/test`).filter((name) => name.endsWith('.flac')).sort()
      .map((name) => `${DATA}/speech/test/${name}`);
  } catch {
    return [];
  }
}

async function configure(server, room, identity, mode) {
  const response = await fetch(`${server.http}/api/v1/aic/config`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token(room, identity, server)}`, 'content-type': 'application/json' },
    body: JSON.stringify(mode === 'off' ? { enabled: false } : { enabled: true, mode }),
  });
  assert.ok(response.ok, `${mode}: ${response.status} ${await response.text()}`);
}

/** What passed on the sockets from the `from`th to before the `to`th. */
const sum = (traffic, from, to) => traffic.slice(from, to).reduce(
  (all, path) => ({ up: all.up + path.up, down: all.down + path.down, packetsUp: all.packetsUp + path.packetsUp }),
  { up: 0, down: 0, packetsUp: 0 },
);

/**
 * What one participant sends and receives in kilobits a second, and packets it sends: the mean of two who talk to each other.
 * Each of the `calls`, which all go on at the same time, has a name and a mode; its `prepare` may change the page before
 * anybody joins, `publish` says how they publish. The first one is what the others are compared with.
 */
export async function measureWire({ browser, shape, seconds = 12, calls = MODES.map((mode) => ({ name: mode, mode })) }) {
  const clips = speech();
  const files = Object.fromEntries(clips.map((path, at) => [`/speech/${at}.flac`, [path, 'audio/flac']]));
  const stage = await openStage({ browsers: [browser], startServer: startRelayedServer, files });
  try {
    const placed = [];
    for (const [number, { name, mode, prepare, publish = {} }] of calls.entries()) {
      const room = stage.room();
      const from = stage.server.traffic().length;
      for (const [n, identity] of [`ada-${number}`, `bob-${number}`].entries()) {
        await configure(stage.server, room, identity, mode);
        const who = await stage.join(room, identity, { room: shape, prepare });
        const urls = Array.from({ length: UTTERANCES }, (_, at) => `/speech/${(n * UTTERANCES + at) % clips.length}.flac`);
        await who.call('speakRecording', urls, publish);
      }
      placed.push({ name, from, to: stage.server.traffic().length });
    }
    await sleep(1000 * SETTLE_SECONDS);
    const before = stage.server.traffic();
    const start = performance.now();
    await sleep(1000 * seconds);
    const after = stage.server.traffic();
    const passed = (performance.now() - start) / 1000;
    return placed.map(({ name, from, to }) => {
      const [one, other] = [sum(before, from, to), sum(after, from, to)];
      const each = (what) => (other[what] - one[what]) / passed / 2;
      return { name, up: each('up') * 8e-3, down: each('down') * 8e-3, packetsUp: each('packetsUp') };
    });
  } finally {
    await stage.close();
  }
}

/** What is saved of the first call's bytes, as a share. */
export const saved = ([baseline], call, way) => 1 - call[way] / baseline[way];

/** The figures as a table. */
export function table(title, measured) {
  const percent = (call, way) => (100 * saved(measured, call, way)).toFixed(1);
  return [
    `| ${title} | wire up kbps | wire down kbps | packets/s up | saved up % | saved down % |`,
    '|---|---:|---:|---:|---:|---:|',
    ...measured.map((call) => `| ${call.name} | ${call.up.toFixed(1)} | ${call.down.toFixed(1)} | ${
      call.packetsUp.toFixed(1)} | ${percent(call, 'up')} | ${percent(call, 'down')} |`),
  ];
}
