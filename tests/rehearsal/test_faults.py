import itertools
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from services.rehearsal.core.faults import NO_FAULTS, PRESETS, Faults, InvalidFaultsError, faults_in, faults_of
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.session import RehearsalSession, SessionTerms
from services.rehearsal.core.sound import to_ms
from services.rehearsal.settings import RehearsalSettings
from tests.rehearsal.driver import RehearsalEvent, SessionDriver, error_of, only, spoken_in

STORY = "tell me a long story"


def deliveries(words: str, *, story: str = STORY, seconds: float = 20) -> list[tuple[float, bytes]]:
    """Time of each delta of an answer, in seconds since the request, and its audio."""
    client = SessionDriver()
    client.configure(instructions=f"Be kind. Rehearsal faults: {words}.")
    client.text(story)
    began = client.now
    return [
        (client.now - began, spoken_in([event]))
        for event in _paced(client, seconds)
        if event["type"] == "response.output_audio.delta"
    ]


def _paced(client: SessionDriver, seconds: float) -> Iterator[RehearsalEvent]:
    until = client.now + seconds
    seen = len(client.events)
    client.send("response.create")
    while True:
        yield from client.events[seen:]
        seen = len(client.events)
        if client.session.next_due_s > until:
            return
        client.wait(max(0.0, client.session.next_due_s - client.now))


def sent_ms(came: list[tuple[float, bytes]], *, by_s: float) -> int:
    return to_ms(sum(len(pcm) for at, pcm in came if at <= by_s))


def pauses(came: list[tuple[float, bytes]]) -> list[float]:
    return [later - earlier for (earlier, _), (later, _) in itertools.pairwise(came)]


def test_a_slow_provider_begins_late_and_sends_less_than_is_played() -> None:
    came = deliveries("slow")
    assert came[0][0] == pytest.approx(1.5)
    assert 0.9 * 10_000 < sent_ms(came, by_s=11.5) < 10_000 + 500


def test_a_whole_answer_comes_at_once() -> None:
    assert sent_ms(deliveries("whole", seconds=1), by_s=0.5) > 30_000


def test_a_bursty_provider_sends_seconds_at_once_and_then_nothing() -> None:
    came = deliveries("bursty")
    assert 3000 <= sent_ms(came, by_s=0.1) < 3500
    assert max(pauses(came)) == pytest.approx(3 / 1.25, abs=0.5)


def test_a_stalling_provider_pauses_in_the_middle_of_an_answer() -> None:
    came = deliveries("stalling", seconds=40)
    stalls = [pause for pause in pauses(came) if pause > 0.4]
    assert len(stalls) > 5
    assert max(stalls) < 3.5


def test_jitter_makes_deltas_late_but_never_changes_their_order() -> None:
    even, uneven = deliveries("rate=130"), deliveries("jittery")
    assert b"".join(pcm for _, pcm in uneven).startswith(b"".join(pcm for _, pcm in even[:20]))
    late = [after - before for (before, _), (after, _) in zip(even, uneven, strict=False)]
    assert 0 <= min(late) < max(late) <= 0.6


def test_odd_deltas_split_samples_and_lose_none() -> None:
    lengths = [len(pcm) for _, pcm in deliveries("odd", story="hello", seconds=60)]
    assert {1, 2, 3} < set(lengths)
    assert sum(lengths) == sum(len(pcm) for _, pcm in deliveries("none", story="hello", seconds=60))


def test_the_same_seed_makes_the_same_faults() -> None:
    assert deliveries("stalling, seed=7") == deliveries("stalling seed=7")
    assert deliveries("stalling, seed=7") != deliveries("stalling, seed=8")


def test_a_written_answer_has_no_first_sound_to_be_late() -> None:
    client = SessionDriver()
    client.configure(instructions="rehearsal faults: first_ms=5000")
    client.text("hello")
    client.send("response.create", response={"output_modalities": ["text"]})
    client.wait(1)
    assert only(client.events, "response.done")


def test_the_instructions_of_one_response_count_for_it_alone() -> None:
    client = SessionDriver()
    client.text(STORY)
    client.send("response.create", response={"instructions": "rehearsal faults: first_ms=5000"})
    assert not spoken_in(client.wait(4))
    client.send("response.cancel")
    client.send("response.create")
    assert spoken_in(client.wait(1))


def test_unreadable_faults_are_refused_in_the_session_update() -> None:
    client = SessionDriver()
    refused = error_of(client.configure(instructions="Rehearsal faults: sleepy"))
    assert refused["param"] == "session.instructions"
    assert "stalling" in refused["message"]


def test_a_session_without_its_own_faults_has_those_of_the_process() -> None:
    client = SessionDriver()
    client.session = RehearsalSession(SessionTerms("gpt-realtime-2.1", faults=faults_of("first_ms=700")), client.at)
    client.text("hello")
    client.send("response.create")
    assert not spoken_in(client.wait(0.6))
    assert spoken_in(client.wait(0.75))


def test_presets_and_numbers_are_read_in_order() -> None:
    assert faults_of("") == faults_of("none") == NO_FAULTS
    assert faults_of("slow, rate=50 seed=3") == Faults(first_ms=1500, rate=50, seed=3)
    assert all(faults_of(name) == Faults(**chosen) for name, chosen in PRESETS.items())
    assert faults_in("Speak kindly about rehearsals.", faults_of("odd")) == Faults(odd=1)


@pytest.mark.parametrize("words", ["sleepy", "rate=0", "rate=x", "speed=5"])
def test_unknown_names_and_numbers_out_of_range_are_refused(words: str) -> None:
    with pytest.raises(InvalidFaultsError):
        faults_of(words)
    with pytest.raises(EventRefusedError):
        faults_in(f"rehearsal faults: {words}", NO_FAULTS)
    with pytest.raises(ValidationError):
        RehearsalSettings.model_validate({"faults": words})
