// What a person at this page gets: the picture that an element shows, the sound that it plays.
import { audioContext } from './sources.js';

const WINDOW = 8192;
const WIDTH = 32;
const HEIGHT = 24;

/** An element that plays the track, and how it is looked at or listened to. */
export function perceive(track) {
  const element = track.attach();
  element.playsInline = true;
  document.body.append(element);
  const sense = track.kind === 'audio' ? listenTo(element) : lookAt(element);
  return {
    sense,
    stop() {
      sense.stop?.();
      track.detach(element);
      element.remove();
    },
  };
}

/** Gives the strongest tone of the last sixth of a second and its level in dBFS, or nothing while the element doesn't play. */
function listenTo(element) {
  const audio = audioContext();
  const ear = new AnalyserNode(audio, { fftSize: WINDOW, smoothingTimeConstant: 0 });
  const stream = new MediaStreamAudioSourceNode(audio, { mediaStream: element.srcObject });
  stream.connect(ear);
  const spectrum = new Float32Array(ear.frequencyBinCount);
  const sense = () => {
    if (element.paused || element.muted) return null;
    ear.getFloatFrequencyData(spectrum);
    let peak = 0;
    for (let bin = 1; bin < spectrum.length; bin++) if (spectrum[bin] > spectrum[peak]) peak = bin;
    return { hz: (peak * audio.sampleRate) / WINDOW, level: Math.max(spectrum[peak], -200) };
  };
  sense.stop = () => stream.disconnect();
  return sense;
}

/**
 * Gives the colour of the shown picture's upper half and a print of its lower half, or nothing before the first picture; and
 * how many pictures were shown.
 */
function lookAt(element) {
  const canvas = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT });
  const paint = canvas.getContext('2d', { willReadFrequently: true });
  let shown = 0;
  const count = (_, { presentedFrames }) => {
    shown = presentedFrames;
    element.requestVideoFrameCallback(count);
  };
  element.requestVideoFrameCallback(count);
  const sense = () => {
    if (element.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
    paint.drawImage(element, 0, 0, WIDTH, HEIGHT);
    const upper = paint.getImageData(0, 1, WIDTH, HEIGHT / 2 - 2).data;
    const colour = [0, 1, 2].map((channel) => {
      let sum = 0;
      for (let at = channel; at < upper.length; at += 4) sum += upper[at];
      return Math.round(sum / (upper.length / 4));
    });
    const line = paint.getImageData(0, Math.floor(HEIGHT * 0.8), WIDTH, 1).data;
    // Eight steps are coarse enough that the codec's noise on a still picture is no movement.
    const print = Array.from({ length: WIDTH }, (_, at) => line[at * 4 + 2] >> 5).join('');
    return { colour, print, width: element.videoWidth };
  };
  sense.shown = () => shown;
  return sense;
}
