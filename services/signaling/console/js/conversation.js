// The conversation by the protocol's events: the items in order, with speaker, text and cuts. Independent of the page.

/**
 * A line: `kind` user, assistant, tool or note; `text` null until it is known; `cutMs` null unless cut;
 * `speaking` while more of it is to come.
 */
function newLine(id, kind) {
  return { id, kind, text: null, cutMs: null, speaking: false };
}

const INCOMPLETE = {
  max_output_tokens: "it reached the longest length that the session allows",
  content_filter: "the provider's content filter stopped it",
};
const BUSY = "(not recognised: the rehearsal is busy and answers with recorded answers)";
const ROLES = { user: "user", assistant: "assistant" };

/** Takes server events; `lines` is the conversation in order. */
export class Conversation {
  #order = []; // every item, also those that are not shown: others are placed behind them
  #byId = new Map();
  #utterance = null; // an item that speech has begun and nothing has committed yet
  #notes = 0;

  get lines() {
    return this.#order.filter((line) => line.kind !== "hidden" && !isEmpty(line));
  }

  /** How many utterances of the caller were sent: each is answered once. */
  get questions() {
    return this.lines.filter(({ kind }) => kind === "user").length;
  }

  apply(event) {
    if (Object.hasOwn(this.#handlers, event.type)) this.#handlers[event.type](event);
  }

  /** The call is over: nothing more will come for what is open. */
  close() {
    for (const line of this.#order) {
      line.speaking = false;
      if (line.kind === "user" && line.text === null) line.text = "(not transcribed)";
    }
  }

  #handlers = {
    "input_audio_buffer.speech_started": ({ item_id: id }) => {
      this.#dropUtterance();
      this.#utterance = id;
      this.#place(id, "user").speaking = true;
    },
    "input_audio_buffer.speech_stopped": ({ item_id: id }) => this.#update(id, { speaking: false }),
    "input_audio_buffer.committed": ({ item_id: id, previous_item_id: previous }) => {
      if (this.#utterance === id) this.#utterance = null;
      this.#place(id, "user", previous).speaking = false;
    },
    "input_audio_buffer.cleared": () => this.#dropUtterance(),
    "conversation.item.added": (event) => this.#added(event.item, event.previous_item_id),
    "conversation.item.created": (event) => this.#added(event.item, event.previous_item_id),
    "conversation.item.deleted": ({ item_id: id }) => this.#remove(id),
    "conversation.item.truncated": ({ item_id: id, audio_end_ms: ms }) => this.#update(id, { cutMs: ms, speaking: false }),
    "conversation.item.input_audio_transcription.delta": ({ item_id: id, delta }) => this.#append(id, "user", delta),
    "conversation.item.input_audio_transcription.completed": ({ item_id: id, transcript }) => {
      this.#place(id, "user").text = transcript.trim() || "(no words)";
    },
    "conversation.item.input_audio_transcription.failed": ({ item_id: id, error }) => {
      this.#place(id, "user").text = error?.code === "rehearsal_busy" ? BUSY : "(could not be transcribed)";
    },
    "response.output_item.added": ({ item }) => this.#added(item),
    "response.output_audio_transcript.delta": (event) => this.#spoken(event),
    "response.output_audio_transcript.done": (event) => this.#said(event.item_id, event.transcript),
    "response.output_text.delta": (event) => this.#spoken(event),
    "response.output_text.done": (event) => this.#said(event.item_id, event.text),
    "response.output_item.done": ({ item }) => this.#update(item.id, { speaking: false }),
    "response.function_call_arguments.done": ({ item_id: id, name, arguments: given }) => {
      this.#place(id, "tool").text = `${name ?? "function"}(${given ?? ""})`;
    },
    "response.done": ({ response }) => this.#done(response),
    "hushgate.gate": (event) => {
      if (event.state === "stopped") this.#update(event.item_id, { cutMs: event.heard_ms, speaking: false });
    },
    error: ({ error }) => this.#note(`The provider says: ${error.message}`),
  };

  #added(item, previous) {
    if (item.type === "message") this.#addedMessage(item, previous);
    else if (item.type === "function_call") {
      const line = this.#place(item.id, "tool", previous);
      line.text ??= `${item.name ?? "function"}(…)`;
    } else if (item.type === "function_call_output") {
      this.#place(item.id, "tool", previous).text = `→ ${item.output}`;
    } else this.#place(item.id, "hidden", previous);
  }

  #addedMessage(item, previous) {
    const line = this.#place(item.id, ROLES[item.role] ?? "hidden", previous);
    const given = (item.content ?? []).map((part) => part.text ?? part.transcript ?? "").join("");
    if (given && line.text === null) line.text = given;
    else if (item.role === "assistant" && item.status === "in_progress") line.speaking = true;
  }

  #spoken({ item_id: id, delta }) {
    this.#append(id, "assistant", delta);
    const line = this.#byId.get(id);
    line.speaking = line.cutMs === null;
  }

  #said(id, text) {
    const line = this.#place(id, "assistant");
    line.text = text;
    line.speaking = false;
  }

  #done({ status, status_details: details, output }) {
    for (const item of output ?? []) this.#update(item.id, { speaking: false });
    if (status === "failed") this.#note(`The answer failed: ${details?.error?.message ?? details?.reason ?? "no reason given"}`);
    if (status === "incomplete") this.#note(`The answer is incomplete: ${INCOMPLETE[details?.reason] ?? details?.reason ?? "no reason given"}.`);
  }

  /** Returns the line, created if new; `previous` is the item before it, null at the beginning. */
  #place(id, kind, previous) {
    let line = this.#byId.get(id);
    if (!line) {
      line = newLine(id, kind);
      this.#byId.set(id, line);
      this.#order.push(line);
    }
    if (previous === null || (previous !== id && this.#byId.has(previous))) {
      this.#order.splice(this.#order.indexOf(line), 1);
      this.#order.splice(this.#order.indexOf(this.#byId.get(previous)) + 1, 0, line);
    }
    return line;
  }

  #append(id, kind, delta) {
    const line = this.#place(id, kind);
    line.text = (line.text ?? "") + delta;
  }

  #update(id, changes) {
    const line = this.#byId.get(id);
    if (line) Object.assign(line, changes);
  }

  #remove(id) {
    const line = this.#byId.get(id);
    if (!line) return;
    this.#byId.delete(id);
    this.#order.splice(this.#order.indexOf(line), 1);
  }

  /** Speech that was too short to be committed leaves no line. */
  #dropUtterance() {
    if (this.#utterance) this.#remove(this.#utterance);
    this.#utterance = null;
  }

  #note(text) {
    this.#notes += 1;
    this.#place(`note-${this.#notes}`, "note").text = text;
  }
}

/** An answer that is over and has neither words nor a cut has nothing to show. */
function isEmpty({ kind, text, cutMs, speaking }) {
  return kind === "assistant" && !text && cutMs === null && !speaking;
}
