// How much of the answers was generated and never heard, and where in time an answer was cut.

/** Follows answers by `hushgate.usage`, `hushgate.gate` and the truncations of the protocol. */
export class Answers {
  #generatedMs = 0;
  #responses = 0;
  #lastMs = null; // sound of the newest finished response, until it is cut or another begins
  #waiting = null; // a cut whose response has not been counted yet
  #cutItems = new Set();

  unheardMs = 0;
  /** Stretches of `performance.now()` in which the rest of a cut answer would have been heard. */
  cuts = [];

  apply(event, at) {
    switch (event.type) {
      case "response.created":
        this.#lastMs = null;
        break;
      case "output_audio_buffer.started":
        this.#endCut(at);
        break;
      case "conversation.item.truncated":
        this.#cut(event.item_id, event.audio_end_ms, at);
        break;
      case "hushgate.gate":
        if (event.state === "stopped") this.#cut(event.item_id, event.heard_ms, at);
        break;
      case "hushgate.usage":
        this.#counted(event);
        break;
      default:
    }
  }

  #counted({ generated_ms: generatedMs, responses }) {
    if (responses <= this.#responses) return;
    const soundMs = generatedMs - this.#generatedMs;
    this.#responses = responses;
    this.#generatedMs = generatedMs;
    if (soundMs <= 0) return;
    this.#lastMs = soundMs;
    if (this.#waiting) this.#settle(this.#waiting);
  }

  /** Both the gate and the truncation report a cut; the first one counts. */
  #cut(itemId, heardMs, at) {
    if (this.#cutItems.has(itemId)) return;
    this.#cutItems.add(itemId);
    const cut = { heardMs, at };
    if (this.#lastMs === null) this.#waiting = cut;
    else this.#settle(cut);
  }

  #settle({ heardMs, at }) {
    const unheardMs = Math.max(0, this.#lastMs - heardMs);
    this.unheardMs += unheardMs;
    this.cuts.push({ from: at, to: at + unheardMs });
    this.#lastMs = null;
    this.#waiting = null;
  }

  /** The next answer takes the place of what was left of the cut one. */
  #endCut(at) {
    const last = this.cuts.at(-1);
    if (last) last.to = Math.min(last.to, at);
  }
}
