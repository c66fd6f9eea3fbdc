// Queries over HTTP whether the gateway has ended the call: the data channel cannot report it while no packet arrives.

import { callUsage } from "./api.js";

const EVERY_MS = 500;

/** Polls from `start()` to `stop()`; `onEnded(reason)` once. Requests without an answer are repeated. */
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
