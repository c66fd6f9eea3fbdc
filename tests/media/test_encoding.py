import pytest

from services.media.core.rtp.encoding import ChangeEncoder, EncoderChoice, EncoderChooser, Profile


def feed(chooser: EncoderChooser, losses: list[float], *, start: float = 0.0) -> list[Profile | None]:
    """One report every 5 s."""
    changes = [chooser.peer_reported(loss, now=start + n * 5) for n, loss in enumerate(losses)]
    return [change.profile if change else None for change in changes]


@pytest.mark.parametrize(("choice", "profile"), [("auto", "lowdelay"), ("lowdelay", "lowdelay"), ("voip", "voip")])
def test_it_begins_as_it_was_set(choice: EncoderChoice, profile: Profile) -> None:
    assert EncoderChooser(choice).profile == profile


@pytest.mark.parametrize("choice", ["lowdelay", "voip"])
def test_what_was_set_stays(choice: EncoderChoice) -> None:
    chooser = EncoderChooser(choice)
    assert feed(chooser, [0.5] * 5 + [0.0] * 20) == [None] * 25
    assert chooser.profile == choice


def test_loss_that_stays_changes_to_the_one_that_can_repair() -> None:
    assert feed(EncoderChooser("auto"), [0.05, 0.05, 0.05, 0.05]) == [None, None, "voip", None]


def test_one_bad_report_changes_nothing() -> None:
    assert feed(EncoderChooser("auto"), [0.05, 0.0, 0.05, 0.0, 0.05, 0.0]) == [None] * 6


def test_it_goes_back_after_half_a_minute_without_loss() -> None:
    chooser = EncoderChooser("auto")
    assert feed(chooser, [0.1, 0.1])[-1] == "voip"
    changes = feed(chooser, [0.0] * 12, start=100)
    # the third report brings the smoothed loss below 1 %, then 30 s pass
    assert changes == [None] * 8 + ["lowdelay"] + [None] * 3


def test_loss_in_between_starts_the_half_minute_again() -> None:
    chooser = EncoderChooser("auto")
    feed(chooser, [0.1, 0.1])
    assert feed(chooser, [0.0] * 8 + [0.1] + [0.0] * 8, start=100) == [None] * 17


def test_after_going_back_loss_must_stay_again() -> None:
    chooser = EncoderChooser("auto")
    feed(chooser, [0.1, 0.1])
    assert "lowdelay" in feed(chooser, [0.0] * 20, start=100)
    assert feed(chooser, [0.2, 0.2], start=300) == [None, "voip"]


def test_loss_cannot_wait_and_quality_can() -> None:
    chooser = EncoderChooser("auto")
    chooser.peer_reported(0.2, now=0)
    assert chooser.peer_reported(0.2, now=5) == ChangeEncoder("voip", at_once=True)
    changes = [chooser.peer_reported(0, now=10 + n * 5) for n in range(20)]
    assert [change for change in changes if change] == [ChangeEncoder("lowdelay", at_once=False)]
