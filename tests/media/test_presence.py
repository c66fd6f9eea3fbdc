import pytest

from services.media.core.network.presence import Presence, Recovered


def present() -> Presence:
    return Presence(lost_s=5, gone_s=30, received_at=100)


def test_a_client_that_is_heard_is_neither_lost_nor_gone() -> None:
    presence = present()
    for now in range(101, 200, 4):
        assert presence.on_timer(now=now) is None
        assert presence.packet_received(now=now) is None


def test_a_silent_client_is_lost_once_and_gone_later() -> None:
    presence = present()
    assert [presence.on_timer(now=now) for now in (104.9, 105, 110, 129.9, 130, 131)] == [
        None,
        "lost",
        None,
        None,
        "gone",
        "gone",
    ]


def test_a_lost_client_comes_back_by_its_packets() -> None:
    presence = present()
    presence.on_timer(now=106)
    assert presence.packet_received(now=107) == Recovered("packets", 7)
    assert presence.packet_received(now=107) is None
    assert presence.on_timer(now=111.9) is None
    assert presence.on_timer(now=112) == "lost"


@pytest.mark.parametrize("moves", [["address"], ["restart"], ["restart", "address"]])
def test_it_is_told_how_a_lost_client_comes_back(moves: list[str]) -> None:
    presence = present()
    presence.on_timer(now=106)
    for how in moves:
        presence.path_changed(how)  # type: ignore[arg-type]
    assert presence.packet_received(now=107) == Recovered(moves[0], 7)  # type: ignore[arg-type]


def test_a_move_of_a_client_that_was_never_lost_is_forgotten() -> None:
    presence = present()
    presence.path_changed("restart")
    presence.on_timer(now=101)
    presence.on_timer(now=106)
    assert presence.packet_received(now=107) == Recovered("packets", 7)
