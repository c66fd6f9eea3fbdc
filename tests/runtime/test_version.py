from importlib.metadata import version

from services.runtime.process.version import installed_version


def test_the_installed_version_is_returned() -> None:
    assert installed_version() == version("hushgate")


def test_a_checkout_that_was_never_installed_has_no_version() -> None:
    assert installed_version("hushgate-that-nobody-installed") == "0+unknown"
