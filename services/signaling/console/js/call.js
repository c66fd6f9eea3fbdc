// One call over the public wire: microphone, token, offer and answer, data channel, hang-up.

import * as api from "./api.js";
import { openMicrophone, release } from "./microphone.js";
import { ending, Problem, refusalProblem } from "./problems.js";
import { Recovery } from "./recovery.js";
import { StatsReader } from "./stats.js";

const SETUP_TIMEOUT_MS = 15_000; // the gateway gives up after 10 s and says so; this is for when it cannot
const STATS_EVERY_MS = 1_000;
const HANGUP_MS = 1_500;

/**
 * A call's life: `start()` once, `hangUp()` at any time; it ends exactly once.
 *
 * Handlers: `onStage(stage)` with microphone, token, call, connecting, live, unsteady, reconnecting, steady;
 * `onMicrophone(stream)`, `onAnswer(stream)`, `onServerEvent(event)`, `onStats(stats)`, `onMicrophoneLost()`,
 * `onEnd({state, reason, ending})` where state is idle (cancelled before it was live), ended or failed.
 */
export class Call {
  #handlers;
  #abort = new AbortController();
  #microphone = null;
  #peer = null;
  #channel = null;
  #setupTimer = 0;
  #recovery = null;
  #statsTimer = 0;
  #live = false;
  #over = false;

  id = null;
  token = null;

  constructor(handlers) {
    this.#handlers = handlers;
  }

  async start() {
    try {
      await this.#setUp();
    } catch (error) {
      this.#fail(error instanceof Problem ? error : new Problem("unexpected", String(error)));
    }
  }

  /** The caller hangs up, or cancels a call that is not live yet. */
  hangUp() {
    this.#finish({ state: this.#live ? "ended" : "idle", reason: "hangup", ending: null }, { tell: true });
  }

  /** Sends a client event; without an open channel it is dropped. */
  send(event) {
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  async #setUp() {
    this.#handlers.onStage("microphone");
    const microphone = await openMicrophone();
    if (this.#over) return release(microphone);
    this.#microphone = microphone;
    this.#handlers.onMicrophone(microphone);
    microphone.getAudioTracks()[0].onended = () => this.#handlers.onMicrophoneLost();

    this.#handlers.onStage("token");
    const { token, ice } = await this.#ask("token", () => api.mintToken(this.#abort.signal));
    this.token = token;
    if (this.#over) return undefined;

    this.#handlers.onStage("call");
    return this.#connect(ice);
  }

  async #connect(ice) {
    this.#peer = new RTCPeerConnection(ice);
    this.#peer.ontrack = ({ streams, track }) => this.#handlers.onAnswer(streams[0] ?? new MediaStream([track]));
    this.#peer.onconnectionstatechange = () => this.#connectionChanged();
    this.#recovery = new Recovery(this.#peer, {
      onStage: (stage) => this.#handlers.onStage(stage),
      exchange: (offer) => api.restartCall(this.token, this.id, offer, this.#abort.signal),
      onLost: () => this.#fail(new Problem("lost")),
    });
    for (const track of this.#microphone.getAudioTracks()) this.#peer.addTrack(track, this.#microphone);
    this.#openChannel();

    await this.#peer.setLocalDescription();
    const { callId, sdp } = await this.#ask("call", () =>
      api.placeCall(this.token, this.#peer.localDescription.sdp, this.#abort.signal),
    );
    this.id = callId;
    if (this.#over) return void this.#tellGateway();

    this.#handlers.onStage("connecting");
    this.#setupTimer = setTimeout(() => this.#fail(this.#noPath()), SETUP_TIMEOUT_MS);
    try {
      await this.#peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      throw new Problem("bad_answer", String(error));
    }
  }

  #openChannel() {
    this.#channel = this.#peer.createDataChannel("oai-events");
    this.#channel.onopen = () => this.#opened();
    this.#channel.onclose = () => this.#fail(this.#live ? new Problem("lost") : this.#noPath());
    this.#channel.onmessage = ({ data }) => this.#received(data);
  }

  #opened() {
    clearTimeout(this.#setupTimer);
    this.#live = true;
    const reader = new StatsReader(this.#peer);
    this.#statsTimer = setInterval(async () => {
      const stats = await reader.read();
      if (!this.#over) this.#handlers.onStats(stats);
    }, STATS_EVERY_MS);
    this.#recovery.start();
    this.#handlers.onStage("live");
  }

  #received(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not of this protocol; the next message may be
    }
    if (event.type === "hushgate.ended") {
      const words = ending(event.reason);
      this.#finish({ state: words?.failed ? "failed" : "ended", reason: event.reason, ending: words });
    } else {
      this.#handlers.onServerEvent(event);
    }
  }

  #connectionChanged() {
    if (this.#live) this.#recovery.changed();
    else if (this.#peer.connectionState === "failed") this.#fail(this.#noPath());
  }

  async #ask(step, request) {
    try {
      return await request();
    } catch (error) {
      throw refusalProblem(error, step);
    }
  }

  /** No packet came through. A Chromium without any network interface but loopback never ends its gathering. */
  #noPath() {
    return new Problem(this.#peer.iceGatheringState === "gathering" ? "no_network" : "no_path");
  }

  #fail(problem) {
    this.#finish({ state: "failed", reason: null, problem }, { tell: true });
  }

  #finish(outcome, { tell = false } = {}) {
    if (this.#over) return;
    this.#over = true;
    this.#abort.abort();
    clearTimeout(this.#setupTimer);
    this.#recovery?.stop();
    clearInterval(this.#statsTimer);
    release(this.#microphone);
    // Told first and closed then, or the gateway would take us for a client that is gone.
    const told = tell && this.id ? this.#tellGateway() : Promise.resolve();
    told.finally(() => {
      this.#channel?.close();
      this.#peer?.close();
    });
    this.#handlers.onEnd(outcome);
  }

  /** Hangs up at the gateway. It may be the one that is gone; it notices by itself that we are. */
  #tellGateway() {
    const patience = new Promise((resolve) => setTimeout(resolve, HANGUP_MS));
    return Promise.race([api.hangUp(this.token, this.id).catch(() => {}), patience]);
  }
}
