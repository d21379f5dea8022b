// 12b: what AIC saves two people in stock browsers, counted at a relay: IP, UDP, SRTP, RTCP, everything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SHAPES } from '../harness/stage.mjs';
import { measureWire, saved, speech, table } from '../harness/wire.mjs';

const GOALS = { adaptive: 0.8, aggressive: 0.86 };
const skip = speech().length === 0 && 'NOT TESTED: no speech here; set AURALINK_DATA';

test('two people in stock Chromium save at least 80 % of their wire both ways in adaptive mode, 86 % in aggressive', { skip }, async (t) => {
  const shape = SHAPES['one peer connection each'];
  const measured = await measureWire({ browser: 'chromium', shape });
  table('Chromium', measured).forEach((line) => t.diagnostic(line));
  for (const [mode, goal] of Object.entries(GOALS)) {
    const call = measured.find(({ name }) => name === mode);
    for (const way of ['up', 'down']) {
      const share = saved(measured, call, way);
      assert.ok(share >= goal, `${mode} saves ${(100 * share).toFixed(1)} % ${way}, not ${100 * goal}`);
    }
  }
});
