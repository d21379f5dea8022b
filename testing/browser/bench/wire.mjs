// node bench/wire.mjs chromium|firefox [modes|obeys]: what AIC saves people in that browser with one peer connection and with two, or what
// of an answer that browser obeys.
import { SHAPES } from '../harness/stage.mjs';
import { measureWire, table } from '../harness/wire.mjs';

const AMENDMENTS = {
  'b=TIAS:14000': { bandwidth: 'TIAS:14000' },
  'b=AS:14': { bandwidth: 'AS:14' },
  'maxaveragebitrate=14000': { parameters: { maxaveragebitrate: 14000 } },
  'maxplaybackrate=16000': { parameters: { maxplaybackrate: 16000 } },
  'maxplaybackrate=8000': { parameters: { maxplaybackrate: 8000 } },
  'a=ptime:60': { attributes: ['ptime:60', 'maxptime:120'] },
  'a=ptime:60, b=TIAS:14000': { attributes: ['ptime:60', 'maxptime:120'], bandwidth: 'TIAS:14000' },
  'a=ptime:120': { attributes: ['ptime:120', 'maxptime:120'] },
};
/** Calls at a time, baseline included. */
const AT_ONCE = 3;

const [browser = 'chromium', what = 'modes'] = process.argv.slice(2);
const say = (title, measured) => console.log(`${table(title, measured).join('\n')}\n`);

if (what === 'modes') {
  for (const [title, shape] of Object.entries(SHAPES)) {
    say(`${browser}, ${title}`, await measureWire({ browser, shape, seconds: 20 }));
  }
} else {
  const shape = Object.values(SHAPES)[0];
  const amended = Object.entries(AMENDMENTS).map(([name, amendment]) => ({
    name,
    mode: 'off',
    prepare: (who) => who.tab.evaluate(
      async (amendment) => (await import('/answers.js')).amendAnswers(amendment), amendment),
  }));
  const preset = { audioPreset: { maxBitrate: 14_000 } };
  amended.push({ name: 'the application publishes at 14 kbps', mode: 'off', publish: preset });
  while (amended.length) {
    const calls = [{ name: 'as the server writes it, AIC off', mode: 'off' }, ...amended.splice(0, AT_ONCE - 1)];
    say(`${browser}, answer`, await measureWire({ browser, shape, seconds: 20, calls }));
  }
}
