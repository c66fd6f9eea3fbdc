"""Validation of what clients send, as strict as the provider's."""

from typing import TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from services.rehearsal.core.refusal import of_validation


class Strict(BaseModel):
    """Base of what clients send: unknown fields are refused, as the provider does."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


def null_only(sentence: str) -> BeforeValidator:
    """Accept null; refuse anything else with ``sentence``."""

    def check(value: object) -> None:
        if value is not None:
            raise ValueError(sentence)

    return BeforeValidator(check)


S = TypeVar("S", bound=Strict)


def checked(kind: type[S], raw: object) -> S:
    """Validate what a client sent.

    Raises:
        EventRefusedError: with the provider's code for the first problem.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as exc:
        raise of_validation(exc, raw) from None
