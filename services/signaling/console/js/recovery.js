// Recovers a live call when its network path has changed or failed: ICE restarts, with the offers sent over HTTP.

const PATIENCE_MS = 2_000; // a few lost checks are no reason to restart
const AGAIN_MS = 3_000;
const GIVE_UP_MS = 30_000; // as long as the gateway keeps a call without packets
const HOPELESS = new Set([401, 404, 422]); // the call is over, or belongs to another peer

/**
 * Watches a peer connection from `start()` to `stop()`.
 *
 * Handlers: `onStage(stage)` with unsteady, reconnecting, steady; `exchange(offer)` returns the gateway's answer;
 * `onLost()` once, when recovery has failed.
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
      // Roll the offer back, or no further offer can be made.
      if (this.#peer.signalingState === "have-local-offer") await this.#peer.setLocalDescription({ type: "rollback" });
      throw error;
    }
  }
}
