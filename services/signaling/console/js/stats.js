// What the browser measures: round trip, loss, delay of its jitter buffer and of its audio output.

const LOSS_WINDOW = 10; // readings, one a second

/** Reads `getStats()` and keeps what is needed to compute differences. */
export class StatsReader {
  #peer;
  #history = [];

  constructor(peer) {
    this.#peer = peer;
  }

  /**
   * `{roundTripMs, loss, jitterBufferMs, playoutDelayMs}`; null where not known yet or not reported by the browser,
   * loss from 0 to 1 over the last 10 s, delays as they were since the last reading.
   */
  async read() {
    const now = totals(await this.#peer.getStats());
    const before = this.#history.at(-1) ?? now;
    const oldest = this.#history[0] ?? now;
    this.#history.push(now);
    if (this.#history.length > LOSS_WINDOW) this.#history.shift();
    return {
      roundTripMs: now.roundTripMs,
      loss: lossBetween(oldest, now),
      jitterBufferMs: delayBetween(before.buffered, now.buffered),
      playoutDelayMs: delayBetween(before.playout, now.playout),
    };
  }
}

function totals(report) {
  const sums = { roundTripMs: null, received: 0, lost: 0, lostUp: 0, buffered: sum(0, 0), playout: sum(0, 0) };
  for (const entry of report.values()) {
    if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
      sums.roundTripMs = entry.currentRoundTripTime * 1000;
    } else if (entry.type === "inbound-rtp" && entry.kind === "audio") {
      sums.received = entry.packetsReceived ?? 0;
      sums.lost = entry.packetsLost ?? 0;
      sums.buffered = sum(entry.jitterBufferDelay, entry.jitterBufferEmittedCount);
    } else if (entry.type === "media-playout" && entry.kind === "audio") {
      sums.playout = sum(entry.totalPlayoutDelay, entry.totalSamplesCount);
    } else if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") {
      sums.lostUp = entry.fractionLost ?? 0;
    }
  }
  return sums;
}

/** The higher loss of both directions: ours of the answer, and the one that the gateway reports. */
function lossBetween(before, now) {
  const lost = Math.max(0, now.lost - before.lost);
  const expected = lost + now.received - before.received;
  return Math.max(expected > 0 ? lost / expected : 0, now.lostUp);
}

/** Browsers sum the delays of all samples, in seconds, and count the samples. */
function sum(seconds, samples) {
  return { seconds: seconds ?? 0, samples: samples ?? 0 };
}

function delayBetween(before, now) {
  const samples = now.samples - before.samples;
  return samples > 0 ? ((now.seconds - before.seconds) / samples) * 1000 : null;
}
