// The speech codec in a browser, a worklet or Node: 320 samples at 16 kHz in, codes out, and back.
//
//   const codec = await Codec.load(await WebAssembly.compileStreaming(fetch("codec.wasm")));
//   const encoder = codec.encoder(), decoder = codec.decoder();
//   const { kind, codes } = encoder.encode(samples, 12);        // 12 levels = 6 kbit/s
//   const heard = decoder.decode(codes);                         // Float32Array(320), valid until the next call

export const FRAME_SAMPLES = 320;
export const LEVELS_MAX = 18;
export const NOISE_CODES = 4;

/** What a frame is worth on the wire. */
export const SPEECH = "speech", NOISE = "noise", PAUSE = "pause";

const KINDS = [SPEECH, NOISE, PAUSE];
const ERRORS = {
  [-1]: "no such stream, or one of the other kind",
  [-2]: "codes: wrong number, or one out of range",
  [-3]: "the built-in model does not load",
  [-4]: "too many streams",
};

function checked(answer) {
  if (answer < 0) throw new RangeError(`aic: ${ERRORS[answer] ?? answer}`);
  return answer;
}

/** A module instance; streams of one instance share the model. */
export class Codec {
  #exports;

  constructor(exports) {
    this.#exports = exports;
    this.modelId = checked(exports.aic_model_id());
  }

  /** From a compiled module. Loading the model takes some tens of milliseconds. */
  static async load(module) {
    const instance = await WebAssembly.instantiate(module, {});
    return new Codec(instance.exports);
  }

  encoder({ beam = 16, dtx = false } = {}) {
    return new Encoder(this.#exports, checked(this.#exports.aic_encoder_new(beam, dtx ? 1 : 0)));
  }

  decoder() {
    return new Decoder(this.#exports, checked(this.#exports.aic_decoder_new()));
  }
}

class Stream {
  #pcm;
  #codes;

  constructor(exports, handle) {
    this.exports = exports;
    this.handle = handle;
    this.#pcm = exports.aic_pcm(handle);
    this.#codes = exports.aic_codes(handle);
  }

  // Made anew at each use: memory that grows takes its old views away.
  pcm() {
    return new Float32Array(this.exports.memory.buffer, this.#pcm, FRAME_SAMPLES);
  }

  codes(count) {
    return new Uint16Array(this.exports.memory.buffer, this.#codes, count);
  }

  /** Forgets the past. */
  reset() {
    checked(this.exports.aic_reset(this.handle));
  }

  /** Gives the stream back; it cannot be used afterwards. */
  free() {
    this.exports.aic_free(this.handle);
    this.handle = -1;
  }
}

class Encoder extends Stream {
  /** Codes 320 samples. `codes` is a view that is valid until the next call; empty in a pause. */
  encode(samples, levels) {
    if (samples.length !== FRAME_SAMPLES) throw new RangeError(`samples: ${samples.length}, expected ${FRAME_SAMPLES}`);
    this.pcm().set(samples);
    const kind = KINDS[checked(this.exports.aic_encode(this.handle, levels))];
    return { kind, codes: this.codes(kind === SPEECH ? levels : kind === NOISE ? NOISE_CODES : 0) };
  }
}

class Decoder extends Stream {
  /** Decodes any prefix of a frame's codes. The samples are a view that is valid until the next call. */
  decode(codes) {
    return this.#take(codes, 0);
  }

  /** Begins or refreshes a pause; `conceal` goes on with its noise. */
  decodeNoise(codes) {
    return this.#take(codes, 1);
  }

  /** Stands in for a frame that did not come. */
  conceal() {
    checked(this.exports.aic_conceal(this.handle));
    return this.pcm();
  }

  #take(codes, noise) {
    if (codes.length > LEVELS_MAX) throw new RangeError(`codes: ${codes.length}, expected 1 to ${LEVELS_MAX}`);
    this.codes(codes.length).set(codes);
    checked(this.exports.aic_decode(this.handle, codes.length, noise));
    return this.pcm();
  }
}
