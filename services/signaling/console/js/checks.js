// The steps of setting up a call, in order: which succeeded, which failed, and the cause of the failure if known.

const NAMES = {
  microphone: "Microphone",
  token: "Token from the gateway",
  call: "Call accepted by the gateway",
  path: "UDP to the gateway (ICE)",
  encryption: "Encryption (DTLS)",
  channel: "Data channel",
  provider: "Answer from the AI provider",
};
const STEPS = Object.keys(NAMES);

/** A step counts as passed when it or a later one has been. */
export class Checks {
  #passed = -1;

  passed(step) {
    this.#passed = Math.max(this.#passed, STEPS.indexOf(step));
  }

  /** The first step that has not succeeded; null when all have. */
  get current() {
    return STEPS[this.#passed + 1] ?? null;
  }

  /** `[{name, outcome}]` of a call for which `step` failed; outcome is passed, failed or unknown. */
  results(step) {
    const failed = STEPS.indexOf(step);
    return STEPS.map((name, index) => {
      const passed = index <= this.#passed ? "passed" : "unknown";
      return { name: NAMES[name], outcome: index === failed ? "failed" : passed };
    });
  }
}
