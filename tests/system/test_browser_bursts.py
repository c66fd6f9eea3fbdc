"""A browser that sends more than the provider takes: what waits, waits in its own `bufferedAmount`."""

from typing import Any

from playwright.async_api import Browser

from tests.system.gateway import Up

CALL = """async ({token, history, picture}) => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver('audio', {direction: 'recvonly'});
  const channel = peer.createDataChannel('oai-events'), events = [];
  let heard = () => {};
  channel.onmessage = ({data}) => { events.push(JSON.parse(data)); heard(); };
  const until = async (wanted) => {
    while (!events.some(wanted)) await new Promise((resolve) => { heard = resolve; });
    return events.find(wanted);
  };
  await peer.setLocalDescription();
  const answer = await fetch('/v1/realtime/calls', {
    method: 'POST', body: peer.localDescription.sdp,
    headers: {Authorization: `Bearer ${token}`, 'Content-Type': 'application/sdp'},
  });
  await peer.setRemoteDescription({type: 'answer', sdp: await answer.text()});
  await until((event) => event.type === 'session.created');
  const send = (event) => channel.send(JSON.stringify(event));
  const create = (id, content) => send({
    type: 'conversation.item.create', event_id: id, item: {id, type: 'message', role: 'user', content: [content]},
  });
  for (let n = 0; n < history; n++) create(`old_${n}`, {type: 'input_text', text: `line ${n} `.repeat(500)});
  create('picture', {type: 'input_image', image_url: 'data:image/png;base64,' + 'A'.repeat(picture)});
  create('last', {type: 'input_text', text: 'and this'});
  const buffered = channel.bufferedAmount;
  await until(({type, item}) => type === 'conversation.item.added' && item.id === 'last');
  peer.close();
  return {
    buffered,
    largest: peer.sctp?.maxMessageSize,
    added: events.filter(({type}) => type === 'conversation.item.added').map(({item}) => item.id),
    refused: events.filter(({type}) => type === 'error').map(({error}) => error.event_id),
  };
}"""


async def test_a_browser_sends_a_history_and_a_picture_at_once(up: Up, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(up.page_url)
    headers = {"Authorization": f"Bearer {up.tenant_key}"}
    silent = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    minted = await page.request.post(f"{up.url}/v1/realtime/client_secrets", headers=headers, data={"session": silent})
    token = (await minted.json())["value"]
    seen: dict[str, Any] = await page.evaluate(CALL, {"token": token, "history": 600, "picture": 250_000})
    history = [f"old_{number}" for number in range(600)]
    assert seen["buffered"] > 1_000_000
    assert seen["largest"] >= 256 * 1024, "what Chromium sends at most"
    assert seen["added"] in ([*history, "picture", "last"], [*history, "last"])
    assert seen["refused"] == [] if "picture" in seen["added"] else ["picture"]
    await page.close()
