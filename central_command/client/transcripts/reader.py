"""What every reader of an agent's own session files gives: a transcript, and how its lines are read.

Another agent is added in one file in this package: a class as in `TranscriptReader` and an object of it by the name of
`READER`, which `central_command.client.transcripts.providers` finds by itself.

*Memory.* A file is read once for what is to be said of it and once more for its steps, which are handed on one after
the other and never all held: only a file that is one JSON text (`one_text`) is in memory as a whole.

*Files that are still written.* Reading is idempotent: whoever follows a file reads it again from its start and takes
the steps that it has not seen. The first `settled_steps` of a transcript never change however the file grows, so those
may be sent at once; the rest may, in the cases that each reader names, when the session is over. The last line may be
half written: it is no damage, `is_incomplete` tells of it, and a later reading takes it in.
"""

import json
import math
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import BinaryIO, Protocol

import msgspec

from central_command.client.contract.steps import JsonObject, Step, StepList
from central_command.client.contract.usage import Usages
from central_command.client.transcripts.bounds import VALUES_MAX, has_values_over
from central_command.client.transcripts.left_out import LeftOut
from central_command.client.transcripts.splices import pieces_of

LINE_BYTES_MAX = 16 * 1024 * 1024
"""Longest line that is read, in bytes; longer ones are counted as unreadable."""
FILE_BYTES_MAX = 1024 * 1024 * 1024
"""Largest session file that is read, in bytes."""
_SKIPPED_BYTES = 65_536


class Usage(msgspec.Struct, frozen=True):
    """Tokens of a session that its agent reported; input counts what was read from and written to its cache too."""

    input_tokens: int = 0
    output_tokens: int = 0


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of one session of an agent, once its own file has been read.

    `session_key` is the agent's own id of the session, empty when the file names none; `model` likewise, and
    `parent_key`, that of the session whose agent began this one.
    `started_s` and `ended_s` are seconds since the epoch, UTC, of the first and last step, None when the file holds
    no times: its steps then stand at 0. `unreadable_lines` were no JSON objects, cut off or too large,
    `skipped_sidechain_events` belong to sub-agents whose work is not part of this session's steps. `settled_steps` is
    how many steps at the beginning will be the same, in all their members, however much is yet written to the end of
    the file. `is_incomplete` says that the file ends within a line. `left_out` counts, by a kind that a person can
    read ("compaction summaries", "hook progress"), what of the file is no step on purpose, or is not known to its
    reader. `usages` says with which steps usage was reported: that of which `usage` is the
    sum, and that of sub-agents whose messages stand in no file but this.
    """

    session_key: str
    provider: str
    model: str
    is_subagent: bool
    step_count: int
    started_s: float | None
    ended_s: float | None
    usage: Usage
    parent_key: str = ""
    unreadable_lines: int = 0
    skipped_sidechain_events: int = 0
    settled_steps: int = 0
    is_incomplete: bool = False
    left_out: Mapping[str, int] = {}
    usages: Usages = Usages()

    @property
    def complete_steps(self) -> int:
        """How many of the settled steps will have the same usage, too, however much is yet written."""
        open_from = self.usages.open_from
        return self.settled_steps if open_from is None else min(self.settled_steps, open_from)


Steps = Generator[Step, None, Transcript]
"""The steps of a file, in order; what it returns in the end is said of all of them."""


class Reading:
    """Steps that are iterated over once, after which `transcript` is there."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._transcript: Transcript | None = None

    def __iter__(self) -> Iterator[Step]:
        self._transcript = yield from self._steps

    @property
    def transcript(self) -> Transcript:
        """What was read."""
        assert self._transcript is not None, "not all steps were asked for"
        return self._transcript


class Head(msgspec.Struct, frozen=True):
    """The beginning of a file, by which its agent is known.

    `name` is the file's name without its folders, `events` the JSON objects on the whole lines of the beginning, `text`
    the beginning itself, which is all there is to see of a file that is one JSON text over many lines.
    """

    name: str
    events: tuple[JsonObject, ...]
    text: str


class TranscriptReader(Protocol):
    """Reads one agent's session files."""

    @property
    def provider(self) -> str:
        """The contract's name of the agent (`metadata.provider`)."""
        ...

    def recognises(self, head: Head) -> bool:
        """Whether a file that begins like this is one of this agent's."""
        ...

    def read(self, file: BinaryIO) -> Steps:
        """Read a whole session; damaged parts are counted, never raised. The same bytes always give the same steps."""
        ...


class JsonLines:
    """The JSON objects of a file, one a line, and how many records were none; blank lines are passed over.

    Of a damaged line, every whole record is read (`splices`): what was cut off before it costs itself alone. A line
    that is longer than LINE_BYTES_MAX, but for NULs at its beginning, or has more than VALUES_MAX values, counts as
    none.

    `unreadable` counts what has been iterated over so far. A last line that has no end yet and ends within an object is
    still being written: it sets `is_incomplete`, and that object is not counted. No beginning of an object is itself an
    object, so one that does parse is whole, whether or not its line's end has been written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.unreadable = 0
        self.is_incomplete = False

    def __iter__(self) -> Iterator[JsonObject]:
        readline = self._file.readline
        while line := readline(LINE_BYTES_MAX + 1):
            if len(line) > LINE_BYTES_MAX:
                line = self._without_nuls(line)
            if len(line) > LINE_BYTES_MAX:
                while line and not line.endswith(b"\n"):
                    line = readline(_SKIPPED_BYTES)
                self.unreadable += 1
            elif not line.isspace():
                value = decode_json(line)
                if isinstance(value, dict):
                    yield value
                else:
                    yield from self._records_of(line)

    def _without_nuls(self, line: bytes) -> bytes:
        """A line that is too long without the NULs that it begins with."""
        while len(line) > LINE_BYTES_MAX and line.startswith(b"\0") and not line.endswith(b"\n"):
            line = line.lstrip(b"\0") or b"\0"
            line += self._file.readline(LINE_BYTES_MAX + 1 - len(line))
        return line

    def _records_of(self, line: bytes) -> Iterator[JsonObject]:
        """The whole records of a damaged line."""
        is_ended = line.endswith(b"\n")
        pieces = pieces_of(line, is_ended=is_ended)
        for record in pieces.records:
            value = decode_json(record)
            if isinstance(value, dict):
                yield value
            else:
                self.unreadable += 1
        if is_ended or pieces.records:
            self.unreadable += pieces.lost + (not pieces.records and not pieces.lost)
        self.is_incomplete = pieces.is_cut or not (is_ended or pieces.records)


def decode_json(text: bytes) -> object:
    """The value of a JSON text; None, which is no session either, for what is no JSON or has over VALUES_MAX values."""
    if len(text) > VALUES_MAX and has_values_over(text, VALUES_MAX):
        return None
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Lone surrogates, for one, which real agents do write: the standard library takes them.
        try:
            return json.loads(_as_text(text), parse_float=_number, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return None


def _as_text(text: bytes) -> str:
    """UTF-8 as text; a byte that is none costs a character, U+FFFD, and not what it stands in."""
    try:
        return text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace")


def _number(text: str) -> float | int | None:
    """Numbers as ECMAScript writes them back: 1.0 is 1, and what is too large for a double is no number."""
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


_DECODER = msgspec.json.Decoder(float_hook=_number)


class Session(Protocol):
    """What a reader has made of a file's events, one after the other."""

    @property
    def session_key(self) -> str:
        """The agent's own id of the session, empty when there is none."""
        ...

    @property
    def is_subagent(self) -> bool:
        """Whether it is a sub-agent's."""
        ...

    @property
    def settled_steps(self) -> int:
        """How many steps will stay as they are."""
        ...

    @property
    def list(self) -> StepList:
        """The steps."""
        ...

    def model(self) -> str:
        """The model, empty when none is named."""
        ...


class EndingSession(Session, Protocol):
    """One that is told when its file is at its end, and counts what of it is no step."""

    @property
    def left_out(self) -> LeftOut:
        """What was no step, counted by kind."""
        ...

    def finish(self) -> None:
        """Take what waited for more."""
        ...


def most_named(models: Counter[str]) -> str:
    """The model of most messages, the first of them when two have as many; empty when none is named."""
    return models.most_common(1)[0][0] if models else ""


def transcript_of(
    session: Session,
    provider: str,
    *,
    unreadable_lines: int,
    is_incomplete: bool,
    sidechain_events: int = 0,
    left_out: Mapping[str, int] | None = None,
    parent_key: str = "",
) -> Transcript:
    """Return what is to be said of a session whose steps are all drained; most is about its file."""
    steps = session.list
    has_times = steps.has_times and steps.count > 0
    return Transcript(
        session_key=session.session_key,
        provider=provider,
        model=session.model(),
        is_subagent=session.is_subagent,
        step_count=steps.count,
        started_s=steps.first_s if has_times else None,
        ended_s=steps.last_s if has_times else None,
        usage=Usage(*steps.usage.total()),
        usages=steps.usage.all(),
        parent_key=parent_key if session.is_subagent else "",
        unreadable_lines=unreadable_lines,
        skipped_sidechain_events=sidechain_events,
        settled_steps=session.settled_steps,
        is_incomplete=is_incomplete,
        left_out=left_out or {},
    )


def ended(
    session: EndingSession, provider: str, *, unreadable_lines: int, is_incomplete: bool, parent_key: str = ""
) -> Steps:
    """The last steps of a session whose file is read to its end; returns what is to be said of it."""
    session.finish()
    yield from session.list.finish()
    return transcript_of(
        session,
        provider,
        unreadable_lines=unreadable_lines,
        is_incomplete=is_incomplete,
        left_out=session.left_out.counts(),
        parent_key=parent_key,
    )


def _no_number(_text: str) -> None:
    return None
