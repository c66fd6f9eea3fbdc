"""A client that receives no audio (a `sendonly` offer): nothing is played or counted as heard, events continue."""

from hypothesis import given
from hypothesis import strategies as st

from services.contracts.audio import DOWN_HZ
from services.contracts.frame import Flag, Kind
from services.contracts.ids import ItemId
from services.contracts.messages import PlayoutReport, expect
from services.contracts.usage import Meter
from services.media.core.commands import CallCommand, CountGateOpen, CountTurn, SendUp
from services.media.core.conversation.playout import MAX_REMEMBERED_ITEMS
from tests.media.drawn import A, B, Drawn, kinds, shown, types, ups


def unheard() -> Drawn:
    return Drawn(receives_audio=False, events=("gate",))


def reports(commands: list[CallCommand]) -> list[tuple[int, int, bool]]:
    found = [one for one in commands if isinstance(one, SendUp) and one.kind is Kind.PLAYOUT_REPORT]
    read = [(report.position, expect(PlayoutReport, report.payload)) for report in found]
    return [(position, report.heard_ms, report.cut) for position, report in read]


def test_nothing_of_an_answer_is_played_and_nothing_counts_as_heard() -> None:
    drawn = unheard()
    drawn.call.channel_opened()
    commands = drawn.audio(A, 50)
    assert reports(commands) == [(24_000, 0, False)]
    assert types(commands) == []  # no output_audio_buffer
    assert drawn.draw(">>>") == []
    assert not drawn.call.down.playout.pullable
    assert drawn.call.meters(now=drawn.now)[Meter.AUDIO_PLAYED_MS] == 0


def test_credit_goes_on_while_an_item_lasts() -> None:
    drawn = unheard()
    assert reports(drawn.audio(A, 10, end=False)) == [(4800, 0, False)]
    assert reports(drawn.audio(A, 10, position=4800, end=False)) == [(9600, 0, False)]
    assert reports(drawn.audio(A, 10, position=4800, end=False)) == [(9600, 0, False)]  # the same again
    assert reports(drawn.audio(A, 0, position=9600)) == [(9600, 0, False)]
    assert reports(drawn.audio(A, 1, position=9600)) == []  # after its end


def test_transcripts_and_the_end_of_a_response_follow_what_went_by() -> None:
    drawn = unheard()
    drawn.call.channel_opened()
    assert drawn.event({"type": "delta"}, item_id=A, position=4800, flags=Flag.CUTTABLE) == []
    assert types(drawn.audio(A, 10, end=False)) == ["delta"]
    assert drawn.event({"type": "response.done"}, item_id=A, position=9600) == []
    assert types(drawn.audio(A, 10, position=4800)) == ["response.done"]


def test_speech_during_an_answer_is_no_barge_in() -> None:
    drawn = unheard()
    drawn.answering(10, end=False)
    commands = drawn.draw("ss")  # the onset of a silent line, not that of a barge-in
    (opened,) = (command for command in commands if isinstance(command, CountGateOpen))
    assert opened.barge_in_stop_s is None
    assert shown(commands)[0]["barge_in"] is False
    assert Kind.PLAYOUT_REPORT not in kinds(commands)


def test_no_turn_is_answered_by_what_nobody_hears() -> None:
    drawn = unheard()
    drawn.draw("sss.....")
    drawn.answering(10)
    assert not any(isinstance(command, CountTurn) for command in drawn.draw(">>"))


def test_an_item_that_the_worker_stops_is_truncated_at_nothing() -> None:
    drawn = unheard()
    drawn.call.channel_opened()
    drawn.audio(A, 10, end=False)
    drawn.event({"type": "late"}, item_id=A, position=9600, flags=Flag.CUTTABLE)
    commands = drawn.frame(Kind.CLEAR, item_id=A)
    (report,) = ups(commands, Kind.PLAYOUT_REPORT)
    assert report.position == 4800
    assert expect(PlayoutReport, report.payload) == PlayoutReport(
        heard_ms=0, cut=True, cause="worker_clear", received=1
    )
    assert types(commands) == []
    assert drawn.audio(A, 10, position=4800) == []
    assert reports(drawn.frame(Kind.CLEAR, item_id=B)) == [(0, 0, True)]  # before any of its audio


def test_a_client_that_clears_its_buffer_has_none() -> None:
    drawn = unheard()
    drawn.audio(A, 10, end=False)
    clear = drawn.call.on_client_message('{"type":"output_audio_buffer.clear"}', now=drawn.now)
    assert Kind.PLAYOUT_REPORT not in kinds(clear)


def test_items_that_never_end_are_forgotten_in_the_end() -> None:
    playout = unheard().call.down.playout
    for number in range(MAX_REMEMBERED_ITEMS + 1):
        playout.pass_over(ItemId(f"item_{number}"), 480, end=False)
    assert (playout.played(ItemId("item_0")), playout.played(ItemId("item_1"))) == (0, 480)


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 60), st.integers(0, 40), st.booleans()), max_size=30))
def test_whatever_comes_nothing_is_played_and_credit_never_goes_back(
    frames: list[tuple[ItemId, int, int, bool]],
) -> None:
    drawn = unheard()
    reached: dict[str, int] = {}
    for item, start, length, end in frames:
        for command in drawn.audio(item, length, position=start * DOWN_HZ // 50, end=end):
            assert isinstance(command, SendUp)
            assert expect(PlayoutReport, command.payload).heard_ms == 0
            assert command.position >= reached.get(item, 0)
            reached[item] = command.position
    assert drawn.call.down.playout.played_ms == 0
    assert not drawn.call.down.playout.active
