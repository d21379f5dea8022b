// Everything a test file needs on stage: server, browsers, page; and participants that step onto it.
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

/** Colours that no codec takes for one another, and tones that stand apart. */
const COLOURS = [[210, 40, 40], [40, 150, 50], [50, 70, 210], [210, 190, 40], [180, 50, 170], [40, 170, 180]];
const LOWEST_HZ = 400;
const STEP_HZ = 60;

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

/** Starts a server and the browsers named; the first of them is where participants are who ask for none. */
export async function openStage({ browsers = ['chromium'], startServer: start = startServer, files = {} } = {}) {
  const server = await start();
  const page = await servePage(files);
  const started = new Map();
  for (const name of browsers) started.set(name, await startBrowser(name));
  let rooms = 0;
  let people = 0;
  return {
    server,
    room: () => `room-${process.pid}-${++rooms}`,
    /** A page of its own, not yet in a room. */
    async newPage(browser = browsers[0]) {
      // A context of its own has a window of its own, whose pictures are painted whatever else is open.
      const context = await started.get(browser).createBrowserContext();
      const tab = await context.newPage();
      await tab.goto(page.url);
      return tab;
    },
    /** A participant: one page that joined. Every function of `page/participant.js` can be called by name. */
    async join(room, identity, { browser, claims, prepare, ...options } = {}) {
      const who = participant(await this.newPage(browser), identity, people++);
      await prepare?.(who);
      const pass = token(room, identity, { claims, secret: server.secret });
      const joined = await who.call('join', server.url, pass, options);
      assert.ok(joined.ok, `${identity} could not join: ${JSON.stringify(joined)}\n${server.lines.slice(-20).join('\n')}`);
      return who;
    },
    async close() {
      for (const browser of started.values()) await browser.close();
      await page.stop();
      return server.stop();
    },
  };
}

/** Calls functions of the page in the name of one participant, the `number`th who speaks and shows something. */
export function participant(tab, name, number = 0) {
  const call = (method, ...rest) =>
    tab.evaluate((method, rest) => globalThis.aura[method](...rest), method, [name, ...rest]);
  const hz = LOWEST_HZ + STEP_HZ * number;
  const colour = COLOURS[number % COLOURS.length];
  return {
    tab,
    name,
    call,
    hz,
    colour,
    speak: (options = {}) => call('speak', hz, options),
    show: (options = {}) => call('show', colour, options),
    switchOn: () => Promise.all([call('switchOn', 'audio', hz), call('switchOn', 'video', colour)]),
    close: () => tab.browserContext().close(),
  };
}

/** Waits for an event that comes after `since` (a number of events seen before). */
export function heard(who, event, detail, since = 0) {
  return until(
    `${who.name} hearing ${event} ${detail ?? ''}`,
    () => who.call('events'),
    (events) => events.slice(since).some((e) => e.event === event && (detail === undefined || e.detail === detail)),
  );
}
