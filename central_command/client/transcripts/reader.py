"""What every reader of an agent's own session files gives: a transcript, and how its lines are read.

Another agent is added in one file: a class with `provider` and `read` as in `TranscriptReader`, and its entry in
`central_command.client.transcripts.providers`.
"""

import json
import math
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import msgspec

from central_command.client.transcripts.steps import JsonObject, Step

LINE_BYTES_MAX = 64 * 1024 * 1024
"""Longest line that is read; longer ones are counted as unreadable."""
FILE_BYTES_MAX = 1024 * 1024 * 1024
"""Largest session file that is read: its steps are held in memory."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens that the model itself reported; input counts what was read from and written to its cache too."""

    input_tokens: int = 0
    output_tokens: int = 0


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """One session of an agent, read from its own file.

    `session_key` is the agent's own id of the session, empty when the file names none; `model` likewise.
    `started_s` and `ended_s` are seconds since the epoch, UTC, of the first and last step, None when the file holds
    no times: its steps then stand at 0. `unreadable_lines` were no JSON objects, `skipped_sidechain_events` belong
    to sub-agents whose work is not part of this session's steps.
    """

    session_key: str
    provider: str
    model: str
    is_subagent: bool
    steps: tuple[Step, ...]
    started_s: float | None
    ended_s: float | None
    usage: Usage
    unreadable_lines: int = 0
    skipped_sidechain_events: int = 0


class TranscriptReader(Protocol):
    """Reads one agent's session files."""

    @property
    def provider(self) -> str:
        """The contract's name of the agent (`metadata.provider`)."""
        ...

    def read(self, file: BinaryIO) -> Transcript:
        """Read a whole session; damaged parts are counted, never raised."""
        ...


def read_json_lines(file: BinaryIO) -> Iterator[JsonObject | None]:
    """The JSON objects of `file`, one a line, None for a line that is none; blank lines are passed over."""
    while line := file.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES_MAX)
            yield None
        elif not line.isspace():
            yield _decode(line)


def _decode(line: bytes) -> JsonObject | None:
    try:
        value = json.loads(line, parse_float=_number, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(text: str) -> float | int | None:
    """Numbers as ECMAScript writes them back: 1.0 is 1, and what is too large for a double is no number."""
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _no_number(_text: str) -> None:
    return None
