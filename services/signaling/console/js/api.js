// The HTTP of a call: the two demo endpoints of `hushgate up`, then the public wire only.

import { Problem } from "./problems.js";

/** An answer other than 2xx, in the provider's shape `{"error": {"message", "type", "code", "param"}}`. */
export class ApiError extends Error {
  constructor(status, error, retryAfter) {
    super(error.message ?? `HTTP ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.type = error.type ?? null;
    this.code = error.code ?? null;
    this.retryAfter = retryAfter;
  }
}

async function readError(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // A proxy in front may answer with a page of its own; the status is sufficient.
  }
  return new ApiError(response.status, error, response.headers.get("Retry-After"));
}

/** `fetch` that fails with an ApiError on a refusal and with a Problem when there is no answer. */
async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(navigator.onLine ? "gateway_unreachable" : "offline");
  }
  if (!response.ok) throw await readError(response);
  return response;
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` });

/**
 * The secret that the page was opened with, `/#SECRET`. It leaves the address bar, where others could read it, and stays
 * with this tab until that is closed.
 */
export function pageSecret() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem("page-secret", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem("page-secret") ?? "";
}

/** What the page shows before a call: `{provider, charged, model}`. */
export async function demoInfo() {
  return (await request("/demo/info")).json();
}

/** From the demo endpoint: a single-use token `ek_…` and the configuration of the peer connection: `{token, ice}`. */
export async function mintToken(signal) {
  const body = await (await request("/demo/token", { method: "POST", headers: bearer(pageSecret()), signal })).json();
  const { ice_servers: iceServers = [], ice_transport_policy: iceTransportPolicy = "all" } = body.hushgate ?? {};
  return { token: body.value, ice: { iceServers, iceTransportPolicy } };
}

/** Posts the offer: `{callId, sdp}` of the answer. */
export async function placeCall(token, offer, signal) {
  const response = await request("/v1/realtime/calls", {
    method: "POST",
    headers: { ...bearer(token), "Content-Type": "application/sdp" },
    body: offer,
    signal,
  });
  const location = response.headers.get("Location") ?? "";
  return { callId: location.split("/").pop(), sdp: await response.text() };
}

/** Posts a new offer of the same peer after an ICE restart: the SDP of the answer. */
export async function restartCall(token, callId, offer, signal) {
  const response = await request(`/v1/realtime/calls/${encodeURIComponent(callId)}/restart`, {
    method: "POST",
    headers: { ...bearer(token), "Content-Type": "application/sdp" },
    body: offer,
    signal,
  });
  return response.text();
}

/** Ends a call; with `keepalive` the request completes even if the page is closed. */
export async function hangUp(token, callId) {
  await request(`/v1/realtime/calls/${encodeURIComponent(callId)}/hangup`, {
    method: "POST",
    headers: bearer(token),
    keepalive: true,
  });
}

/** Cost and meters of the token's own call. */
export async function callUsage(token, callId, signal) {
  return (await request(`/v1/calls/${encodeURIComponent(callId)}/usage`, { headers: bearer(token), signal })).json();
}
