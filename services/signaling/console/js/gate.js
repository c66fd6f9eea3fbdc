// What the gate sent and what it withheld, from `hushgate.gate` events; between events the state is unchanged. And the
// detector's scores, from `hushgate.gate.score` events; there are none in silence.

const PRE_ROLL_MS = 200; // for an opening that does not state its pre-roll
const LONGEST_LEAD_MS = 2_000;
const SCORES_MS = 32_000; // how long scores are kept: a little more than the picture shows
const PATH_MS = 60; // from the microphone through encoder, network and jitter buffer into the gate

/** The gate on the time line of the call. Times named `at` are `performance.now()`; the events count audio time. */
export class GateTimeline {
  #origin = Infinity; // when the call's audio began, by our clock
  #utterances = []; // {from, to} in ms of audio time; `to` is null while open
  #sentMs = 0;
  #heldMs = 0;
  #sentBefore = 0; // at the start of the open utterance
  #scores = new Map(); // by step of the audio time, oldest first
  #stepMs = 40;
  #since;

  constructor(at) {
    this.#since = at;
  }

  get isOpen() {
    return this.#utterances.length > 0 && this.#utterances.at(-1).to === null;
  }

  /** Takes an event with state `open` or `closed`. */
  apply(event, at) {
    // The event with the least network delay gives the best estimate of when the audio began.
    this.#origin = Math.min(this.#origin, at - PATH_MS - event.at_ms);
    if (event.state === "open") this.#open(event);
    else this.#close(event);
    this.#sentMs = event.sent_ms;
    this.#heldMs = event.gated_ms;
    this.#since = at;
  }

  /** Takes an event with scores. */
  score({ at_ms: begin, step_ms: stepMs, scores }, at) {
    this.#origin = Math.min(this.#origin, at - PATH_MS - begin - stepMs * scores.length);
    this.#stepMs = stepMs;
    const first = Math.floor(begin / stepMs);
    scores.forEach((score, n) => this.#scores.set(first + n, score));
    const oldest = first - SCORES_MS / stepMs;
    for (const step of this.#scores.keys()) {
      if (step >= oldest) break;
      this.#scores.delete(step);
    }
  }

  /** The highest score of the audio recorded between two times; 0 where none was sent. */
  scoreWithin(start, end) {
    if (this.#scores.size === 0) return 0;
    let most = 0;
    const last = Math.floor((end - this.#origin) / this.#stepMs);
    for (let step = Math.floor((start - this.#origin) / this.#stepMs); step <= last; step += 1)
      most = Math.max(most, this.#scores.get(step) ?? 0);
    return most;
  }

  /** The call is over: the counters stop. */
  stop(at) {
    const { sentMs, heldMs } = this.totals(at);
    this.#sentMs = sentMs;
    this.#heldMs = heldMs;
    this.#since = Infinity;
    if (this.isOpen) this.#utterances.at(-1).to = at - this.#origin;
  }

  totals(at) {
    const more = Math.max(0, at - this.#since);
    return { sentMs: this.#sentMs + (this.isOpen ? more : 0), heldMs: this.#heldMs + (this.isOpen ? 0 : more) };
  }

  /** Whether the audio recorded at that time was sent. Pre-roll and tail are known only afterwards. */
  wasSent(at) {
    const time = at - this.#origin;
    return this.#utterances.some(({ from, to }) => from <= time && (to === null || time < to));
  }

  #open(event) {
    const grown = event.sent_ms - this.#sentMs;
    const lead = grown > 0 && grown < LONGEST_LEAD_MS ? grown : PRE_ROLL_MS;
    this.#sentBefore = this.#sentMs;
    this.#utterances.push({ from: event.at_ms - lead, to: null });
  }

  /** An utterance ends where its sent time ends; the rest of the hangover was withheld. */
  #close(event) {
    if (!this.isOpen) return;
    const utterance = this.#utterances.at(-1);
    const sent = event.sent_ms - this.#sentBefore;
    utterance.to = sent > 0 ? Math.min(event.at_ms, utterance.from + sent) : event.at_ms;
  }
}
