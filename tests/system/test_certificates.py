"""Chromium with an RSA key from `RTCPeerConnection.generateCertificate`, in both roles of DTLS."""

import pytest
from playwright.async_api import Browser

from tests.system.gateway import Up

CALL = """async ({ key, setup }) => {
  const publicExponent = new Uint8Array([1, 0, 1]);
  const rsa = { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent, hash: "SHA-256" };
  const certificate = await RTCPeerConnection.generateCertificate(rsa);
  const peer = new RTCPeerConnection({ certificates: [certificate] });
  peer.addTrack(new AudioContext().createMediaStreamDestination().stream.getTracks()[0]);
  const channel = peer.createDataChannel("oai-events");
  const first = new Promise((resolve) => channel.addEventListener("message", (message) => resolve(message.data)));
  await peer.setLocalDescription();
  const offer = peer.localDescription.sdp.replaceAll("a=setup:actpass", `a=setup:${setup}`);
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/sdp" };
  const sent = await fetch("/v1/realtime/calls", { method: "POST", headers, body: offer });
  await peer.setRemoteDescription({ type: "answer", sdp: await sent.text() });
  const event = JSON.parse(await first);
  await fetch(`${sent.headers.get("Location")}/hangup`, { method: "POST", headers });
  peer.close();
  return event.type;
}"""


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_chromium_with_an_rsa_key_is_met_in_both_roles(up: Up, browser: Browser, setup: str) -> None:
    page = await browser.new_page()
    await page.goto(up.url)
    assert await page.evaluate(CALL, {"key": up.tenant_key, "setup": setup}) == "session.created"
    await page.close()
