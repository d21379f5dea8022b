// A line of a call that carried one track carries another one afterwards: it must be seen and heard.
import { after, before, describe, test } from 'node:test';
import { perceivesNothing, sees, seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, SHAPES, until } from '../harness/stage.mjs';

const ROUNDS = 3;
const SCREENS = [[230, 120, 20], [120, 230, 200]];

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

for (const [shape, options] of Object.entries(SHAPES)) describe(shape, () => {
  let anna;
  let bert;
  let room;
  const enter = async (name) => {
    const who = await stage.join(room, name, { room: options });
    await Promise.all([who.speak(), who.show()]);
    return who;
  };
  before(async () => {
    room = stage.room();
    anna = await enter('anna');
    bert = await enter('bert');
    await seesAndHears(anna, bert);
  });
  after(() => Promise.all([anna?.close(), bert?.close()]));

  test(`who comes after somebody has left is seen and heard, ${ROUNDS} times`, async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const guest = await enter(`guest-${round}`);
      const ms = await seesAndHears(anna, guest);
      await seesAndHears(bert, guest);
      await guest.call('leave');
      await heard(anna, 'ParticipantDisconnected', guest.name);
      await guest.close();
      t.diagnostic(`${guest.name} there after ${ms} ms`);
    }
  });

  test(`who is unsubscribed and subscribed again is seen and heard, ${ROUNDS} times`, async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of ['audio', 'video']) {
        const before = (await bert.call('events')).length;
        await bert.call('subscribe', 'anna', kind, false);
        await heard(bert, 'TrackUnsubscribed', `anna/${kind}`, before);
        await bert.call('subscribe', 'anna', kind, true);
        await heard(bert, 'TrackSubscribed', `anna/${kind}`, before);
      }
      t.diagnostic(`anna there again after ${await seesAndHears(bert, anna)} ms`);
    }
  });

  test(`who unpublishes and publishes again is seen and heard, ${ROUNDS} times`, async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const before = (await bert.call('events')).length;
      for (const kind of ['audio', 'video']) {
        await anna.call('unpublish', kind);
        await heard(bert, 'TrackUnsubscribed', `anna/${kind}`, before);
      }
      await Promise.all([anna.speak(), anna.show()]);
      t.diagnostic(`anna there again after ${await seesAndHears(bert, anna)} ms`);
    }
  });

  test(`each of several screen shares is seen, and the camera beside it all the while, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const colour = SCREENS[round % SCREENS.length];
      const before = (await bert.call('events')).length;
      await anna.call('show', colour, { source: 'screen_share' });
      await sees(bert, anna, { source: 'screen_share', colour });
      await sees(bert, anna);
      await anna.call('unpublish', 'screen_share');
      await heard(bert, 'TrackUnsubscribed', 'anna/video', before);
    }
  });

  test('what is published muted is seen and heard once it is unmuted, by those who were there and by who came later', async () => {
    const dora = await stage.join(room, 'dora', { room: options });
    await Promise.all([dora.speak({ muted: true }), dora.show({ muted: true })]);
    for (const kind of ['audio', 'video']) {
      await until(`bert knowing dora's muted ${kind}`, () => bert.call('publication', 'dora', kind), (known) => known?.muted);
    }
    const emil = await stage.join(room, 'emil', { room: options });
    await perceivesNothing(bert, dora, 'audio', 500);
    await dora.switchOn();
    for (const viewer of [bert, emil]) await seesAndHears(viewer, dora);
    await Promise.all([dora.close(), emil.close()]);
  });

  test(`who is muted and unmuted again is seen and heard, ${ROUNDS} times`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of ['audio', 'video']) {
        const before = (await bert.call('events')).length;
        await anna.call('mute', kind, true);
        await heard(bert, 'TrackMuted', `anna/${kind}`, before);
        await anna.call('mute', kind, false);
        await heard(bert, 'TrackUnmuted', `anna/${kind}`, before);
      }
      await seesAndHears(bert, anna);
    }
  });
});
