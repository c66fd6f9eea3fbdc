// Connects the parts of the page.

import { demoInfo, pageSecret } from "./api.js";
import { Call } from "./call.js";
import { LiveCall } from "./live.js";
import { describe, ending, obstacle, Problem, refusalProblem } from "./problems.js";
import { Strip } from "./strip.js";
import { Transcript } from "./transcript.js";
import { View } from "./view.js";

const STATUS = {
  microphone: "Allow the microphone when the browser asks.",
  token: "Calling …",
  call: "Calling …",
  connecting: "Connecting …",
  live: "Speak at any time. You can interrupt.",
  steady: "Speak at any time. You can interrupt.",
  unsteady: "The connection is unsteady …",
  reconnecting: "Reconnecting …",
};
const TRY = "Try “What time is it?”, “Count to ten” or “Tell me a long story”, and interrupt it.";
const TRANSCRIBER = "gpt-4o-mini-transcribe";
const PROVIDERS = { openai: "OpenAI", azure: "Azure OpenAI", xai: "xAI", rehearsal: "Rehearsal provider" };

const view = new View();
const strip = new Strip(view.strip);
const transcript = new Transcript(view.transcript, view.empty);

let state = "idle";
let call = null;
let live = null;

Object.defineProperty(window, "hushgate", {
  value: Object.freeze({
    get state() {
      return state;
    },
    get callId() {
      return call?.id ?? null;
    },
  }),
});

function enterState(next) {
  state = next;
  document.body.dataset.state = next;
}

async function showProvider() {
  try {
    const { provider, charged } = await demoInfo();
    const name = PROVIDERS[provider] ?? provider;
    if (provider === "rehearsal" && !charged) view.badge(`${name}: no key, no charge`, false);
    else view.badge(`${name}: ${charged ? "charged to your key" : "no charge"}`, charged);
    if (provider === "rehearsal") view.empty.textContent = `Press Talk, allow the microphone and speak. ${TRY}`;
  } catch (error) {
    view.badge("No provider to show", "unknown");
    view.problem(describe(refusalProblem(error, "info")));
  }
}

function talk() {
  const problem = obstacle();
  view.problem(problem && describe(problem));
  if (problem) return;
  enterState("connecting");
  view.button("cancel");
  live = new LiveCall({ view, strip, transcript });
  call = new Call(handlersOf(live));
  call.start();
}

function handlersOf(ours) {
  return {
    onStage: (stage) => enter(stage, ours),
    onMicrophone: (stream) => ours.hear("caller", stream),
    onAnswer: (stream) => {
      ours.hear("answer", stream);
      play(stream);
    },
    onServerEvent: (event) => {
      if (event.type === "session.created") askForTranscription(event.session);
      ours.serverEvent(event);
    },
    onStats: (stats) => {
      ours.stats(stats);
      reportStats(stats);
    },
    onMicrophoneLost: () => view.problem(describe(new Problem("microphone_lost"))),
    onEnd: (outcome) => end(outcome, ours),
  };
}

function enter(stage, ours) {
  view.status(STATUS[stage], stage);
  if (stage !== "live") return;
  enterState("live");
  view.button("hangup");
  ours.begin({ token: call.token, callId: call.id });
}

async function play(stream) {
  view.answer.srcObject = stream;
  try {
    await view.answer.play();
    view.askForSound(false);
  } catch (error) {
    // A call that has ended meanwhile interrupts play() too; only a refusal needs the caller.
    view.askForSound(error.name === "NotAllowedError");
  }
}

/** Requests transcription of the caller's speech, unless the session already has it: that keeps its own model. */
function askForTranscription(session) {
  if (session?.audio?.input?.transcription) return;
  const audio = { input: { transcription: { model: TRANSCRIBER } } };
  call.send({ type: "session.update", session: { type: "realtime", audio } });
}

/** The gateway's own client event: the ear delay, from which the gateway computes what was heard. */
function reportStats({ jitterBufferMs, playoutDelayMs, roundTripMs }) {
  if (jitterBufferMs === null || roundTripMs === null) return;
  call.send({
    type: "hushgate.client_stats",
    jitter_buffer_ms: Math.round(jitterBufferMs),
    round_trip_ms: Math.round(roundTripMs),
    ...(playoutDelayMs !== null && { playout_delay_ms: Math.round(playoutDelayMs) }),
  });
}

function end(outcome, ours) {
  enterState(outcome.state);
  ours.end();
  view.answer.srcObject = null;
  view.askForSound(false);
  view.button("talk");
  const words = outcome.problem ? describe(outcome.problem) : outcome.ending;
  view.problem(words, outcome.checks);
  if (state === "idle") view.status("Cancelled. Press Talk to call.");
  else if (outcome.checks) view.status("The call was not set up. Press Talk to try again.");
  else view.status(call.id ? "The call is over, its bill is being written …" : "Press Talk to try again.");
  if (call.id && state !== "idle") settle(outcome, ours);
}

/** Shows the bill of the call that has just ended, unless the next one has begun. */
async function settle(outcome, ours) {
  const isWanted = () => live === ours;
  const usage = await ours.bill({ token: call.token, callId: call.id }, isWanted);
  if (!isWanted()) return;
  if (!outcome.checks) view.status(usage ? "The call is over. Press Talk for another." : "The call is over, its bill has not come.");
  // The ledger may have a more exact reason for the end of a connection.
  const words = outcome.problem?.kind === "lost" && usage?.ended_reason ? ending(usage.ended_reason) : null;
  if (words && usage.ended_reason !== "client_gone") view.problem(words);
}

function begin() {
  enterState("idle");
  view.button("talk", false);
  const problem = obstacle();
  showProvider();
  if (problem) {
    view.status("This page cannot call from here.");
    view.problem(describe(problem));
    return;
  }
  view.button("talk");
  if (!pageSecret()) {
    view.status("This page cannot call yet.");
    view.problem(describe(new Problem("page_secret")));
    return;
  }
  view.status("Press Talk and speak.");
}

view.talk.addEventListener("click", () => {
  if (state === "connecting" || state === "live") call.hangUp();
  else talk();
});
view.soundOn.addEventListener("click", () => play(view.answer.srcObject));
window.addEventListener("pagehide", () => {
  if (state === "connecting" || state === "live") call.hangUp();
});

begin();
