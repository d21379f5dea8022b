// A4: who may not come in is told why.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openStage, participant } from '../harness/stage.mjs';
import { token } from '../harness/token.mjs';

const NOT_ALLOWED = 0; // ConnectionErrorReason.NotAllowed
const PAST = Math.floor(Date.now() / 1000) - 3600;

let stage;
let tab;
before(async () => {
  stage = await openStage();
  tab = await stage.newPage();
});
after(() => stage?.close());

const REFUSED = {
  'a token signed with another secret': { secret: 'not the secret' },
  'a token of an unknown key': { key: 'nobody' },
  'an expired token': { claims: { nbf: PAST - 60, exp: PAST } },
  'a token without the right to join': { claims: { video: { room: 'r' } } },
  'an unsigned token that says alg none': { header: { alg: 'none' }, signature: '' },
  'a signed token that says alg none': { header: { alg: 'none' } },
  'a token that says RS256': { header: { alg: 'RS256' } },
};

for (const [what, change] of Object.entries(REFUSED)) {
  test(`${what} is refused with the server’s own words`, async (t) => {
    const broken = token('r', 'eve', change);
    const words = await fetch(`${stage.server.http}/rtc/v1/validate?access_token=${broken}`);
    assert.equal(words.status, 401);
    assert.equal(words.headers.get('access-control-allow-origin'), '*');
    const text = await words.text();
    assert.ok(text.length > 0);

    const refused = await participant(tab, 'eve').call('join', stage.server.url, broken, { connect: { maxRetries: 0 } });
    assert.equal(refused.ok, false);
    assert.equal(refused.errorName, 'ConnectionError');
    assert.equal(refused.reason, NOT_ALLOWED, JSON.stringify(refused));
    assert.ok(refused.message.includes(text.trim()), `“${refused.message}” does not carry “${text}”`);
    t.diagnostic(refused.message);
  });
}

test('a good token is found valid', async () => {
  const answer = await fetch(`${stage.server.http}/rtc/v1/validate?access_token=${token('r', 'anna')}`);
  assert.equal(answer.status, 200);
});
