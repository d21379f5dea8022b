// The same checks in Node and in a browser: golden vectors of the native build, and the time a frame takes.

import { Codec, FRAME_SAMPLES, NOISE, PAUSE, SPEECH } from "../codec.js";

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** Runs everything; throws at the first thing that is wrong, answers figures. */
export async function run(module, golden) {
  const codec = await Codec.load(module);
  check(codec.modelId === parseInt(golden.model, 16), `model ${codec.modelId.toString(16)}, golden vectors of ${golden.model}`);
  const frames = golden.pcm.length / FRAME_SAMPLES;
  const frame = (n) => Float32Array.from(golden.pcm.slice(n * FRAME_SAMPLES, (n + 1) * FRAME_SAMPLES));

  const encoder = codec.encoder();
  let codes = 0, equal = 0;
  for (let n = 0; n < frames; n++) {
    const coded = encoder.encode(frame(n), 18);
    check(coded.kind === SPEECH, "without DTX every frame is speech");
    golden.codes[n].forEach((code, level) => { codes++; equal += coded.codes[level] === code; });
  }
  check(equal === codes, `${equal} of ${codes} codes equal`);

  const decoder = codec.decoder();
  let worst = 0;
  for (let n = 0; n < frames; n++) {
    const heard = decoder.decode(golden.codes[n].slice(0, 12));
    for (let k = 0; k < FRAME_SAMPLES; k++) {
      worst = Math.max(worst, Math.abs(heard[k] - golden.decoded_6kbps[n * FRAME_SAMPLES + k]));
    }
  }
  check(worst < 1e-4, `worst sample differs by ${worst}`);

  const concealer = codec.decoder();
  const lost = new Set(golden.lost);
  let concealed = 0;
  for (let n = 0; n < frames; n++) {
    const heard = lost.has(n) ? concealer.conceal() : concealer.decode(golden.codes[n].slice(0, 12));
    for (let k = 0; k < FRAME_SAMPLES; k++) {
      concealed = Math.max(concealed, Math.abs(heard[k] - golden.concealed_6kbps[n * FRAME_SAMPLES + k]));
    }
  }
  check(concealed < 1e-4, `worst concealed sample differs by ${concealed}`);

  const pausing = codec.encoder({ dtx: true });
  const kinds = Array.from({ length: 40 }, () => {
    const { kind, codes } = pausing.encode(new Float32Array(FRAME_SAMPLES), 12);
    if (kind === NOISE) check(decoder.decodeNoise(codes).every((s) => Math.abs(s) < 1), "noise is sound");
    return kind;
  });
  check(kinds[9] === SPEECH && kinds[10] === NOISE && kinds[11] === PAUSE, `pauses: ${kinds}`);

  for (const wrong of [() => decoder.decode([]), () => decoder.decode([1024]), () => decoder.decode(new Array(19).fill(0)),
    () => encoder.encode(new Float32Array(10), 12), () => encoder.encode(new Float32Array(320), 0)]) {
    let refused = false;
    try { wrong(); } catch { refused = true; }
    check(refused, `not refused: ${wrong}`);
  }
  pausing.free();

  const times = {};
  for (const beam of [1, 4, 8, 16]) {
    const encoder = codec.encoder({ beam }), decoder = codec.decoder();
    const encode = [], decode = [];
    for (let n = 0; n < 400; n++) {
      const sound = frame(n % frames);
      const begin = performance.now();
      const coded = encoder.encode(sound, 12).codes.slice();
      const between = performance.now();
      decoder.decode(coded);
      encode.push(between - begin);
      decode.push(performance.now() - between);
    }
    const median = (all) => all.slice(100).sort((a, b) => a - b)[150];
    times[`beam ${beam}`] = { encode_ms: +median(encode).toFixed(3), decode_ms: +median(decode).toFixed(3) };
    encoder.free();
    decoder.free();
  }
  return { codes, equal, worst, concealed, times };
}
