"""What all control messages share. JSON, distinguished by `type`; receivers ignore unknown fields.

Only add fields, with a default. A breaking change is a new `type`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

UnixMs = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
"""Milliseconds from 1970 to the end of the year 9999, which every calendar library and database supports."""


class Message(BaseModel):
    """Base of all control messages."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def encode(self) -> bytes:
        """Return the JSON for the bus."""
        return self.model_dump_json().encode()
