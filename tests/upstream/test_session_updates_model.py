"""Updates of the session, against a model of what the client sees."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.upstream.core.session_updates import MAX_PENDING_UPDATES
from tests.upstream.drive import Drive, Json, core_of, object_of
from tests.upstream.updates import refuse, report, sent_ids

# --- against a model


@dataclass
class UpdatesModel:
    """What the client should see, with a provider that answers in order."""

    in_force: dict[str, str] = field(default_factory=dict)
    pending: list[tuple[str, dict[str, str], bool]] = field(default_factory=list)  # id, changes, ours alone
    seen: list[tuple[str, object]] = field(default_factory=list)

    def request(self, event_id: str, changes: dict[str, str], *, own: bool) -> None:
        self.pending.append((event_id, changes, own))
        self.apply_own()

    def answer(self, *, confirm: bool) -> None:
        event_id, changes, _ = self.pending.pop(0)
        if confirm:
            self.in_force |= changes
            self.seen.append(("updated", dict(self.in_force)))
        else:
            self.seen.append(("error", event_id))
        self.apply_own()

    def apply_own(self) -> None:
        while self.pending and self.pending[0][2]:
            self.in_force |= self.pending.pop(0)[1]
            self.seen.append(("updated", dict(self.in_force)))


CHANGES = st.dictionaries(
    st.sampled_from(["instructions", "tool_choice", "eagerness"]), st.sampled_from("abc"), min_size=1
)
STEPS = st.lists(st.tuples(st.sampled_from(["request", "confirm", "refuse", "unsolicited"]), CHANGES), max_size=30)
CHOICES = {"a": "auto", "b": "none", "c": "required"}
EAGER = {"a": "auto", "b": "low", "c": "high"}


def as_session(values: dict[str, str]) -> Json:
    result: Json = {}
    if "instructions" in values:
        result["instructions"] = values["instructions"]
    if "tool_choice" in values:
        result["tool_choice"] = CHOICES[values["tool_choice"]]
    if "eagerness" in values:
        detection: Json = {"type": "semantic_vad", "eagerness": EAGER[values["eagerness"]]}
        result["audio"] = {"input": {"turn_detection": detection}}
    return result


def as_seen(drive: Drive) -> list[tuple[str, object]]:
    seen: list[tuple[str, object]] = []
    for published in drive.events:
        if published.event["type"] == "error":
            seen.append(("error", object_of(published.event, "error")["event_id"]))
            continue
        session = object_of(published.event, "session")
        detection = object_of(object_of(object_of(session, "audio"), "input"), "turn_detection")
        seen.append(("updated", (session["instructions"], session["tool_choice"], detection.get("eagerness"))))
    return seen


def as_triple(values: dict[str, str]) -> tuple[str, str, str | None]:
    eagerness = EAGER[values["eagerness"]] if "eagerness" in values else None
    return values.get("instructions", ""), CHOICES[values.get("tool_choice", "a")], eagerness


@given(STEPS)
def test_the_client_sees_each_update_confirmed_or_refused_in_order(steps: list[tuple[str, dict[str, str]]]) -> None:
    drive, model = Drive(core_of({"tools": [{"type": "function", "name": "look"}]})).ready(), UpdatesModel()
    unanswered: list[tuple[JsonValue, dict[str, str]]] = []  # the provider's
    provider: dict[str, str] = {}  # its session
    for number, (step, changes) in enumerate(steps):
        if step == "request" and len(model.pending) < MAX_PENDING_UPDATES:
            before = len(sent_ids(drive))
            drive.client("session.update", event_id=f"e{number}", session=as_session(changes))
            unanswered += [(event_id, changes) for event_id in sent_ids(drive)[before:]]
            model.request(f"e{number}", changes, own=set(changes) == {"eagerness"})
        elif step == "confirm" and unanswered:
            provider |= unanswered.pop(0)[1]
            report(drive, **{k: v for k, v in as_session(provider).items() if k != "audio"})
            model.answer(confirm=True)
        elif step == "refuse" and unanswered:
            refuse(drive, unanswered.pop(0)[0])
            model.answer(confirm=False)
        elif step == "unsolicited" and not unanswered:
            report(drive, **{k: v for k, v in as_session(provider).items() if k != "audio"})
    expected = [(kind, as_triple(v) if isinstance(v, dict) else v) for kind, v in model.seen]
    assert as_seen(drive) == expected
