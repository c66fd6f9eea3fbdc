// What can go wrong, each with what to do about it.

/** A failure with a kind of the catalogue below. */
export class Problem extends Error {
  constructor(kind, detail = "") {
    super(detail || kind);
    this.name = "Problem";
    this.kind = kind;
    this.detail = detail;
  }
}

/** Shown once, whether this browser or the gateway detects it first. */
const NO_ENCRYPTION = [
  "The gateway answers, but the call could not be encrypted",
  "UDP works; the DTLS handshake failed. A VPN or tunnel that drops large packets is the usual cause: lower its MTU or " +
    "switch it off, then press Talk again. If it stays so, update the browser; the media process's log has the cause " +
    "(dtls_failed).",
];

const CATALOGUE = {
  insecure: [
    "The browser gives this page no microphone",
    "Microphones are only for pages on https:// or on this machine. Open the page as http://localhost on the machine " +
      "that runs Hushgate, or start it with --tls-cert and --tls-key and open it as https://.",
  ],
  unsupported: [
    "This browser cannot make calls",
    "It has no WebRTC, or it is switched off. Use a current Chromium, Firefox or Safari.",
  ],
  no_microphone: [
    "No microphone found",
    "Plug one in or switch it on in the system's sound settings, then press Talk again.",
  ],
  permission: [
    "Permission for the microphone was refused",
    "Allow it for this page: click the icon beside the address, set Microphone to Allow, then press Talk again. If it " +
      "is allowed there, look in the system's privacy settings whether the browser may use it.",
  ],
  busy: [
    "The microphone is in use",
    "Another program holds it. Close other calls or recorders, then press Talk again.",
  ],
  microphone_lost: [
    "The microphone has stopped",
    "It was unplugged or taken back. The call goes on and you can listen; to be heard, hang up, plug it in and press Talk again.",
  ],
  offline: ["You are offline", "This device has no network. Connect it, then press Talk again."],
  gateway_unreachable: [
    "The gateway does not answer",
    "Look whether “hushgate up” still runs and reload this page.",
  ],
  no_demo: [
    "This gateway has no demo",
    "The page gets its token from a demo endpoint that only “hushgate up” serves. Start the gateway that way, or mint tokens from your own backend.",
  ],
  origin: [
    "The gateway refused this page a token",
    "It only trusts a page that it served itself. Open the address that “hushgate up” printed, not one of a proxy or a copy.",
  ],
  page_secret: [
    "This address lacks the secret of the gateway's start",
    "Open the whole address that “hushgate up” printed last, with what follows the #. On Kubernetes the notes of the " +
      "chart tell how to read it. So nobody else on this machine or network makes calls in your name.",
  ],
  token: ["The gateway refused a token", "Reload the page and press Talk again. If it stays so, the gateway's log says why."],
  too_many: ["Too many calls in a short time", "Wait a moment, then press Talk again."],
  full: ["The gateway takes no calls just now", "It is full, starting or being stopped. Wait a few seconds, then press Talk again."],
  refused: ["The call was refused", "Press Talk to try again. If it stays so, the gateway's log has the cause."],
  bad_answer: [
    "The gateway's answer makes no call",
    "The browser could not use it. Reload the page; if it stays so, the gateway and this browser do not fit together.",
  ],
  no_path: [
    "UDP to the gateway does not get through",
    "The gateway accepted the call, but none of its addresses below answered. Allow UDP to them in the firewall of this " +
      "machine and of the gateway's. If this device cannot reach these addresses at all, start the gateway with " +
      "--advertise and one that it can; where UDP is blocked, give the gateway a TURN server.",
  ],
  no_network: [
    "This browser sees no network at all",
    "Without any network address it makes no calls, not even to this machine. Connect to any network (it needs no internet), " +
      "then press Talk again.",
  ],
  loopback_untried: [
    "This browser makes no calls to a loopback address",
    "Firefox, for one, does not. Connect this machine to any network and start the gateway without “--advertise loopback”, " +
      "so that it offers the machine's other addresses too; or open this page in Chromium.",
  ],
  advertised_loopback: [
    "The gateway offers only its loopback address",
    "Nobody but the machine that it runs on can reach that. Start it with --advertise and the address that this device " +
      "reaches it by.",
  ],
  no_encryption: NO_ENCRYPTION,
  no_channel: [
    "The gateway answers, but opened no data channel",
    "UDP and encryption work; SCTP did not connect. Press Talk to try again. If it stays so, the log of the media process " +
      "has the cause.",
  ],
  lost: [
    "The connection was lost",
    "The network went away or the gateway was stopped. Check both, then press Talk for a new call.",
  ],
  unexpected: ["Something went wrong in this page", "Reload it and press Talk again."],
};

const ENDINGS = {
  client_gone: ["The gateway lost you", "It heard nothing from this browser for a while. Check the network, then press Talk for a new call."],
  max_seconds: ["The call reached its longest time", "The tenant's limit ended it. Press Talk for a new call."],
  provider_error: ["The provider failed", "The gateway cannot reach the AI provider, or lost its connection to it. Press Talk to try again; the upstream's log has the cause."],
  provider_refused: ["The provider refused the call", "Check the provider's key, model and quota; the upstream's log has its words."],
  revoked: ["The tenant or its key was removed", "The gateway's operator took it from the tenants file, which ends its calls."],
  drained: ["The gateway is being stopped or renewed", "It ended its calls. Press Talk again in a moment."],
  flood: ["The call was ended: far more data came than a call has", "The log of the media process says what it was."],
  setup_timeout: ["The call was not set up in time", "No connection came about within 10 seconds of the gateway's answer. Press Talk to try again."],
  dtls_failed: NO_ENCRYPTION,
  internal: ["The gateway failed", "The fault is on its side and in its log. Press Talk to try again."],
};

const MICROPHONE_ERRORS = {
  NotAllowedError: "permission",
  SecurityError: "permission",
  NotFoundError: "no_microphone",
  OverconstrainedError: "no_microphone",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** Endings that are not failures. */
const QUIET_ENDINGS = new Set(["max_seconds", "drained"]);

/** Whether this page can make calls at all; null when it can. */
export function obstacle() {
  if (!window.isSecureContext || !navigator.mediaDevices) return new Problem("insecure");
  if (!navigator.mediaDevices.getUserMedia || !window.RTCPeerConnection) return new Problem("unsupported");
  return null;
}

/** The Problem behind what `getUserMedia` threw. */
export function microphoneProblem(error) {
  return new Problem(MICROPHONE_ERRORS[error.name] ?? "unexpected", `${error.name}: ${error.message}`);
}

/** The Problem behind a refusal; `step` is `info`, `token` or `call`. */
export function refusalProblem(error, step) {
  if (error.name !== "ApiError") return error instanceof Problem ? error : new Problem("unexpected", String(error));
  const facts = [error.status, error.code, error.retryAfter && `again in ${error.retryAfter} s`].filter(Boolean);
  const detail = `${error.message} (${facts.join(", ")})`;
  if (error.status === 429) return new Problem("too_many", detail);
  if (error.status === 502 || error.status === 503 || error.status === 504) return new Problem("full", detail);
  if (step === "call") return new Problem("refused", detail);
  if (error.status === 404) return new Problem("no_demo", detail);
  if (error.code === "page_secret_wrong") return new Problem("page_secret");
  return new Problem(error.status === 403 ? "origin" : "token", detail);
}

/** The text for the server's reason for ending a call; null for a hang-up. `failed`: a failure, not a limit. */
export function ending(reason) {
  if (reason === "hangup") return null;
  const known = Object.hasOwn(ENDINGS, reason);
  const [title, advice] = known ? ENDINGS[reason] : ["The gateway ended the call", "Press Talk for a new call."];
  const failed = !QUIET_ENDINGS.has(reason);
  return { title, advice, detail: known ? "" : `Reason: ${reason}`, kind: reason, failed, tone: failed ? "problem" : "notice" };
}

/** What to show for a Problem. */
export function describe(problem) {
  const [title, advice] = CATALOGUE[problem.kind] ?? CATALOGUE.unexpected;
  const tone = problem.kind === "microphone_lost" ? "notice" : "problem";
  return { title, advice, detail: problem.detail, kind: problem.kind, failed: true, tone };
}
