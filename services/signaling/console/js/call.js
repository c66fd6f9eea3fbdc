// One call over the public wire: microphone, token, offer and answer, data channel, hang-up.

import * as api from "./api.js";
import { Checks } from "./checks.js";
import { EndWatch } from "./ending.js";
import { openMicrophone, release } from "./microphone.js";
import { pathProblem } from "./path.js";
import { ending, Problem, refusalProblem } from "./problems.js";
import { Recovery } from "./recovery.js";
import { StatsReader } from "./stats.js";

const SETUP_TIMEOUT_MS = 11_000; // the gateway ends the call after 10 s and reports it; this is for when the report is lost
const STATS_EVERY_MS = 1_000;
const HANGUP_MS = 1_500;

/**
 * A call's life: `start()` once, `hangUp()` at any time; it ends exactly once.
 *
 * Handlers: `onStage(stage)` with microphone, token, call, connecting, live, unsteady, reconnecting, steady;
 * `onMicrophone(stream)`, `onAnswer(stream)`, `onServerEvent(event)`, `onStats(stats)`, `onMicrophoneLost()`,
 * `onEnd({state, reason, ending, problem, checks})` where state is idle (cancelled before it was live), ended or failed;
 * `checks` name the failed step of a call that was not set up, and are null otherwise.
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
  #endWatch = new EndWatch((reason) => this.#endedByGateway(reason));
  #checks = new Checks();
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
    this.#checks.passed("microphone");
    this.#microphone = microphone;
    this.#handlers.onMicrophone(microphone);
    microphone.getAudioTracks()[0].onended = () => this.#handlers.onMicrophoneLost();

    this.#handlers.onStage("token");
    const { token, ice } = await this.#ask("token", () => api.mintToken(this.#abort.signal));
    this.token = token;
    this.#checks.passed("token");
    if (this.#over) return undefined;

    this.#handlers.onStage("call");
    return this.#connect(ice);
  }

  async #connect(ice) {
    this.#peer = new RTCPeerConnection(ice);
    this.#peer.ontrack = ({ streams, track }) => this.#handlers.onAnswer(streams[0] ?? new MediaStream([track]));
    this.#peer.oniceconnectionstatechange = () => this.#iceChanged();
    this.#peer.onconnectionstatechange = () => this.#connectionChanged();
    this.#recovery = new Recovery(this.#peer, {
      onStage: (stage) => this.#wayChanged(stage),
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
    this.#checks.passed("call");

    this.#handlers.onStage("connecting");
    this.#endWatch.start({ token: this.token, callId });
    this.#setupTimer = setTimeout(() => this.#failSetup(), SETUP_TIMEOUT_MS);
    try {
      await this.#peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      throw new Problem("bad_answer", String(error));
    }
  }

  #openChannel() {
    this.#channel = this.#peer.createDataChannel("oai-events");
    this.#channel.onopen = () => this.#opened();
    this.#channel.onclose = () => (this.#live ? this.#fail(new Problem("lost")) : this.#failSetup());
    this.#channel.onmessage = ({ data }) => this.#received(data);
  }

  #opened() {
    clearTimeout(this.#setupTimer);
    this.#endWatch.stop();
    this.#checks.passed("channel");
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
      return; // not an event of this protocol; later messages may be
    }
    if (event.type === "response.created") this.#checks.passed("provider");
    if (event.type === "hushgate.ended") this.#endedByGateway(event.reason);
    else this.#handlers.onServerEvent(event);
  }

  /** The gateway has ended the call: no hang-up is sent. */
  #endedByGateway(reason) {
    if (reason === "setup_timeout" && !this.#live) {
      this.#failSetup();
      return;
    }
    const words = ending(reason);
    this.#finish({ state: words?.failed ? "failed" : "ended", reason, ending: words, step: this.#failedStep(reason) });
  }

  /** The step of the set-up that failed by the gateway's reason; null if the reason names none. */
  #failedStep(reason) {
    if (reason.startsWith("provider_")) return this.#checks.current ? "provider" : null;
    if (reason !== "dtls_failed") return null;
    this.#checks.passed("path"); // the handshake began
    return "encryption";
  }

  #iceChanged() {
    if (["connected", "completed"].includes(this.#peer.iceConnectionState)) this.#checks.passed("path");
  }

  #connectionChanged() {
    if (this.#peer.connectionState === "connected") this.#checks.passed("encryption");
    if (this.#live) this.#recovery.changed();
    else if (this.#peer.connectionState === "failed") this.#failSetup();
  }

  /** While no packet is received, the gateway can report the end of the call only over HTTP. */
  #wayChanged(stage) {
    if (stage === "steady") this.#endWatch.stop();
    else this.#endWatch.start({ token: this.token, callId: this.id });
    this.#handlers.onStage(stage);
  }

  async #ask(step, request) {
    try {
      return await request();
    } catch (error) {
      throw refusalProblem(error, step);
    }
  }

  /** The set-up failed: the step that it reached is the cause. ICE may fail before the gateway has answered. */
  async #failSetup() {
    if (this.#over) return;
    clearTimeout(this.#setupTimer);
    const step = this.#checks.current;
    if (step === "call" || step === "path") this.#fail(await pathProblem(this.#peer), "path");
    else this.#fail(new Problem(`no_${step}`));
  }

  #fail(problem, step = this.#checks.current) {
    this.#finish({ state: "failed", reason: null, problem, step: this.#live ? null : step }, { tell: true });
  }

  #finish(outcome, { tell = false } = {}) {
    if (this.#over) return;
    this.#over = true;
    this.#abort.abort();
    clearTimeout(this.#setupTimer);
    this.#endWatch.stop();
    this.#recovery?.stop();
    clearInterval(this.#statsTimer);
    release(this.#microphone);
    // Hang up first and close then, or the gateway would count this client as gone.
    const told = tell && this.id ? this.#tellGateway() : Promise.resolve();
    told.finally(() => {
      this.#channel?.close();
      this.#peer?.close();
    });
    this.#handlers.onEnd({ ...outcome, checks: outcome.step ? this.#checks.results(outcome.step) : null });
  }

  /** Hangs up at the gateway, with a timeout: if it is unreachable, it detects by itself that this client is gone. */
  #tellGateway() {
    const patience = new Promise((resolve) => setTimeout(resolve, HANGUP_MS));
    return Promise.race([api.hangUp(this.token, this.id).catch(() => {}), patience]);
  }
}
