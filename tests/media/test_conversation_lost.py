from services.contracts.audio import DOWN_FRAME_SAMPLES
from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import PlayoutReport, UtteranceEnd, expect
from services.media.core.commands import EndCall
from tests.media.drawn import A, Drawn, kinds, ups


def test_a_lost_client_ends_its_utterance() -> None:
    drawn = Drawn()
    drawn.draw("sss")
    commands = drawn.call.client_lost(now=drawn.now)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.UTTERANCE_END]
    assert expect(UtteranceEnd, ups(commands, Kind.UTTERANCE_END)[0].payload).reason == "no_packets"


def test_a_lost_client_that_said_nothing_sends_nothing_up() -> None:
    drawn = Drawn()
    drawn.draw("...")
    assert drawn.call.client_lost(now=drawn.now) == []


def test_an_answer_waits_for_a_lost_client_and_goes_on_where_it_stopped() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.draw(".>>>")
    drawn.call.client_lost(now=drawn.now)
    assert not drawn.call.down.playout.pullable
    assert drawn.call.pull(now=drawn.now) == (None, [])
    drawn.call.client_recovered()
    assert drawn.call.down.playout.pullable
    pulled, _ = drawn.call.pull(now=drawn.now)
    assert pulled is not None
    assert (pulled.item_id, pulled.start) == (A, 3 * DOWN_FRAME_SAMPLES)


def test_what_was_sent_after_the_clients_last_sign_was_not_heard() -> None:
    drawn = Drawn()
    drawn.answering(500)
    drawn.draw(">" * 50 + "." + ">" * 250)
    drawn.call.client_lost(now=drawn.now)
    drawn.now += 20
    (report,) = ups(drawn.frame(Kind.CLEAR, item_id=A), Kind.PLAYOUT_REPORT)
    assert report.position == 300 * DOWN_FRAME_SAMPLES
    assert expect(PlayoutReport, report.payload) == PlayoutReport(
        heard_ms=1000, cut=True, cause="worker_clear", received=1
    )


def test_any_sign_of_the_client_counts_as_one() -> None:
    for sign in ("measured", "message"):
        drawn = Drawn()
        drawn.answering(500)
        drawn.draw(">" * 50)
        if sign == "measured":
            drawn.call.round_trip_measured(round_trip_ms=0, now=drawn.now)
        else:
            drawn.call.on_client_message('{"type":"x"}', now=drawn.now)
        drawn.draw(">" * 100)
        drawn.call.client_lost(now=drawn.now)
        (report,) = ups(drawn.frame(Kind.CLEAR, item_id=A), Kind.PLAYOUT_REPORT)
        assert expect(PlayoutReport, report.payload).heard_ms == 1000


def test_a_client_that_is_back_hears_from_there_on() -> None:
    drawn = Drawn()
    drawn.answering(500)
    drawn.draw("." + ">" * 100)
    drawn.call.client_lost(now=drawn.now)
    drawn.call.client_recovered()
    drawn.draw(">" * 10)
    (report,) = ups(drawn.frame(Kind.CLEAR, item_id=A), Kind.PLAYOUT_REPORT)
    assert expect(PlayoutReport, report.payload).heard_ms == 2000 + 200 - 60


def test_a_lost_client_stops_no_deadline() -> None:
    drawn = Drawn()
    drawn.call.media_connected()
    drawn.call.client_lost(now=drawn.now)
    drawn.now = 159.0
    drawn.frame(Kind.ALIVE)
    assert drawn.call.on_timer(now=160.0) == [EndCall(EndReason.MAX_SECONDS)]


def test_after_the_end_nobody_can_be_lost_and_nothing_is_played() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.call.end(EndReason.HANGUP, now=drawn.now)
    assert drawn.call.client_lost(now=drawn.now) == []
    assert drawn.call.pull(now=drawn.now) == (None, [])


def test_audio_that_waits_for_company_is_let_out_by_the_clock() -> None:
    drawn = Drawn()
    drawn.answering(0, end=False)
    drawn.call.on_worker_frame(drawn.half_a_frame(A), now=drawn.now)
    assert drawn.call.pull(now=drawn.now) == (None, [])
    drawn.call.on_timer(now=drawn.now + 1)
    assert drawn.call.down.playout.pullable
