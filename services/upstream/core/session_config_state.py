"""The session's configuration: the client's, and the provider's, whose format and turn detection are ours."""

from collections.abc import Iterable
from functools import reduce

from services.contracts.grant import Grant
from services.contracts.ids import SessionId
from services.contracts.session.fields import default_session, pcm_format
from services.contracts.session.locks import LOCKS, LockedFieldError, refuse_locked
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import invalid_value, parse_response, parse_session
from services.contracts.session.sizes import MAX_UPDATED_BYTES, check_size
from services.contracts.session.tool_choice import check_tool_choice
from services.contracts.turn_detection import (
    OutOfBounds,
    TurnTerms,
    allowed,
    out_of_bounds,
    requested_in,
    turn_detection_in_force,
)
from services.upstream.core.json_paths import at_path, has_value, value_at, without_path
from services.upstream.core.json_shape import Json, fields, objects, text
from services.upstream.core.session_report import OPTIONAL_FIELDS, reported_values

_FIXED_FIELDS = frozenset({"type", "model"})
"""Fixed when the call is made; no update changes them."""
TURN_DETECTION = "audio.input.turn_detection"
_GATEWAY_FIELDS = (TURN_DETECTION, "audio.input.format", "audio.output.format")
"""The client's, which the provider never gets."""
VOICE = "audio.output.voice"
_CHOOSES_TOOLS = frozenset({"tools", "tool_choice", "prompt"})


class SessionConfigState:
    """One session's configuration in force, and the updates that its grant allows.

    Before the provider has confirmed the session, it is the granted one. All who read the session read it here.
    """

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
        self._reported: Json = {}  # by path: what the provider has otherwise
        self._effective = self._in_force(self._requested)

    @property
    def effective(self) -> Json:
        """The session object for the client: its own parameters, the granted and locked ones, and the defaults."""
        return self._effective

    @property
    def turn_detection(self) -> Json | None:
        """The turn detection in force, with all its fields; None: the client commits by itself."""
        detection = value_at(self._effective, TURN_DETECTION)
        return detection if isinstance(detection, dict) else None

    @property
    def transcription_model(self) -> str:
        """The model that transcribes the caller, which has its own prices; empty if none is named."""
        return text(fields(fields(fields(self._effective, "audio"), "input"), "transcription"), "model")

    @property
    def may_act_by_itself(self) -> bool:
        """Whether the provider may call tools by itself, which no cancel undoes: MCP, or what a stored prompt has."""
        is_mcp = any(text(tool, "type") == "mcp" for tool in objects(self._effective, "tools"))
        return is_mcp or self._effective.get("prompt") is not None

    @property
    def transcribes(self) -> bool:
        """Whether utterances are transcribed."""
        return value_at(self._effective, "audio.input.transcription") is not None

    @property
    def locked_paths(self) -> tuple[str, ...]:
        """The optional fields that the token locks: without them there is no session."""
        return tuple(path for path in OPTIONAL_FIELDS if self.is_locked(path))

    def is_locked(self, path: str) -> bool:
        """Return whether the token locks the field at ``path``, one that contains it, or one within it."""
        closed = [field for name in self._grant.locked if name in LOCKS for field in LOCKS[name].session]
        return any(f"{path}.".startswith(f"{field}.") or field.startswith(f"{path}.") for field in closed)

    def check_locks(self, event: Json) -> None:
        """Check that an event of the client changes nothing that its token locks.

        Raises:
            LockedFieldError: it does.
        """
        try:
            refuse_locked(event, locked=self._grant.locked, session=self._effective)
        except LockedFieldError:  # what is in force may also be repeated as it was asked for, without the defaults
            asked_for = merge_sessions(self._effective, self._requested)
            refuse_locked(event, locked=self._grant.locked, session=asked_for)

    def changes_of(self, parameters: Json, *, pending: Iterable[Json] = ()) -> Json:
        """Return what an update that `check_locks` has passed changes, which may be nothing; `apply` puts it in force.

        ``pending``: the changes of earlier updates that are not yet in force.

        Raises:
            InvalidSessionError: a field is unknown, or has a wrong value or one that the operator does not allow, or
                the session is too large or would choose a tool that it does not have.
        """
        changed = _settings(parse_session(parameters))
        for field in out_of_bounds(requested_in(changed), self.turn_terms):
            raise invalid_value(field.param, field.problem)
        updated = check_size(reduce(merge_sessions, (*pending, changed), self._requested), limit=MAX_UPDATED_BYTES)
        if _CHOOSES_TOOLS & changed.keys():
            check_tool_choice(updated)
        return changed

    def check_response_tools(self, parameters: Json, *, pending: Iterable[Json]) -> None:
        """Check that a response with ``parameters`` chooses no tool that neither they nor the session then have.

        Raises:
            InvalidSessionError: it does.
        """
        if _CHOOSES_TOOLS & parameters.keys():
            check_tool_choice(reduce(merge_sessions, (*pending, parameters), self._requested), root="response")

    def changes_fixed_voice(self, changed: Json, *, pending: Iterable[Json] = ()) -> bool:
        """Return whether ``changed`` asks for another voice than the one that was heard already."""
        if not self.voice_is_fixed or value_at(changed, VOICE) is None:
            return False
        before = reduce(merge_sessions, pending, self._effective)
        return value_at(changed, VOICE) != value_at(before, VOICE)

    def apply(self, changed: Json, *, report: Json | None = None) -> bool:
        """Put ``changed`` in force, and what the provider's ``report`` has otherwise; return whether that is new."""
        before = self._effective
        self._requested = merge_sessions(self._requested, changed)
        self._reported = {path: value for path, value in self._reported.items() if not has_value(changed, path)}
        wanted = self._in_force(self._requested)
        if report is not None:
            kept = {path: value for path, value in self._reported.items() if not has_value(report, path)}
            self._reported = {**kept, **reported_values(wanted, report)}
        others = (at_path(path, value) for path, value in self._reported.items())
        self._effective = reduce(merge_sessions, others, wanted)
        return self._effective != before

    def remove(self, path: str) -> None:
        """Remove a field of the client: the provider refuses it."""
        self._requested = without_path(self._requested, path)
        self._effective = self._in_force(self._requested)

    def refused_turn_detection(self) -> list[OutOfBounds]:
        """Return the fields of the granted turn detection that the operator does not allow: the defaults apply."""
        return list(out_of_bounds(requested_in(self._requested), self.turn_terms))

    def _in_force(self, requested: Json) -> Json:
        turns = turn_detection_in_force(allowed(requested_in(requested), self.turn_terms), self.turn_terms)
        effective = merge_sessions(self._defaults, requested)
        return merge_sessions(effective, {"audio": {"input": {"turn_detection": turns}}})

    def for_provider(self) -> Json:
        """Return the session for a new connection: the client's parameters, with our format and turn detection."""
        result = part_for_provider(self._requested)
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
        return without_path(_settings(parse_response(parameters)), "audio.output.format")


def part_for_provider(changed: Json) -> Json:
    """Return ``changed`` without the client's formats and turn detection, which the provider never gets."""
    result = reduce(without_path, _GATEWAY_FIELDS, changed)
    return {name: value for name, value in result.items() if name != "type" and (name, value) != ("audio", {})}


def _settings(session: Json) -> Json:
    """Return what ``session`` sets, without the nulls that set nothing."""
    return merge_sessions({}, {name: value for name, value in session.items() if name not in _FIXED_FIELDS})
