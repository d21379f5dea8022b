// Everything a test file needs on stage: server, browser, page; and participants that step onto it.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBrowser } from './browser.mjs';
import { servePage } from './page.mjs';
import { startServer } from './server.mjs';
import { token } from './token.mjs';

/** How long anything may take before a test gives up: generous, because the machine may be busy with other things. */
const PATIENCE_MS = Number(process.env.AURALINK_PATIENCE_MS ?? 20_000);

/** How many peer connections a client has, by the option of livekit-client that says so. */
export const SHAPES = {
  'one peer connection each': { singlePeerConnection: true },
  'two peer connections each': { singlePeerConnection: false },
};

/** Asks until `done(answer)` holds; resolves to the answer and how long it took. */
export async function until(what, ask, done = Boolean) {
  const from = Date.now();
  for (;;) {
    const answer = await ask();
    if (done(answer)) return { answer, ms: Date.now() - from };
    if (Date.now() - from > PATIENCE_MS) {
      assert.fail(`${what} did not come true within ${PATIENCE_MS} ms; last seen: ${JSON.stringify(answer)}`);
    }
    await sleep(50);
  }
}

export async function openStage() {
  const server = await startServer();
  const [browser, page] = await Promise.all([startBrowser(), servePage()]);
  let rooms = 0;
  return {
    server,
    room: () => `room-${process.pid}-${++rooms}`,
    /** A page of its own, not yet in a room. */
    async newPage() {
      const tab = await browser.newPage();
      await tab.goto(page.url);
      return tab;
    },
    /** A participant: one page that joined. Every function of `page/participant.js` can be called by name. */
    async join(room, identity, options = {}) {
      const tab = await this.newPage();
      const who = participant(tab, identity);
      const joined = await who.call('join', server.url, token(room, identity), options);
      assert.ok(joined.ok, `${identity} could not join: ${JSON.stringify(joined)}\n${server.lines.slice(-20).join('\n')}`);
      return who;
    },
    async close() {
      await browser.close();
      await page.stop();
      return server.stop();
    },
  };
}

/** Calls functions of the page in the name of one participant. */
export function participant(tab, name) {
  const call = (method, ...rest) =>
    tab.evaluate(([method, rest]) => globalThis.aura[method](...rest), [method, [name, ...rest]]);
  return { tab, name, call, close: () => tab.close() };
}

/** Waits until a track is there and its media flows: a video frame decoded, or audio samples received. */
export function flowing(viewer, identity, kind, least = 1) {
  const enough = kind === 'video' ? (s) => s.framesDecoded >= least : (s) => s.packetsReceived >= least;
  return until(`${viewer.name} receiving ${least} of ${identity}/${kind}`, () => viewer.call('stats', identity, kind), enough);
}

/** Waits for an event that comes after `since` (a number of events seen before). */
export function heard(who, event, detail, since = 0) {
  return until(
    `${who.name} hearing ${event} ${detail ?? ''}`,
    () => who.call('events'),
    (events) => events.slice(since).some((e) => e.event === event && (detail === undefined || e.detail === detail)),
  );
}
