// The page's elements and how they change. No decisions here: callers pass what to show.

import * as format from "./format.js";

const find = (id) => document.getElementById(id);

const BUTTONS = { talk: "Talk", cancel: "Cancel", hangup: "Hang up" };
const METER_SAYS_EVERY_MS = 500; // a value for screen readers need not follow every update

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function scale(element, share) {
  element.style.transform = `scaleX(${share.toFixed(3)})`;
}

const OUTCOMES = { passed: "works", failed: "failed", unknown: "not reached" };

function checkList(checks) {
  const list = document.createElement("ul");
  list.className = "checks";
  list.setAttribute("role", "list"); // Safari drops the role of lists without markers
  list.setAttribute("aria-label", "Checks of this call");
  for (const { name, outcome } of checks) {
    const item = document.createElement("li");
    item.dataset.outcome = outcome;
    item.textContent = `${name}: ${OUTCOMES[outcome]}`;
    list.append(item);
  }
  return list;
}

/** All text on the page except the strip and the conversation. */
export class View {
  talk = find("talk");
  soundOn = find("sound-on");
  answer = find("answer");
  strip = find("strip");
  transcript = find("transcript");
  empty = find("empty");
  bill = find("bill");
  #meterSaidAt = 0;

  badge(text, charged) {
    find("badge").dataset.charged = String(charged);
    set(find("badge-text"), text);
  }

  button(action, enabled = true) {
    this.talk.dataset.action = action;
    this.talk.disabled = !enabled;
    set(this.talk, BUTTONS[action]);
  }

  status(text, stage = "") {
    find("status").dataset.stage = stage;
    set(find("status"), text);
  }

  timer(ms) {
    set(find("timer"), format.clock(ms));
  }

  level(share, at) {
    scale(find("meter-fill"), share);
    if (share > 0 && at - this.#meterSaidAt < METER_SAYS_EVERY_MS) return;
    this.#meterSaidAt = at;
    find("meter").setAttribute("aria-valuenow", String(Math.round(share * 100)));
  }

  /** Shows `{title, advice, detail, kind, tone}` and, of a call that was not set up, its checks; null removes it. */
  problem(words, checks = null) {
    const box = find("problem");
    box.hidden = words === null;
    box.replaceChildren();
    if (words === null) return;
    box.dataset.tone = words.tone;
    box.dataset.kind = words.kind;
    for (const part of ["title", "advice", "detail"]) {
      if (!words[part]) continue;
      const line = document.createElement("p");
      line.className = `problem-${part}`;
      line.textContent = words[part];
      box.append(line);
    }
    if (checks) box.append(checkList(checks));
  }

  askForSound(wanted) {
    find("sound").hidden = !wanted;
  }

  cost(nano, note) {
    set(find("cost"), format.usd(nano));
    set(find("cost-note"), note);
  }

  share({ sentMs, heldMs }) {
    const total = sentMs + heldMs;
    find("share").dataset.empty = String(total < 1);
    scale(find("share-fill"), total < 1 ? 0 : sentMs / total);
    set(find("sent"), format.wholeSeconds(sentMs));
    set(find("held"), format.wholeSeconds(heldMs));
  }

  saved(nano, note) {
    set(find("saved"), nano === null ? "–" : format.usd(nano));
    set(find("saved-note"), note);
    find("saved-note").hidden = !note;
  }

  /** Facts that only an event reports: `name` is latency, stopped, unheard, network or questions. */
  fact(name, text) {
    set(find(name), text);
  }

  /** Where the strip ends: `now` while it moves. */
  stripEnd(text) {
    set(find("strip-end"), text);
  }

  clearFacts() {
    this.stripEnd("now");
    this.cost(0, "so far");
    this.share({ sentMs: 0, heldMs: 0 });
    this.saved(null, "");
    for (const name of ["unheard", "latency", "stopped", "network"]) this.fact(name, "–");
    this.fact("questions", "0");
    this.timer(0);
    this.bill.hidden = true;
  }
}
