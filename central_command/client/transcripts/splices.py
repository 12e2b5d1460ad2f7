"""Whole records on a line that is not one record: agents' writers get into each other's way, and into a crash's.

Seen in agents' files: a record that is cut off anywhere, with the next whole one right behind it, and sometimes its own
rest behind that; two whole records without a line's end between them; a run of NULs, which is what a file system
leaves of a lost write, before one; what a terminal was told (`ESC[?1004l`), or a warning, before one that was printed.
A record that was cut off is lost, and costs no other.

Where the next record begins is where the cut-off one stops being JSON: what comes behind a cut does not fit, whatever
was cut, within a few characters. The exception is a cut right behind a `:`, a `[` or a `,`, where a whole record fits
as a value: then it is the one that ends where nothing fits any more, and is told from what belongs to the record around
it by a member that only records have.

Each piece is read once and the next one begins where it stops, and how often more is tried is bounded: so the time
grows with the line's length and no more. What is in memory has the bounds of one line (`bounds`).
"""

import json
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from central_command.client.transcripts.bounds import VALUES_MAX, has_values_over

CUTS_MAX = 64
"""What was lost in more places of one line than these is not looked behind."""
_DENSE_PIECES_MAX = 8
"""Pieces of a line that has too many values for all of them to be in memory: each is counted before it is read."""
_TRIES_MAX = 1_000
_NOTICED_CHARS_MAX = 3
"""A cut in a string is noticed behind the `{"` that follows: there the string seems to end."""
_HALVED_CHARS_MAX = 12
"""Where half a literal, a number or an escape begins is where it is noticed: the cut comes so much later at most."""
_EMPTY = b"\0 \t\r\n"
_EMPTINESS = re.compile(rb"[\0\s]*")
_BEGINNING = b'{"'
_BEHIND_HALF = re.compile(rb'(?<=[0-9A-Za-z.+\\-])\{"')
_BEHIND_ANOTHER = re.compile(rb'(?<=[\0}])\{"')
_AS_A_VALUE = re.compile(rb'(?<=[:\[,])\{"(?:parentUuid|type|timestamp|id|uuid|sessionId|session_id)":')
_ANYWHERE = re.compile(rb'\{"')
_OF_RECORDS = frozenset({"uuid", "timestamp", "sessionId", "session_id"})
_DECODER = json.JSONDecoder()


class Pieces(msgspec.Struct, frozen=True):
    """What stands on a damaged line: its whole records, and how many others were lost.

    `is_cut` says that the line ends within a record: on a line without an end that one is still being written, and is
    not among the lost.
    """

    records: tuple[bytes, ...]
    lost: int
    is_cut: bool


def pieces_of(line: bytes, *, is_ended: bool) -> Pieces:
    """Take a line that is no record apart; `is_ended` when nothing more will be written to it."""
    found = tuple(_Line(line.rstrip(_EMPTY), is_ended=is_ended).pieces())
    records = tuple(line[start:end] for kind, start, end in found if kind == "whole")
    is_cut = bool(found) and found[-1][0] == "cut" and not is_ended
    return Pieces(records, sum(kind != "whole" for kind, _, _ in found) - is_cut, is_cut)


class _Line:
    """A line while it is taken apart, from its beginning on."""

    def __init__(self, line: bytes, *, is_ended: bool) -> None:
        self._line = line
        self._end = len(line)
        self._is_ended = is_ended
        # As Latin-1, a character is a byte, and all that matters to JSON's structure is ASCII.
        self._text = line.decode("latin-1")
        self._is_dense = line.count(b",") + line.count(b"[") + line.count(b"{") > VALUES_MAX
        self._cuts_max = _DENSE_PIECES_MAX if self._is_dense else CUTS_MAX
        self._tries_left = _DENSE_PIECES_MAX if self._is_dense else _TRIES_MAX

    def pieces(self) -> Iterator[tuple[Literal["whole", "lost", "cut"], int, int]]:
        """What follows on each other, with where it begins and ends."""
        start, cuts = self._behind_emptiness(0), 0
        while start < self._end and cuts < self._cuts_max:
            misfit, value = self._read(start)
            if value is not None:
                yield "whole", start, misfit
                start = self._behind_emptiness(misfit)
                cuts += self._is_dense
                continue
            cuts += 1
            within = self._record_before(misfit, start)
            after = within if within is not None else self._next_beginning(misfit, start)
            if within is not None:
                yield "lost", start, within
                yield "whole", within, misfit
                after = self._next_beginning(misfit, start)
            elif after == self._end and misfit >= self._end - _HALVED_CHARS_MAX:
                yield "cut", start, after
            else:
                yield "lost", start, after
            start = after
        if start < self._end:
            yield "lost", start, self._end

    def _read(self, start: int) -> tuple[int, dict[str, object] | None]:
        """Where the record that begins at `start` ends, and its value; None with where it stops to fit if it is none.

        That is the line's end for one that goes on there.
        """
        if not self._line.startswith(b"{", start):
            return start, None
        if self._is_dense and has_values_over(self._line[start:], VALUES_MAX):
            return self._end, None
        try:
            value, end = _DECODER.raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            return (self._end if error.msg.startswith("Unterminated string") else error.pos), None
        except (RecursionError, ValueError):
            return self._end, None
        return end, value

    def _next_beginning(self, misfit: int, start: int) -> int:
        """Where the next record begins behind the place where the one that began at `start` stops to fit."""
        if misfit >= self._end:
            return self._end
        if self._line[misfit] != 0:
            first = max(start + 1, misfit - _NOTICED_CHARS_MAX)
            near = self._line.rfind(_BEGINNING, first, misfit + len(_BEGINNING))
            if near != -1:
                return near
            last = misfit + _HALVED_CHARS_MAX + len(_BEGINNING)
            if misfit > start and (half := _BEHIND_HALF.search(self._line, misfit, last)):
                return half.start()
        behind = _BEHIND_ANOTHER.search(self._line, max(start + 1, misfit))
        if behind is not None:
            return behind.start()
        if self._line.startswith(b"{", start):
            return self._end
        printed = self._record_at_end(misfit)
        return self._end if printed is None else printed

    def _record_before(self, misfit: int, start: int) -> int | None:
        """Where a record begins that is a value in one that was cut off, and ends where nothing fits any more."""
        end = len(self._line[:misfit].rstrip(_EMPTY)) if misfit < self._end else self._end
        return self._record_among(_AS_A_VALUE.finditer(self._line, start + 1, end), end)

    def _record_at_end(self, start: int) -> int | None:
        """Where a record begins behind text of another kind, and ends with the line."""
        return self._record_among(_ANYWHERE.finditer(self._line, start), self._end)

    def _record_among(self, beginnings: Iterator[re.Match[bytes]], end: int) -> int | None:
        """The first beginning of a record that ends at `end`.

        At the end of a line to which more may be written, what ends there may be no record but a part of one.
        """
        if not self._line.endswith(b"}", 0, end) or (end == self._end and not self._is_ended):
            return None
        for match in beginnings:
            self._tries_left -= 1
            if self._tries_left < 0:
                break
            until, value = self._read(match.start())
            if until == end and value is not None and not _OF_RECORDS.isdisjoint(value):
                return match.start()
        return None

    def _behind_emptiness(self, start: int) -> int:
        found = _EMPTINESS.match(self._line, start)
        return found.end() if found else start
