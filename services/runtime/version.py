"""Which version of Hushgate runs."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str = "hushgate") -> str:
    """Return the installed version; a checkout that was never installed has none to tell."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0+unknown"
