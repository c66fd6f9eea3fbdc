// The bill of a call: one row per meter that costs something or was used.

import { count, counted, seconds, usd } from "./format.js";

const NAMES = {
  audio_sent_ms: "Audio sent",
  audio_generated_ms: "Audio generated",
  session_ms: "Session",
  tokens_text_in: "Text in",
  tokens_text_in_cached: "Text in, cached",
  tokens_text_out: "Text out",
  tokens_audio_in: "Audio in",
  tokens_audio_in_cached: "Audio in, cached",
  tokens_audio_out: "Audio out",
  tokens_image_in: "Images in",
  tokens_image_in_cached: "Images in, cached",
  tokens_image_out: "Images out",
  transcribe_ms: "Transcription",
  transcribe_tokens_in: "Transcription in",
  transcribe_tokens_out: "Transcription out",
  items_created: "Items created",
  tool_calls: "Tool calls",
};

const TIME_UNITS = { 1000: "s", 60_000: "min", 3_600_000: "h" };
const COUNT_UNITS = { 1: "each", 1000: "1k", 1_000_000: "1M" };

function quantity({ meter, quantity: used }) {
  if (meter.endsWith("_ms")) return seconds(used);
  if (meter.endsWith("_bytes")) return counted(used, "byte");
  if (meter.includes("tokens")) return counted(used, "token");
  return count(used);
}

function price({ meter, price_usd: dollars, per }) {
  const unit = (meter.endsWith("_ms") ? TIME_UNITS : COUNT_UNITS)[per] ?? count(per);
  return unit === "each" ? `$${dollars} each` : `$${dollars} / ${unit}`;
}

function row(title, detail, cost) {
  const made = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = title;
  if (detail) {
    const small = document.createElement("small");
    small.textContent = detail;
    head.append(small);
  }
  const cell = document.createElement("td");
  cell.textContent = cost;
  made.append(head, cell);
  return made;
}

function paragraph(text) {
  const made = document.createElement("p");
  made.className = "bill-words";
  made.textContent = text;
  return made;
}

/** Remarks on the figures. */
function remarks(usage, final) {
  const said = [];
  if (usage.unpriced) said.push("Part of this call has no price in the book: its cost is not known.");
  if (!usage.charged) said.push("Nothing is really charged: this is what the call would cost at list prices.");
  if (usage.price_book) said.push(`Price book ${usage.price_book}.`);
  if (!final) said.push("The ledger has not closed this call yet: the sum may still grow.");
  return said.map(paragraph);
}

/** Fills `box` with the bill of `usage`; `final` is false while the ledger may still grow. */
export function showBill(box, usage, final) {
  const table = document.createElement("table");
  table.createCaption().textContent = usage.model ? `Bill · ${usage.model}` : "Bill";
  const body = table.createTBody();
  for (const line of usage.lines.filter(({ quantity: used }) => used > 0)) {
    body.append(row(NAMES[line.meter] ?? line.meter, `${quantity(line)} × ${price(line)}`, usd(line.cost_nano_usd, 6)));
  }
  if (body.rows.length === 0) body.append(row("Nothing was used", "", usd(0, 6)));
  table.createTFoot().append(row("Sum", "", usd(usage.cost_nano_usd, 6)));
  box.replaceChildren(table, ...remarks(usage, final));
  box.hidden = false;
}

/** Shown when no bill was received. */
export function showNoBill(box) {
  box.replaceChildren(paragraph("The bill has not come. The call is in the ledger as soon as metering answers again."));
  box.hidden = false;
}
