// Formats numbers for display. Money is an integer of nano-dollars until it is formatted.

const NANO_DIGITS = 9;

/**
 * Nano-dollars as dollars, rounded half up, but never "$0.0000" for more than zero.
 * @param {number} nano integer
 * @param {number} digits digits after the point, at most 9
 */
export function usd(nano, digits = 4) {
  const unit = 10n ** BigInt(NANO_DIGITS - digits);
  const amount = BigInt(Math.trunc(nano));
  const size = amount < 0n ? -amount : amount;
  const rounded = (size + unit / 2n) / unit;
  if (amount > 0n && rounded === 0n) return `< ${usd(10 ** (NANO_DIGITS - digits), digits)}`;
  const text = rounded.toString().padStart(digits + 1, "0");
  const sign = amount < 0n && rounded > 0n ? "−" : "";
  return digits ? `${sign}$${text.slice(0, -digits)}.${text.slice(-digits)}` : `${sign}$${text}`;
}

/** Whole seconds, for figures that change. */
export function wholeSeconds(ms) {
  return `${Math.round(ms / 1000)} s`;
}

/** Seconds with one decimal, for final figures. */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

export function milliseconds(ms) {
  return `${Math.round(ms)} ms`;
}

export function count(number) {
  return number.toLocaleString("en-US");
}

/** "1 token", "2 tokens". */
export function counted(number, unit) {
  return `${count(number)} ${unit}${number === 1 ? "" : "s"}`;
}

/** A share from 0 to 1 as a percentage: whole, but never "0 %" for more than zero. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}

/** mm:ss, or h:mm:ss from an hour on. */
export function clock(ms) {
  const total = Math.max(0, Math.floor(ms / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${pad(minutes)}:${pad(total % 60)}`;
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(total % 60)}`;
}
