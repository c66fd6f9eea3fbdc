// Why no packet was received: the addresses in the answer, and which of them this browser tried.

import { Problem } from "./problems.js";

const CANDIDATE = /^a=candidate:\S+ \d+ udp \d+ (\S+) (\d+) typ/gim;

const isLoopback = (address) => address.startsWith("127.") || address === "::1";
const written = ({ address, port }) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);

/** The UDP addresses in the SDP of an answer, each once though every section names them: `[{address, port}]`. */
function candidates(sdp) {
  const found = [...sdp.matchAll(CANDIDATE)].map(([, address, port]) => ({ address, port: Number(port) }));
  return [...new Map(found.map((at) => [written(at), at])).values()];
}

/** The Problem of a peer connection whose ICE checks failed for all addresses of the gateway. */
export async function pathProblem(peer) {
  const given = candidates(peer.remoteDescription?.sdp ?? "");
  const entries = [...(await peer.getStats()).values()];
  const remotes = new Map(entries.filter(({ type }) => type === "remote-candidate").map((entry) => [entry.id, entry]));
  const pairs = entries.filter(({ type }) => type === "candidate-pair");
  const tried = new Set(pairs.map(({ remoteCandidateId: id }) => remotes.get(id)).filter(Boolean).map(written));
  const facts = given.map((at) => `${written(at)} ${tried.has(written(at)) ? "tried, no answer" : "not tried by this browser"}`);
  const detail = `Addresses of the gateway: ${facts.join("; ") || "none"}`;
  return new Problem(kindOf({ given, tried, own: entries.some(({ type }) => type === "local-candidate") }), detail);
}

function kindOf({ given, tried, own }) {
  if (!own) return "no_network";
  const onlyLoopback = given.length > 0 && given.every(({ address }) => isLoopback(address));
  if (onlyLoopback && !isLoopback(location.hostname) && location.hostname !== "localhost") return "advertised_loopback";
  if (onlyLoopback && tried.size === 0) return "loopback_untried";
  return "no_path";
}
