from importlib.metadata import version

from services.runtime.version import installed_version


def test_a_process_knows_which_version_it_is() -> None:
    assert installed_version() == version("hushgate")


def test_a_checkout_that_was_never_installed_has_none_to_tell() -> None:
    assert installed_version("hushgate-that-nobody-installed") == "0+unknown"
