// A caller who speaks when the test says so, and an ear on what the page plays.
(() => {
  if (!navigator.mediaDevices) return; // the empty page that a tab begins with
  let context, microphone;
  const heard = [];

  window.caller = {
    // Speaks a WAV file (base64); resolves when its last sample has been spoken.
    async say(wav) {
      const bytes = Uint8Array.from(atob(wav), (c) => c.charCodeAt(0));
      const source = context.createBufferSource();
      source.buffer = await context.decodeAudioData(bytes.buffer);
      source.connect(microphone);
      await new Promise((resolve) => { source.onended = resolve; source.start(); });
    },
    // What was played so far: 16-bit PCM at `rate`, base64, in pieces that were captured in order.
    heard() {
      const total = heard.reduce((sum, piece) => sum + piece.length, 0);
      const pcm = new Int16Array(total);
      let at = 0;
      for (const piece of heard) { pcm.set(piece, at); at += piece.length; }
      const bytes = new Uint8Array(pcm.buffer);
      let text = "";
      for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
      return { rate: context.sampleRate, pcm: btoa(text) };
    },
    // Whether anything above the noise of the codec was played in the last `seconds`.
    sounding(seconds) {
      let left = seconds * context.sampleRate;
      for (let i = heard.length - 1; i >= 0 && left > 0; i--) {
        if (heard[i].some((sample) => Math.abs(sample) > 300)) return true;
        left -= heard[i].length;
      }
      return false;
    },
    events: [],
    sent: [], // client events
    // What `find` finds, as soon as it finds something. (The page's policy forbids what playwright would wait with.)
    until(find) {
      return new Promise((resolve) => {
        const look = () => {
          const found = find();
          if (found) resolve(found);
          else setTimeout(look, 20);
        };
        look();
      });
    },
  };

  navigator.mediaDevices.getUserMedia = async () => {
    if (!context) {
      context = new AudioContext({ sampleRate: 48000 });
      microphone = context.createMediaStreamDestination();
      // Without a running source Chromium sends no packets at all while the caller is silent.
      const silence = context.createConstantSource();
      const gain = context.createGain();
      gain.gain.value = 0;
      silence.connect(gain).connect(microphone);
      silence.start();
      await context.resume();
    }
    return microphone.stream.clone();
  };

  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Plain {
    constructor(...settings) {
      super(...settings);
      this.addEventListener("track", (event) => {
        const tap = context.createScriptProcessor(4096, 1, 1);
        tap.onaudioprocess = ({ inputBuffer }) => {
          heard.push(Int16Array.from(inputBuffer.getChannelData(0), (x) => Math.max(-1, Math.min(1, x)) * 32767));
        };
        context.createMediaStreamSource(new MediaStream([event.track])).connect(tap).connect(context.destination);
      });
    }
    createDataChannel(...settings) {
      const channel = super.createDataChannel(...settings);
      channel.addEventListener("message", (message) => window.caller.events.push(JSON.parse(message.data)));
      const send = channel.send.bind(channel);
      channel.send = (text) => {
        window.caller.sent.push(JSON.parse(text));
        send(text);
      };
      return channel;
    }
  };
})();
