"""A line's text decoded into what is looked for in it, or one sentence that says why it is not what it should be."""

from typing import Annotated, Final, TypeVar

import msgspec

from persistence.format import json_text

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What the databases can hold, and no line that a server wrote goes beyond."""

SHOWN_CHARS_MAX: Final = 200
"""How much of what is wrong with a line is said: a name in it may be megabytes long."""


class LineError(ValueError):
    """A whole, checksummed line that is not what its journal holds: one sentence says what is wrong.

    No server of this version writes such a line: a later version did, or the line was changed together with its
    checksum.
    """

    def __init__(self, what: str) -> None:
        shown = what if len(what) <= SHOWN_CHARS_MAX else f"{what[:SHOWN_CHARS_MAX]}…"
        super().__init__(f"{shown}: written by a later version of this program, or damaged")


class Metadata(msgspec.Struct, frozen=True):
    """What is looked for in the metadata of a session."""

    provider: str
    model_engine: str


METADATA: Final = msgspec.json.Decoder(Metadata)


def decode(decoder: msgspec.json.Decoder[T], text: bytes, what: str) -> T:
    """What a decoder makes of a line, or of a member of one, which `what` names; raises `LineError`."""
    try:
        return json_text.decode(decoder, text)
    except msgspec.DecodeError as error:
        raise LineError(f"{what} cannot be read: {error}") from error
