"""Debian's Firefox with its default WebRTC settings, which use a network address, never loopback."""

from collections.abc import Iterator

import psutil
import pytest
from axe_playwright_python.base import AXE_SCRIPT

from services.callers.speech import synthesise
from tests.system.firefox import installed, open_firefox, running_firefox
from tests.system.gateway import Up

HAS_NETWORK = any(interface.isup for name, interface in psutil.net_if_stats().items() if name != "lo")
pytestmark = pytest.mark.skipif(not HAS_NETWORK, reason="Firefox makes no calls on a machine with loopback only")

# What the page asks for is what the gateway offers on loopback only.
ONLY_LOOPBACK = r"""
  const plain = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    return plain.call(this, { type, sdp: sdp.replace(/a=candidate:(?!.* (127|::1)).*\r\n/g, "") });
  };
"""


@pytest.fixture(scope="module")
def firefox() -> Iterator[str]:
    command = installed()
    if command is None:
        pytest.fail("Firefox is not installed: run `make test`, or sudo apt-get install firefox-esr")
    with running_firefox(command) as driver:
        yield driver


async def test_a_question_is_answered_and_the_answer_interrupted_in_firefox(up: Up, firefox: str) -> None:
    async with open_firefox(firefox, up.page_url) as caller:
        call = await caller.start_call()
        await caller.speak(await synthesise("tell me a long story", voice="slt"))
        started = await caller.event("output_audio_buffer.started")
        await caller.wait_for_audio()
        await caller.event("response.output_audio_transcript.delta", number=6)
        await caller.speak(await synthesise("what time is it", voice="slt"))
        await caller.event("output_audio_buffer.cleared", response_id=started["response_id"])
        cut = await caller.event("conversation.item.truncated")
        assert cut["audio_end_ms"] > 0
        await caller.event("output_audio_buffer.stopped")
        assert "cut here" in await caller.shows("transcript", "It is ")
        assert await caller.shows("questions") == "2"
        stats = await caller.sent("hushgate.client_stats")
        assert {"jitter_buffer_ms", "round_trip_ms"} <= set(stats)
        await caller.press("talk")
        assert "Sum" in await caller.shows("bill")
        violations = await caller.tab.evaluate(f"(() => {{ {AXE_SCRIPT}; return axe.run() }})")
        assert [violation["id"] for violation in violations["violations"]] == []
    assert call.startswith("rtc_")


async def test_firefox_with_a_gateway_on_loopback_only_says_why(up: Up, firefox: str) -> None:
    async with open_firefox(firefox, up.page_url, script=ONLY_LOOPBACK) as caller:
        await caller.press("talk")
        message = await caller.shows("error", "UDP to the gateway (ICE): failed")
        assert "makes no calls to a loopback address" in message
        assert "127.0.0.1" in message
