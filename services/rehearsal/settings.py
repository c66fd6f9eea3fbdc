"""Settings of the rehearsal."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.rehearsal.core.answers import SESSIONS_PER_RECOGNISER, AnswersName
from services.rehearsal.core.faults import faults_of
from services.runtime.process.settings import ServiceSettings


class RehearsalSettings(ServiceSettings):
    """`REHEARSAL_*`."""

    model_config = SettingsConfigDict(env_prefix="REHEARSAL_", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr = SecretStr("")
    """The key that clients must send; empty: any is accepted."""
    voice: AnswersName = "full"
    """`full` recognises speech, `light` answers it with recorded answers, `echo` with the caller's own audio.
    `full` and `light` need the extra `voice`."""
    recognisers: int = Field(default=2, ge=1, le=64)
    """With `full`: processes that recognise speech, about 150 MB each."""
    sessions_per_recogniser: int = Field(default=SESSIONS_PER_RECOGNISER, ge=1, le=1000)
    """With `full`: open sessions per recogniser; further sessions get recorded answers."""
    max_session_s: float = Field(default=3600, gt=0, le=86_400)
    """A session ends with `session_expired` after this time."""
    faults: str = ""
    """Default faults of sessions, e.g. `stalling, seed=7`: see docs/rehearsal.md."""

    @field_validator("faults")
    @classmethod
    def _readable(cls, words: str) -> str:
        faults_of(words)
        return words
