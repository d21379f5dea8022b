// A7: the check that livekit-client brings along for its users.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openStage } from '../harness/stage.mjs';
import { token } from '../harness/token.mjs';

let stage;
before(async () => { stage = await openStage(); });
after(() => stage?.close());

for (const part of ['checkWebsocket', 'checkWebRTC', 'checkPublishAudio', 'checkPublishVideo']) {
  test(`the SDK’s own ${part} succeeds`, async (t) => {
    const tab = await stage.newPage();
    const pass = token(stage.room(), 'checker');
    const info = await tab.evaluate(
      (...words) => globalThis.aura.check(...words), stage.server.url, pass, part);
    info.logs.forEach((line) => t.diagnostic(line));
    assert.equal(info.status, 'SUCCESS', info.logs.join('\n'));
    await tab.close();
  });
}
