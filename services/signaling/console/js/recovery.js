// Brings a live call back when its way to the gateway has changed or gone: ICE restarts, the offers sent over HTTP.

const PATIENCE_MS = 2_000; // a few checks that get lost are no reason
const AGAIN_MS = 3_000;
const GIVE_UP_MS = 30_000; // as long as the gateway keeps a call that it does not hear
const HOPELESS = new Set([401, 404, 422]); // the call is over, or this peer is not its own

/**
 * Watches a peer connection from `start()` to `stop()`.
 *
 * Handlers: `onStage(stage)` with unsteady, reconnecting, steady; `exchange(offer)` gives the gateway's answer;
 * `onLost()` once, when there is no hope.
 */
export class Recovery {
  #peer;
  #handlers;
  #timer = 0;
  #lostAt = 0;
  #restarting = false;
  #watching = false;
  #onNetwork = () => this.#restart();

  constructor(peer, handlers) {
    this.#peer = peer;
    this.#handlers = handlers;
  }

  start() {
    this.#watching = true;
    window.addEventListener("online", this.#onNetwork);
    navigator.connection?.addEventListener("change", this.#onNetwork);
  }

  stop() {
    this.#watching = false;
    clearTimeout(this.#timer);
    window.removeEventListener("online", this.#onNetwork);
    navigator.connection?.removeEventListener("change", this.#onNetwork);
  }

  /** The peer connection's state has changed. */
  changed() {
    if (!this.#watching) return;
    const state = this.#peer.connectionState;
    if (state === "connected") this.#steady();
    else if (state === "failed") this.#restart();
    else if (state === "disconnected") {
      this.#handlers.onStage("unsteady");
      this.#later(PATIENCE_MS);
    }
  }

  #steady() {
    clearTimeout(this.#timer);
    this.#lostAt = 0;
    this.#handlers.onStage("steady");
  }

  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#restart(), ms);
  }

  async #restart() {
    if (!this.#watching || this.#restarting) return;
    this.#lostAt ||= performance.now();
    if (performance.now() - this.#lostAt > GIVE_UP_MS) return void this.#handlers.onLost();
    clearTimeout(this.#timer);
    this.#restarting = true;
    this.#handlers.onStage("reconnecting");
    try {
      await this.#exchange();
    } catch (error) {
      if (!this.#watching) return;
      if (HOPELESS.has(error.status)) return void this.#handlers.onLost();
    } finally {
      this.#restarting = false;
    }
    if (!this.#watching) return;
    if (this.#peer.connectionState === "connected") this.#steady();
    else this.#later(AGAIN_MS);
  }

  async #exchange() {
    this.#peer.restartIce();
    await this.#peer.setLocalDescription();
    try {
      const sdp = await this.#handlers.exchange(this.#peer.localDescription.sdp);
      await this.#peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      // What was offered is taken back, or the next offer would be none.
      if (this.#peer.signalingState === "have-local-offer") await this.#peer.setLocalDescription({ type: "rollback" });
      throw error;
    }
  }
}
