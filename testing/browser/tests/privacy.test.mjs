// What is meant for some reaches nobody else.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DataPacket, UserPacket } from '@livekit/protocol';
import { hears, perceivesNothing, seesAndHears } from '../harness/senses.mjs';
import { heard, openStage, SHAPES, until } from '../harness/stage.mjs';

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

/** Words as SDKs from before the destinations moved out of the user packet write them. */
const oldPacket = (fields) => [...new DataPacket({ value: { case: 'user', value: new UserPacket(fields) } }).toBinary()];
const bytes = (text) => new TextEncoder().encode(text);

for (const [shape, options] of Object.entries(SHAPES)) describe(shape, () => {
  let room;
  let anna;
  let bert;
  let cleo;
  before(async () => {
    room = stage.room();
    [anna, bert, cleo] = await Promise.all(
      ['anna', 'bert', 'cleo'].map((name) => stage.join(room, name, { room: options })));
  });
  after(() => Promise.all([anna, bert, cleo].map((who) => who?.close())));

  /** Words to everybody, sent last on the same ordered channel: once they are there, nothing else is under way. */
  async function onlyBertGot(words) {
    await anna.call('say', `after ${words}`, 'chat');
    for (const who of [bert, cleo]) await heard(who, 'DataReceived', `anna/chat/after ${words}`);
    const got = async (who) => (await who.call('events')).filter(
      ({ event, detail }) => event === 'DataReceived' && detail.endsWith(`/${words}`)).map(({ detail }) => detail);
    assert.deepEqual(await got(bert), [`anna/chat/${words}`]);
    assert.deepEqual(await got(cleo), []);
  }

  test('words to one participant reach nobody else', async () => {
    await anna.call('say', 'for bert', 'chat', true, ['bert']);
    await onlyBertGot('for bert');
  });

  test('words of an older client to one participant, by identity or by sid, reach nobody else', async () => {
    await anna.call('sayBytes', oldPacket({ payload: bytes('by identity'), topic: 'chat', destinationIdentities: ['bert'] }));
    await onlyBertGot('by identity');
    const sid = await bert.call('sid');
    await anna.call('sayBytes', oldPacket({ payload: bytes('by sid'), topic: 'chat', destinationSids: [sid] }));
    await onlyBertGot('by sid');
  });

  test('nobody speaks in the name of another', async () => {
    await anna.call('sayBytes', oldPacket({
      payload: bytes('it is me'), topic: 'chat', participantIdentity: 'cleo', participantSid: await cleo.call('sid') }));
    await heard(bert, 'DataReceived', 'anna/chat/it is me');
    const { user } = (await bert.call('packets')).at(-1);
    assert.notEqual(user.participantIdentity, 'cleo');
    assert.notEqual(user.participantSid, await cleo.call('sid'));
  });

  test('who is hidden is named to nobody and offers no track, but hears', async () => {
    await anna.speak();
    await hears(bert, anna);
    const grant = { video: { roomJoin: true, room, hidden: true } };
    const spy = await stage.join(room, 'spy', { room: options, claims: grant });
    await hears(spy, anna);
    await spy.speak();
    const before = (await bert.call('packets')).length;
    await spy.call('say', 'psst', 'chat');
    const { answer } = await until('words of the hidden one', () => bert.call('packets'), (all) => all.length > before);
    const sid = await spy.call('sid');
    assert.ok(!JSON.stringify(answer.slice(before)).match(`spy|${sid}`), JSON.stringify(answer.at(-1)));
    assert.deepEqual((await bert.call('participants')).sort(), ['anna', 'cleo']);
    const tracks = await bert.call('events');
    assert.ok(!tracks.some(({ detail }) => String(detail).startsWith('spy')), JSON.stringify(tracks));
    await spy.close();
    await anna.call('unpublish', 'audio');
  });

  test('who is not allowed to gets neither picture nor sound until they are, whether they were there or came later', async () => {
    await anna.call('permit', false, [{ participantIdentity: 'bert', allowAll: true }]);
    await Promise.all([anna.speak(), anna.show()]);
    await seesAndHears(bert, anna);
    const dora = await stage.join(room, 'dora', { room: options });
    for (const who of [cleo, dora]) {
      await Promise.all(['audio', 'video'].map((what) => perceivesNothing(who, anna, what)));
      assert.ok(!(await who.call('publication', 'anna', 'audio'))?.hasTrack);
    }
    await anna.call('permit', false, [{ participantIdentity: 'cleo', allowAll: true }]);
    await seesAndHears(cleo, anna);
    await until('bert losing both', async () => [
      await bert.call('sense', 'anna', 'audio'), await bert.call('sense', 'anna', 'video')], (both) => both.every((one) => one === null));
    await anna.call('permit', true, []);
    for (const who of [bert, cleo, dora]) await seesAndHears(who, anna);
    await dora.close();
  });

  test('one track may be allowed without the other', async () => {
    const audio = await anna.call('trackSid', 'audio');
    await anna.call('permit', false, [{ participantIdentity: 'bert', allowedTrackSids: [audio] }]);
    await until('bert losing the picture', () => bert.call('sense', 'anna', 'video'), (seen) => seen === null);
    await hears(bert, anna);
    await perceivesNothing(bert, anna, 'video', 500);
  });
});
