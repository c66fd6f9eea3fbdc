// The display of one call, from its first audio to its bill.

import { Answers } from "./answers.js";
import { showBill, showNoBill } from "./bill.js";
import { Conversation } from "./conversation.js";
import * as format from "./format.js";
import { GateTimeline } from "./gate.js";
import { Levels } from "./levels.js";
import { UsageWatch } from "./usage.js";

const STALE_MS = 10_000;

/** Feeds the view, the strip and the transcript from a call's audio, events and usage. */
export class LiveCall {
  #view;
  #strip;
  #transcript;
  #conversation = new Conversation();
  #answers = new Answers();
  #gate = new GateTimeline(Infinity);
  #levels = new Levels((sample) => this.#sampled(sample));
  #usage = null;
  #liveSince = null;
  #cost = { nano: 0, at: 0 };

  constructor({ view, strip, transcript }) {
    this.#view = view;
    this.#strip = strip;
    this.#transcript = transcript;
    view.clearFacts();
    transcript.render([]);
    strip.reset({ gate: this.#gate, answers: this.#answers });
  }

  /** `side` is caller or answer. */
  hear(side, stream) {
    this.#levels.listen(side, stream);
  }

  /** The call is live; its usage can be queried. */
  begin({ token, callId }) {
    const now = performance.now();
    this.#liveSince = now;
    this.#cost = { nano: 0, at: now };
    this.#gate = new GateTimeline(now);
    this.#strip.reset({ gate: this.#gate, answers: this.#answers });
    this.#usage = new UsageWatch({ token, callId, onUsage: (usage) => this.#used(usage) });
    this.#usage.follow();
  }

  serverEvent(event) {
    const now = performance.now();
    if (event.type === "hushgate.gate") this.#gateEvent(event, now);
    if (event.type === "hushgate.gate.score") {
      this.#gate.score(event, now);
      return; // it changes the strip only
    }
    this.#answers.apply(event, now);
    this.#conversation.apply(event);
    this.#transcript.render(this.#conversation.lines);
    this.#view.fact("questions", String(this.#conversation.questions));
    if (this.#answers.unheardMs > 0) this.#view.fact("unheard", format.seconds(this.#answers.unheardMs));
  }

  stats({ roundTripMs, loss }) {
    if (roundTripMs === null) return;
    this.#view.fact("network", `${format.milliseconds(roundTripMs)} · ${format.percent(loss)}`);
  }

  /** Freezes the picture; nothing more is measured. */
  end() {
    const now = performance.now();
    this.#levels.close();
    this.#usage?.stop();
    this.#gate.stop(now);
    this.#conversation.close();
    this.#transcript.render(this.#conversation.lines);
    this.#view.level(0, now);
    if (this.#liveSince === null) return;
    this.#view.stripEnd("end of the call");
    this.#view.timer(now - this.#liveSince);
  }

  /** Queries the bill and shows it; returns the usage, or null if the ledger does not have the call. */
  async bill({ token, callId }, isWanted) {
    const watch = new UsageWatch({ token, callId, onUsage: (usage) => isWanted() && this.#used(usage) });
    const { usage, final } = await watch.bill();
    if (!isWanted()) return null;
    if (usage === null) showNoBill(this.#view.bill);
    else this.#billed(usage, final);
    return usage;
  }

  #billed(usage, final) {
    this.#view.cost(usage.cost_nano_usd, usage.charged ? "in all" : "not charged");
    this.#view.share({ sentMs: usage.sent_seconds * 1000, heldMs: usage.gated_seconds * 1000 });
    this.#view.fact("unheard", format.seconds(usage.unheard_seconds * 1000));
    showBill(this.#view.bill, usage, final);
  }

  #sampled(sample) {
    this.#strip.push(sample);
    this.#view.level(sample.caller, sample.at);
    if (this.#liveSince === null) return;
    this.#view.timer(sample.at - this.#liveSince);
    this.#view.share(this.#gate.totals(sample.at));
    const age = sample.at - this.#cost.at;
    const note = age < STALE_MS ? "so far" : `so far, as of ${format.wholeSeconds(age)} ago`;
    this.#view.cost(this.#cost.nano, note);
  }

  #gateEvent(event, now) {
    if (event.state === "open" || event.state === "closed") this.#gate.apply(event, now);
    else if (event.state === "answered") this.#view.fact("latency", format.milliseconds(event.latency_ms));
    else if (event.state === "stopped") this.#view.fact("stopped", format.milliseconds(event.stop_ms));
  }

  #used(usage) {
    this.#cost = { nano: usage.cost_nano_usd, at: performance.now() };
    this.#view.cost(usage.cost_nano_usd, "so far");
    this.#view.saved(usage.saved_nano_usd, usage.saved_note ?? "");
  }
}
