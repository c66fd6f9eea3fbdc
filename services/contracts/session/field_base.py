"""The base of the models that validate parts of a session."""

from pydantic import BaseModel, ConfigDict

TEXT, LIST, OBJECT = "<text>", "<list>", "<object>"
"""Tags of the forms of JSON in which a value may be written; no field has such a name."""


class SessionPart(BaseModel):
    """Base of all parts of a session and of a response: strict types, no other fields, no input in error messages."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


def form_of(value: object) -> str:
    """Return the tag of the form of ``value``: a list, an object, or anything else."""
    if isinstance(value, list):
        return LIST
    return OBJECT if isinstance(value, dict | BaseModel) else TEXT
