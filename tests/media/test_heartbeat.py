from importlib.metadata import version

from services.media.heartbeat import installed_version


def test_a_heartbeat_tells_the_installed_version() -> None:
    assert installed_version() == version("hushgate")


def test_a_checkout_that_was_never_installed_beats_too() -> None:
    assert installed_version("hushgate-that-nobody-installed") == "0+unknown"
