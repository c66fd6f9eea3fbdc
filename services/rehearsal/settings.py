"""Settings of the rehearsal."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.rehearsal.core.answers import SESSIONS_PER_EAR, AnswersName
from services.rehearsal.core.faults import faults_of
from services.runtime.settings import ServiceSettings


class RehearsalSettings(ServiceSettings):
    """`REHEARSAL_*`."""

    model_config = SettingsConfigDict(env_prefix="REHEARSAL_", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr = SecretStr("")
    """The key that clients must bring; empty: any."""
    voice: AnswersName = "full"
    """`full` recognises speech and answers it, `light` answers speech with recorded answers, `echo` with its own sound.
    `full` and `light` need the extra `voice`."""
    ears: int = Field(default=2, ge=1, le=64)
    """With `full`: processes that listen, some 150 MB each."""
    sessions_per_ear: int = Field(default=SESSIONS_PER_EAR, ge=1, le=1000)
    """With `full`: so many open sessions a listening process serves; further sessions get recorded answers."""
    max_session_s: float = Field(default=3600, gt=0, le=86_400)
    """A session ends with `session_expired` after this."""
    faults: str = ""
    """How every session misbehaves that does not say otherwise, e.g. `stalling, seed=7`: see docs/rehearsal.md."""

    @field_validator("faults")
    @classmethod
    def _readable(cls, words: str) -> str:
        faults_of(words)
        return words
