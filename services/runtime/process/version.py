"""The installed version of Hushgate."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str = "hushgate") -> str:
    """Return the installed version; a placeholder in a checkout that was never installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0+unknown"
