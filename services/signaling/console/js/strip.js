// The last 30 seconds as bars: the caller above, with the detector's score below its bars, and the answer below.

const SPAN_MS = 30_000;
const PITCH = 4.67; // CSS pixels from bar to bar
const BAR = 2.7;
const DOT = 2.2; // height of a bar of silence
const HEARD_FROM = 0.04; // loudness below which the answer is silence
const CURVE = 2; // makes loud and quiet syllables visibly different
const SCORE_HEIGHT = 9; // CSS pixels of a score of 1
const CUT_LEVEL = 0.3; // what was never played has no loudness: all its bars are alike

/** Draws samples `{at, caller, answer}`; gate and answers say what was sent, its score, and what was played. */
export class Strip {
  #canvas;
  #samples = [];
  #gate = null;
  #answers = null;
  #now = 0;
  #drawn = 0;
  #frame = 0;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#schedule()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#schedule());
  }

  /** Begins a new picture. */
  reset({ gate, answers }) {
    this.#samples = [];
    this.#gate = gate;
    this.#answers = answers;
    this.#schedule();
  }

  push(sample) {
    this.#samples.push(sample);
    this.#now = sample.at;
    const oldest = sample.at - SPAN_MS - 1_000;
    while (this.#samples[0].at < oldest) this.#samples.shift();
    // With reduced motion the picture is redrawn once a second.
    if (!this.#calm.matches || sample.at - this.#drawn >= 1_000) this.#schedule();
  }

  #schedule() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawn = this.#now;
      this.#draw();
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    if (width === 0) return;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const pen = this.#canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const colours = readColours(this.#canvas);

    pen.fillStyle = colours.line;
    pen.fillRect(0, height / 2, width, 1);
    for (const bar of this.#bars(width)) drawBar(pen, bar, height, colours);
  }

  /** Bars stand on a fixed grid of time, so that they move but do not flicker. */
  *#bars(width) {
    const columns = Math.floor(width / PITCH);
    const stepMs = SPAN_MS / columns;
    const newest = Math.floor(this.#now / stepMs);
    const found = this.#collect(stepMs);
    for (let slot = newest - columns; slot <= newest; slot += 1) {
      const x = width - ((this.#now - slot * stepMs) / SPAN_MS) * width;
      yield { x, ...(found.get(slot) ?? this.#blank(slot * stepMs, stepMs)) };
    }
  }

  #collect(stepMs) {
    const slots = new Map();
    for (const sample of this.#samples) {
      const slot = Math.floor(sample.at / stepMs);
      const bar = slots.get(slot) ?? this.#blank(slot * stepMs, stepMs);
      bar.known = true;
      bar.caller += sample.caller;
      bar.answer += sample.answer;
      bar.samples += 1;
      bar.callerSent += this.#gate.wasSent(sample.at) ? sample.caller : 0;
      slots.set(slot, bar);
    }
    for (const bar of slots.values()) average(bar);
    return slots;
  }

  #blank(at, stepMs) {
    const middle = at + stepMs / 2;
    const sent = this.#gate?.wasSent(middle) ?? false;
    const score = this.#gate?.scoreWithin(at, at + stepMs) ?? 0;
    const cut = this.#answers?.cuts.some(({ from, to }) => from <= middle && middle < to) ?? false;
    return { known: false, caller: 0, answer: 0, callerSent: 0, samples: 0, sent, score, cut };
  }
}

/** A bar is as loud as its samples are on average, and was sent if most of its sound was. */
function average(bar) {
  if (bar.caller > 0) bar.sent = bar.callerSent >= bar.caller / 2;
  bar.caller /= bar.samples;
  bar.answer /= bar.samples;
}

function readColours(element) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    line: colour("--line"),
    track: colour("--track"),
    sent: colour("--sent"),
    held: colour("--held"),
    heard: colour("--heard"),
    cut: colour("--cut"),
    score: colour("--score"),
  };
}

function drawBar(pen, bar, height, colours) {
  const half = height / 4;
  const reach = half * 2 - 12;
  const quiet = bar.sent ? DOT : DOT + 1.5 * Math.min(1, bar.caller * 2);
  const callerColour = bar.sent ? colours.sent : colours.held;
  stroke(pen, bar.x, half, Math.max(quiet, bar.caller ** CURVE * reach), bar.known ? callerColour : colours.track);
  if (bar.score > 0) {
    pen.fillStyle = colours.score;
    pen.fillRect(bar.x, half * 2 - bar.score * SCORE_HEIGHT, BAR, bar.score * SCORE_HEIGHT);
  }
  if (bar.answer > HEARD_FROM) stroke(pen, bar.x, half * 3, Math.max(DOT, bar.answer ** CURVE * reach), colours.heard);
  else if (bar.cut && bar.known) stroke(pen, bar.x, half * 3, CUT_LEVEL * reach, colours.cut);
}

function stroke(pen, x, middle, size, colour) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(x, middle - size / 2, BAR, size, Math.min(BAR, size) / 2);
  pen.fill();
}
