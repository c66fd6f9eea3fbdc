// Measures the loudness of the microphone and the answer 20 times a second.

const TICK_MS = 50;
const WINDOW = 2048; // samples; at 48 kHz an interval covers nearly all of its 50 ms
const FLOOR_DB = -60;
const CEILING_DB = -6;

/** Loudness from 0 to 1, linear in decibels. */
function loudness(analyser, buffer) {
  analyser.getFloatTimeDomainData(buffer);
  let sum = 0;
  for (const sample of buffer) sum += sample * sample;
  const db = 10 * Math.log10(sum / buffer.length + 1e-12);
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
}

/** Measures streams as they are added; `onSample({at, caller, answer})` with `at` in ms of `performance.now()`. */
export class Levels {
  #context = new AudioContext();
  #buffer = new Float32Array(WINDOW);
  #analysers = { caller: null, answer: null };
  #timer;

  constructor(onSample) {
    this.#timer = setInterval(() => onSample(this.#sample()), TICK_MS);
  }

  /** `side` is caller or answer. A further stream of the same side replaces the first. */
  listen(side, stream) {
    const analyser = new AnalyserNode(this.#context, { fftSize: WINDOW });
    new MediaStreamAudioSourceNode(this.#context, { mediaStream: stream }).connect(analyser);
    this.#analysers[side]?.disconnect();
    this.#analysers[side] = analyser;
  }

  close() {
    clearInterval(this.#timer);
    this.#context.close();
  }

  #sample() {
    const level = (analyser) => (analyser ? loudness(analyser, this.#buffer) : 0);
    return { at: performance.now(), caller: level(this.#analysers.caller), answer: level(this.#analysers.answer) };
  }
}
