// Whether the gateway has ended the call, asked over HTTP: the data channel cannot say so when no packet comes through.

import { callUsage } from "./api.js";

const EVERY_MS = 500;

/** Asks from `start()` to `stop()`; `onEnded(reason)` once. Questions without an answer are asked again. */
export class EndWatch {
  #onEnded;
  #asking = null; // the AbortController of the round that runs

  constructor(onEnded) {
    this.#onEnded = onEnded;
  }

  start({ token, callId }) {
    if (this.#asking) return;
    this.#asking = new AbortController();
    this.#follow(token, callId, this.#asking.signal);
  }

  stop() {
    this.#asking?.abort();
    this.#asking = null;
  }

  async #follow(token, callId, signal) {
    while (!signal.aborted) {
      await new Promise((resolve) => { setTimeout(resolve, EVERY_MS); });
      if (signal.aborted) return;
      const usage = await callUsage(token, callId, signal).catch(() => null);
      if (usage?.status !== "ended" || signal.aborted) continue;
      this.stop();
      this.#onEnded(usage.ended_reason);
    }
  }
}
