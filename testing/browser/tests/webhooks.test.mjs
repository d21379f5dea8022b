// LiveKit's own server SDK verifies and reads our webhooks.
import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebhookReceiver } from 'livekit-server-sdk';
import { KEY, SECRET, startServer } from '../harness/server.mjs';
import { token } from '../harness/token.mjs';

const WAIT_MS = 20_000;
// Node 18 has it, but not where the SDK looks for it.
globalThis.crypto ??= webcrypto;

let server;
let receiver;
const requests = [];

before(async () => {
  server = await startServer();
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => {
      // The first attempt of all fails: the server has to come again.
      requests.push({ body, headers: request.headers, refused: requests.length === 0 });
      response.writeHead(requests.length === 1 ? 503 : 200).end();
    });
  });
  await new Promise((done) => receiver.listen(0, '127.0.0.1', done));
});

after(async () => {
  receiver?.close();
  receiver?.closeAllConnections();
  await server?.stop();
});

async function post(path, token, body) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const response = await fetch(`${server.http}/api/v1/aic/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${path}: ${response.status} ${await response.text()}`);
}

test('its WebhookReceiver accepts what arrives after a failure, and refuses it changed or signed by another', async () => {
  await post('webhooks', token('room', 'boss', { claims: { video: { roomAdmin: true } } }), { url: `http://127.0.0.1:${receiver.address().port}/` });
  await post('config', token('room', 'ada'), { enabled: true });
  for (const from = Date.now(); !requests.some(({ refused }) => !refused); await sleep(50)) {
    assert.ok(Date.now() - from < WAIT_MS, `no second attempt after ${requests.length}`);
  }
  const [first, second] = requests;
  assert.equal(JSON.parse(first.body).id, JSON.parse(second.body).id);
  assert.equal(second.headers['content-type'], 'application/webhook+json');
  const livekit = new WebhookReceiver(KEY, SECRET);
  const event = await livekit.receive(second.body, second.headers.authorization);
  assert.equal(event.event, 'aic.config.updated');
  assert.ok(Math.abs(Number(event.createdAt) - Date.now() / 1000) < 60);
  await assert.rejects(livekit.receive(second.body.replace('ada', 'eve'), second.headers.authorization));
  await assert.rejects(new WebhookReceiver(KEY, 'another secret').receive(second.body, second.headers.authorization));
});
