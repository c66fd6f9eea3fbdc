// Queries a call's usage while it runs, and its bill when it is over.

import { callUsage } from "./api.js";

const EVERY_MS = 2_000;
const BILL_EVERY_MS = 500;
const BILL_TRIES = 40; // 20 s: usage is reported every 5 s, and once more at the end
const AGREE = 2; // answers in a row that must agree before the bill is taken as final

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Polls for one call. A failed request is repeated; `onUsage(usage)` gets every answer. */
export class UsageWatch {
  #token;
  #callId;
  #onUsage;
  #stopped = new AbortController();

  constructor({ token, callId, onUsage }) {
    this.#token = token;
    this.#callId = callId;
    this.#onUsage = onUsage;
  }

  async follow() {
    while (!this.#stopped.signal.aborted) {
      const usage = await this.#ask();
      if (usage && !this.#stopped.signal.aborted) this.#onUsage(usage);
      await pause(EVERY_MS);
    }
  }

  stop() {
    this.#stopped.abort();
  }

  /** The last usage of an ended call; `{usage, final}`, where usage is null if the ledger never had the call. */
  async bill() {
    let usage = null;
    let agreed = 0;
    for (let tries = 0; tries < BILL_TRIES; tries += 1) {
      const next = await this.#ask();
      if (next) {
        const same = usage?.status === "ended" && usage.cost_nano_usd === next.cost_nano_usd;
        agreed = next.status === "ended" ? 1 + (same ? agreed : 0) : 0;
        usage = next;
        this.#onUsage(usage);
      }
      if (agreed >= AGREE) return { usage, final: true };
      await pause(BILL_EVERY_MS);
    }
    return { usage, final: false };
  }

  /** Null when there is no answer yet: the ledger has a call only some seconds after it began. */
  async #ask() {
    try {
      return await callUsage(this.#token, this.#callId);
    } catch {
      return null;
    }
  }
}
