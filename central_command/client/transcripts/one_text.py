"""Session files that are one JSON text over many lines, as older versions of some agents write them."""

from typing import BinaryIO

from central_command.client.contract.steps import JsonObject
from central_command.client.transcripts.bounds import TEXT_BYTES_MAX
from central_command.client.transcripts.reader import decode_json

_BEGINNING_BYTES = 64 * 1024


def beginning_of(file: BinaryIO) -> str:
    """The first characters of a file, by which a text that is still being written is known."""
    file.seek(0)
    return file.read(_BEGINNING_BYTES).decode("utf-8", "replace")


def read_one_text(file: BinaryIO) -> JsonObject | list[object] | None:
    """The value of a file that is one JSON text over many lines; None for any other; the file is at its start again.

    None, too, for a text of more than TEXT_BYTES_MAX, and for a file whose first line is an object.
    """
    first = file.readline(TEXT_BYTES_MAX)
    value = None
    if not isinstance(decode_json(first), dict):
        text = first + file.read(TEXT_BYTES_MAX + 1 - len(first))
        value = decode_json(text) if len(text) <= TEXT_BYTES_MAX else None
    file.seek(0)
    return value if isinstance(value, dict | list) else None
