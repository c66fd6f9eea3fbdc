"""The session's configuration: the client's, and the provider's, whose format and turn detection are ours."""

from collections.abc import Mapping

from pydantic import JsonValue

from services.contracts.grant import Grant
from services.contracts.ids import SessionId
from services.contracts.session.fields import default_session, pcm_format
from services.contracts.session.locks import refuse_locked
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import invalid_value, parse_response, parse_session
from services.contracts.session.sizes import MAX_UPDATED_BYTES, check_size
from services.contracts.turn_detection import (
    OutOfBounds,
    TurnTerms,
    allowed,
    out_of_bounds,
    requested_in,
    turn_detection_in_force,
)
from services.upstream.core.json_shape import Json, fields, text

_FIXED_FIELDS = frozenset({"type", "model"})
"""Fixed when the call is made; no update changes them."""


class SessionConfigState:
    """One session's configuration, and the updates that its grant allows."""

    def __init__(
        self, *, session_id: SessionId, grant: Grant, model: str, expires_at: int, turn_terms: TurnTerms
    ) -> None:
        self._grant = grant
        self.turn_terms = turn_terms
        self.voice_is_fixed = False
        self.conversation_id = session_id.replace("sess_", "conv_", 1)
        self._defaults: Json = {
            **default_session(),
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "expires_at": expires_at,
        }
        self._requested = _settings(grant.session)
        self._effective = self._in_force(self._requested)

    @property
    def effective(self) -> Json:
        """The session object for the client: its own parameters, the granted and locked ones, and the defaults."""
        return self._effective

    @property
    def turn_detection(self) -> Json | None:
        """The turn detection in force, with all its fields; None: the client commits by itself."""
        detection = fields(fields(self._effective, "audio"), "input").get("turn_detection")
        return detection if isinstance(detection, dict) else None

    @property
    def transcription_model(self) -> str:
        """The model that transcribes the caller, which has its own prices; empty if none is named."""
        return text(fields(fields(fields(self._effective, "audio"), "input"), "transcription"), "model")

    @property
    def transcribes(self) -> bool:
        """Whether utterances are transcribed."""
        return fields(fields(self._effective, "audio"), "input").get("transcription") is not None

    def check_locks(self, event: Json) -> None:
        """Check that an event of the client changes nothing that its token locks.

        Raises:
            LockedFieldError: it does.
        """
        refuse_locked(event, locked=self._grant.locked, session=self._effective)

    def update(self, parameters: Json) -> Json:
        """Apply an update that `check_locks` has passed; return the part for the provider, which may be empty.

        Raises:
            InvalidSessionError: a field is unknown, or has a wrong value or one that the operator does not allow;
                nothing was applied.
        """
        changed = _settings(parse_session(parameters))
        for field in out_of_bounds(requested_in(changed), self.turn_terms):
            raise invalid_value(field.param, field.problem)
        if self.voice_is_fixed:
            changed = _without(changed, ("audio", "output", "voice"))
        requested = check_size(merge_sessions(self._requested, changed), limit=MAX_UPDATED_BYTES)
        self._requested = requested
        self._effective = self._in_force(requested)
        return _for_provider(changed)

    def refused_turn_detection(self) -> list[OutOfBounds]:
        """Return the fields of the granted turn detection that the operator does not allow: the defaults apply."""
        return list(out_of_bounds(requested_in(self._requested), self.turn_terms))

    def _in_force(self, requested: Json) -> Json:
        turns = turn_detection_in_force(allowed(requested_in(requested), self.turn_terms), self.turn_terms)
        effective = merge_sessions(self._defaults, requested)
        return merge_sessions(effective, {"audio": {"input": {"turn_detection": turns}}})

    def for_provider(self) -> Json:
        """Return the session for a new connection: the client's parameters, with our format and turn detection."""
        result = _for_provider(self._requested)
        audio = fields(result, "audio")
        wire: Json = {"format": pcm_format()}
        result["audio"] = {
            **audio,
            "input": {**fields(audio, "input"), **wire, "turn_detection": None},
            "output": {**fields(audio, "output"), **wire},
        }
        return {"type": "realtime", **result}

    def for_response(self, parameters: Json) -> Json:
        """Return the parameters of a `response.create` for the provider, whose output format is ours.

        Raises:
            InvalidSessionError: a parameter is unknown or has a wrong value.
        """
        return _without(_settings(parse_response(parameters)), ("audio", "output", "format"))


def _settings(session: Json) -> Json:
    """Return what ``session`` sets, without the nulls that set nothing."""
    return merge_sessions({}, {name: value for name, value in session.items() if name not in _FIXED_FIELDS})


def _for_provider(session: Json) -> Json:
    """Return ``session`` without the client's formats and turn detection, which the provider never gets."""
    result = _without(_without(session, ("audio", "input", "turn_detection")), ("audio", "input", "format"))
    result = _without(result, ("audio", "output", "format"))
    return {name: value for name, value in result.items() if value != {} and name != "type"}


def _without(source: Mapping[str, JsonValue], path: tuple[str, ...]) -> Json:
    """Return a copy of ``source`` without the value at ``path`` and without objects that this leaves empty."""
    name, *rest = path
    result = dict(source)
    inner = result.get(name)
    if not rest:
        result.pop(name, None)
    elif isinstance(inner, dict):
        result[name] = _without(inner, tuple(rest))
        if not result[name]:
            del result[name]
    return result
