// Voices and pictures by which a test knows whom it hears and sees.
const WIDTH = 160;
const HEIGHT = 120;
const FRAMES_A_SECOND = 10;
const NOTICED_MS = 5000;

let context;
/** The one audio context of this page. */
export const audioContext = () => (context ??= new AudioContext());

/** A tone that swells and fades three times a second: no codec takes it for noise or for a pause. */
export async function tone(hz) {
  const audio = audioContext();
  const voice = new OscillatorNode(audio, { frequency: hz });
  const swell = new OscillatorNode(audio, { frequency: 3 });
  const depth = new GainNode(audio, { gain: 0.2 });
  const level = new GainNode(audio, { gain: 0.3 });
  swell.connect(depth).connect(level.gain);
  const sink = monoSink();
  voice.connect(level).connect(sink);
  voice.start();
  swell.start();
  return ofOneChannel(sink);
}

/** Recordings of one channel, one after the other, again and again. */
export async function recording(urls) {
  const audio = audioContext();
  const parts = await Promise.all(
    urls.map(async (url) => audio.decodeAudioData(await (await fetch(url)).arrayBuffer())));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const buffer = new AudioBuffer({ length, sampleRate: audio.sampleRate });
  let at = 0;
  for (const part of parts) {
    buffer.copyToChannel(part.getChannelData(0), 0, at);
    at += part.length;
  }
  const sink = monoSink();
  const source = new AudioBufferSourceNode(audio, { buffer, loop: true });
  source.connect(sink);
  source.start();
  return ofOneChannel(sink);
}

const monoSink = () =>
  new MediaStreamAudioDestinationNode(audioContext(), { channelCount: 1, channelCountMode: 'explicit' });

/** The sink's track, once the browser has noticed that it has one channel: with two it would be published as music. */
async function ofOneChannel(sink) {
  const [track] = sink.stream.getAudioTracks();
  const from = performance.now();
  while (track.getSettings().channelCount > 1) {
    if (performance.now() - from > NOTICED_MS) throw new Error('the track keeps two channels');
    await new Promise((done) => { setTimeout(done, 20); });
  }
  return track;
}

/** A field of one colour with a white bar that wanders across its lower half. */
export function picture([red, green, blue], { scale = 1, fps = FRAMES_A_SECOND } = {}) {
  const canvas = Object.assign(document.createElement('canvas'), { width: WIDTH * scale, height: HEIGHT * scale });
  const { width, height } = canvas;
  const paint = canvas.getContext('2d');
  let at = 0;
  setInterval(() => {
    paint.fillStyle = `rgb(${red} ${green} ${blue})`;
    paint.fillRect(0, 0, width, height);
    paint.fillStyle = 'white';
    at = (at + 0.07) % 1;
    paint.fillRect(at * width, height * 0.6, width / 8, height * 0.4);
  }, 1000 / fps);
  return canvas.captureStream(fps).getVideoTracks()[0];
}
