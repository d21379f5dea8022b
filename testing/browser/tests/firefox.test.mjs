// Firefox beside Chromium: it names its tracks otherwise in its descriptions.
import { after, before, describe, test } from 'node:test';
import { startBrowser } from '../harness/browser.mjs';
import { perceivesNothing, seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, SHAPES } from '../harness/stage.mjs';

/** Why Firefox can't be tried here; `false` where it starts. */
const skip = await startBrowser('firefox').then(
  (browser) => browser.close().then(() => false),
  (error) => `NOT TESTED: ${error.message}`,
);

let stage;
before(async () => { if (!skip) stage = await openStage({ browsers: ['firefox', 'chromium'] }); });
after(() => stage?.close());

for (const [shape, options] of Object.entries(SHAPES)) describe(`Firefox with ${shape}`, { skip }, () => {
  let fox;
  let room;
  const enter = async (name, browser) => {
    const who = await stage.join(room, name, { room: options, browser });
    await Promise.all([who.speak(), who.show()]);
    return who;
  };
  before(async () => {
    room = stage.room();
    fox = await enter('fox', 'firefox');
  });
  after(() => fox?.close());

  test('it and Chromium see and hear each other, and so does who comes after the first has left', async (t) => {
    for (const name of ['cora', 'carl']) {
      const other = await enter(name, 'chromium');
      t.diagnostic(`${name} sees and hears Firefox after ${await seesAndHears(other, fox)} ms`);
      t.diagnostic(`Firefox sees and hears ${name} after ${await seesAndHears(fox, other)} ms`);
      await other.call('leave');
      await heard(fox, 'ParticipantDisconnected', name);
      await other.close();
    }
  });

  test('what it publishes again, and what it unmutes, is seen and heard', async () => {
    const cora = await stage.join(room, 'cora', { room: options, browser: 'chromium' });
    await seesAndHears(cora, fox);
    for (const kind of ['audio', 'video']) await fox.call('unpublish', kind);
    await Promise.all([fox.speak({ muted: true }), fox.show({ muted: true })]);
    await perceivesNothing(cora, fox, 'audio', 500);
    await fox.switchOn();
    await seesAndHears(cora, fox);
    await cora.close();
  });

  test('what it unsubscribes and subscribes again is seen and heard', async () => {
    const cora = await enter('cora', 'chromium');
    await seesAndHears(fox, cora);
    for (const kind of ['audio', 'video']) {
      await fox.call('subscribe', 'cora', kind, false);
      await heard(fox, 'TrackUnsubscribed', `cora/${kind}`);
    }
    for (const kind of ['audio', 'video']) await fox.call('subscribe', 'cora', kind, true);
    await seesAndHears(fox, cora);
    await cora.close();
  });
});

test('two Firefoxes see and hear each other', { skip }, async () => {
  const room = stage.room();
  const [one, other] = await Promise.all(['fay', 'finn'].map((name) => stage.join(room, name)));
  await Promise.all([one, other].flatMap((who) => [who.speak(), who.show()]));
  await seesAndHears(one, other);
  await seesAndHears(other, one);
  await Promise.all([one.close(), other.close()]);
});
