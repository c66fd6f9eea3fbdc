"""The gate's settings: those of the media process, from its environment variables `MEDIA_VAD*`, and changes to try."""

from collections.abc import Mapping

from services.media.settings import MediaSettings
from services.runtime.errors import SettingsError
from services.runtime.process.settings import inherited_environment, load

_PREFIX = "MEDIA_"
_GROUP = "VAD_"
_UNUSED = {"MEDIA_ADVERTISED_ADDRESS": "loopback"}
"""A media process cannot do without; nothing is sent here."""


def gate_settings(changes: Mapping[str, str], environment: Mapping[str, str] | None = None) -> MediaSettings:
    """Return the media process's settings with ``changes``, by names such as `HANGOVER_MS` or `VAD_HANGOVER_MS`.

    ``environment``: default is this process's own.

    Raises:
        SettingsError: a name is unknown, or a value is refused by the rules of the media process.
    """
    present = inherited_environment("media") if environment is None else environment
    given = {name: value for name, value in present.items() if name.upper().startswith(f"{_PREFIX}VAD")}
    return load(MediaSettings, _UNUSED | given | {env_name(name): value for name, value in changes.items()})


def env_name(name: str) -> str:
    """Return the environment variable that ``name`` stands for: with or without the prefixes, in any case.

    Raises:
        SettingsError: there is no such setting of the gate.
    """
    known = {field.upper() for field in MediaSettings.model_fields if field.startswith("vad")}
    plain = name.upper().removeprefix(_PREFIX)
    for candidate in (plain, _GROUP + plain):
        if candidate in known:
            return _PREFIX + candidate
    short = ", ".join(sorted(setting.removeprefix(_GROUP) for setting in known))
    raise SettingsError(f"unknown setting {name}: there are {short}")
