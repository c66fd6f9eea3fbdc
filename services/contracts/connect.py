"""How a leg connects, by transport: the offer from signaling to a media process, and the answer.

A new transport is a new member of each union. An old receiver parses it as `OtherOffer` and refuses the transport,
instead of the whole message as malformed.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, computed_field, model_validator

WEBRTC: Literal["webrtc"] = "webrtc"


class _Connect(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class WebRtcOffer(_Connect):
    """A peer connection. ``sdp`` is sanitised."""

    transport: Literal["webrtc"] = WEBRTC
    sdp: str


class WebRtcAnswer(_Connect):
    """The SDP answer; the leg waits for its peer."""

    transport: Literal["webrtc"] = WEBRTC
    sdp: str


class OtherOffer(_Connect):
    """An offer of a transport that this release does not support, with all its fields."""

    model_config = ConfigDict(extra="allow")

    transport: str


class OtherAnswer(_Connect):
    """The answer of a transport that this release does not support, with all its fields."""

    model_config = ConfigDict(extra="allow")

    transport: str


def _tag(connect: Any) -> str:  # noqa: ANN401 - JSON, or one of the classes above
    transport = connect.get("transport") if isinstance(connect, dict) else getattr(connect, "transport", None)
    return WEBRTC if transport == WEBRTC else "other"


LegOffer = Annotated[
    Annotated[WebRtcOffer, Tag(WEBRTC)] | Annotated[OtherOffer, Tag("other")],
    Discriminator(_tag),
]
LegAnswer = Annotated[
    Annotated[WebRtcAnswer, Tag(WEBRTC)] | Annotated[OtherAnswer, Tag("other")],
    Discriminator(_tag),
]


def _from_sdp(message: Any) -> Any:  # noqa: ANN401 - as pydantic hands it over
    """Convert a message of an earlier release, which has ``sdp`` and no transport."""
    if isinstance(message, dict) and "connect" not in message and "sdp" in message:
        return message | {"connect": {"transport": WEBRTC, "sdp": message["sdp"]}}
    return message


class ConnectsLeg(BaseModel):
    """Mixin for messages that offer a leg."""

    connect: LegOffer

    _read_sdp = model_validator(mode="before")(_from_sdp)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sdp(self) -> str:
        """The SDP for processes of earlier releases; empty for another transport, which they refuse."""
        return self.connect.sdp if isinstance(self.connect, WebRtcOffer) else ""


class AnswersLeg(BaseModel):
    """Mixin for messages that answer for a leg."""

    connect: LegAnswer

    _read_sdp = model_validator(mode="before")(_from_sdp)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sdp(self) -> str:
        """The SDP for processes of earlier releases; empty for another transport."""
        return self.connect.sdp if isinstance(self.connect, WebRtcAnswer) else ""
