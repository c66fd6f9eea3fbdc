// What the browser gives to its loudspeaker, with the moment of each 10 ms, and control of what the page reports.
(() => {
  const KEPT = 1500; // chunks of 10 ms
  const chunks = [];
  let reports = true;
  let channel = null;
  let peer = null;

  // Chromium stamps a chunk in microseconds of the machine's monotonic clock, the one of which performance.now() is a
  // part. Reading is never early, so the smallest difference between both is their offset.
  let offsetMs = Infinity;

  window.ear = {
    reporting(wanted) { reports = wanted; },
    send(event) { channel.send(JSON.stringify(event)); },
    // Unix time in ms at which each chunk began to be rendered, its rate, all samples as base64 of 16-bit PCM.
    rendered() {
      const pcm = new Int16Array(chunks.reduce((sum, { samples }) => sum + samples.length, 0));
      let at = 0;
      for (const { samples } of chunks) { pcm.set(samples, at); at += samples.length; }
      const bytes = new Uint8Array(pcm.buffer);
      let text = "";
      for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
      return {
        rate: chunks.length ? chunks[0].rate : 0,
        lengths: chunks.map(({ samples }) => samples.length),
        starts_ms: chunks.map(({ stampMs }) => performance.timeOrigin + offsetMs + stampMs),
        pcm: btoa(text),
      };
    },
    // Every response is done, and nothing has sounded for a while.
    settled() {
      const count = (kind) => window.caller.events.filter(({ type }) => type === kind).length;
      return window.caller.until(() => count("response.created") === count("response.done") && !window.caller.sounding(0.3));
    },
    forget() { chunks.length = 0; },
    // From leaving WebRTC to the loudspeaker, as far as the browser knows; its average over the call.
    async playoutDelayMs() {
      const playout = [...(await peer.getStats()).values()].find(({ type }) => type === "media-playout");
      return (1000 * playout.totalPlayoutDelay) / playout.totalSamplesCount;
    },
  };

  async function listen(track) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const plane = new Float32Array(value.numberOfFrames);
      value.copyTo(plane, { planeIndex: 0, format: "f32-planar" });
      const stampMs = value.timestamp / 1000;
      offsetMs = Math.min(offsetMs, performance.now() - stampMs);
      chunks.push({ stampMs, rate: value.sampleRate, samples: Int16Array.from(plane, (x) => Math.max(-1, Math.min(1, x)) * 32767) });
      if (chunks.length > KEPT) chunks.shift();
      value.close();
    }
  }

  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Plain {
    constructor(...settings) {
      super(...settings);
      peer = this;
      this.addEventListener("track", ({ track }) => listen(track));
    }
    createDataChannel(...settings) {
      channel = super.createDataChannel(...settings);
      const send = channel.send.bind(channel);
      channel.send = (text) => { if (reports || !text.includes("hushgate.client_stats")) send(text); };
      return channel;
    }
  };
})();
