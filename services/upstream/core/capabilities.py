"""What a provider can do: stated by its connector, read by the session core (docs/providers.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from services.upstream.core.json_shape import Json, fields

BillingBasis = Literal["tokens", "duration"]
Capability = Literal["manual_turns", "cancel", "truncate", "delete", "transcription", "tools"]
"""What a provider may lack. Labels of `hushgate_upstream_missing_capability_total`."""
MESSAGES: dict[Capability, str] = {
    "manual_turns": "This provider decides by itself when a turn ends and answers each: the buffer cannot be committed"
    " or cleared, turn detection, its create_response and its interrupt_response cannot be switched off, and there is"
    " no idle_timeout_ms.",
    "cancel": "This provider cannot cancel a response.",
    "truncate": "This provider cannot truncate an item: it remembers the whole answer.",
    "delete": "This provider cannot delete an item.",
    "transcription": "This provider does not transcribe what the caller says.",
    "tools": "This provider calls no tools.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What one provider can do. No field has a default: a connector states each of them."""

    manual_turns: bool
    """Its voice detection can be switched off, and its input buffer accepts commit and clear."""
    cancel: bool
    """It accepts `response.cancel`."""
    truncate: bool
    """It accepts `conversation.item.truncate`."""
    delete: bool
    """It accepts `conversation.item.delete`, also of an utterance and of what it has generated."""
    transcription: bool
    """It transcribes the caller when it is asked to."""
    tools: bool
    """It calls functions."""
    beside: bool
    """It generates text responses outside the conversation beside one of the conversation."""
    input_hz: int
    """The sample rate of the audio that it accepts: s16le mono."""
    output_hz: int
    """The sample rate of the audio that it sends: s16le mono."""
    meter: BillingBasis
    """What it bills: tokens that it states with each response, or the duration of audio and session."""
    session_limit_s: int | None
    """Seconds after which it closes a session; None: never within a call."""

    @property
    def takes_back(self) -> bool:
        """Whether a turn that was committed and answered can be undone."""
        return self.manual_turns and self.cancel and self.delete


@dataclass(frozen=True, slots=True)
class UnsupportedParameter:
    """A parameter of a session or response that needs a missing capability; ``param`` is its path within it."""

    capability: Capability
    param: str

    @property
    def message(self) -> str:
        """The message of the error that the client gets."""
        return MESSAGES[self.capability]


def unsupported(session: Json, capabilities: Capabilities) -> Iterator[UnsupportedParameter]:
    """Yield the parameters in ``session``, those of a session or a response, that the provider cannot fulfil."""
    given = fields(fields(session, "audio"), "input")
    if given.get("transcription") is not None and not capabilities.transcription:
        yield UnsupportedParameter("transcription", "audio.input.transcription")
    if session.get("tools") and not capabilities.tools:
        yield UnsupportedParameter("tools", "tools")
    if session.get("tool_choice") not in (None, "auto", "none") and not capabilities.tools:
        yield UnsupportedParameter("tools", "tool_choice")
    if "turn_detection" in given and not capabilities.manual_turns:
        requested = fields(given, "turn_detection")
        leaves_to_client = False in (requested.get("create_response"), requested.get("interrupt_response"))
        if given["turn_detection"] is None or leaves_to_client or requested.get("idle_timeout_ms") is not None:
            yield UnsupportedParameter("manual_turns", "audio.input.turn_detection")


def provider_session(session: Json, capabilities: Capabilities) -> Json:
    """Return ``session`` with the provider's own sample rates, and without turn detection if it cannot be set."""
    audio = fields(session, "audio")
    incoming: Json = {**fields(audio, "input"), "format": _pcm(capabilities.input_hz)}
    if not capabilities.manual_turns:
        incoming.pop("turn_detection", None)
    outgoing: Json = {**fields(audio, "output"), "format": _pcm(capabilities.output_hz)}
    return {**session, "audio": {**audio, "input": incoming, "output": outgoing}}


def _pcm(rate: int) -> Json:
    return {"type": "audio/pcm", "rate": rate}
