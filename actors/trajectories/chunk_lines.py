"""A chunk's stored line, read for stitching: its steps, where they stand, and what may have a name twice. Pure.

Most lines are as clients write them, without white space, their members known. Of such a line no byte is read twice:

- What stands around the log, with `[]` in its place, is an object whose member `trajectory_log` is there. So whatever
  list really stands there is that member's value.
- The log is decoded into steps with all members that clients send, and none of them gets longer by being written again.
  So if all of them together are as long as the log, nothing was lost: no white space, no escape that need not be, no
  member that is not known, none that another of the same name replaced. Then each step is as long as it is written, and
  only what its members hold can have a name twice.

Any other line is read member by member, and all of its steps are looked through.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Final

import msgspec

from actors.envelopes.reading import Envelope, Member, read_envelope
from actors.envelopes.refusals import Refusal
from persistence.format import json_text
from persistence.format.step_runs import StepTexts

NESTING_MAX: Final = 200
"""What reading takes at most; the settings were no looser when the text was accepted."""


class ChunkLine(msgspec.Struct, frozen=True):
    """A chunk: what is said of all of it, and its steps in the order in which they stand in the line.

    `starts` and `ends` are the places of the steps in the line, `times` those that are given, as they are, and `tools`
    the JSON texts of what they name. `arguments` are those of all steps and `others` what else there is in the line
    that may have a name twice.
    """

    chunk_sequence: int
    contributor_id: str
    metadata: bytes
    metadata_start: int
    steps: Sequence[StepTexts]
    numbers: Sequence[int]
    tokens: int
    times: Sequence[float]
    tools: frozenset[bytes]
    starts: Sequence[int]
    ends: Sequence[int]
    arguments: Iterable[bytes]
    others: Iterable[bytes]


class _Head(msgspec.Struct, frozen=True):
    chunk_sequence: int
    contributor_id: str


class _StepFacts(StepTexts, frozen=True, gc=False, kw_only=True):
    step: int
    timestamp: float | None = None
    token_count: int = 0


class _Chunk(_Head, frozen=True):
    trajectory_log: list[_StepFacts]


_NULL: Final = msgspec.Raw(b"null")
_NONE: Final = msgspec.Raw()
_Text = str | None | msgspec.UnsetType
_Flag = bool | None | msgspec.UnsetType
_Count = int | msgspec.UnsetType


class _KnownStep(StepTexts, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A step with all members that clients send. A number that need not be an integer may be written longer: raw."""

    step: int
    timestamp: msgspec.Raw = _NULL
    token_count: _Count = msgspec.UNSET
    call_id: _Text = msgspec.UNSET
    source: _Text = msgspec.UNSET
    is_error: _Flag = msgspec.UNSET
    intent: _Text = msgspec.UNSET
    model: _Text = msgspec.UNSET
    agent: _Text = msgspec.UNSET
    truncated: _Flag = msgspec.UNSET
    original_token_count: _Count = msgspec.UNSET
    timestamp_adjusted: _Flag = msgspec.UNSET
    usage: msgspec.Raw = _NONE


_HEAD: Final = msgspec.json.Decoder(_Head)
_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_KNOWN_STEPS: Final = msgspec.json.Decoder(list[_KnownStep])
_TIMES: Final = msgspec.json.Decoder(list[float | None])
_RAW_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode

_LOG: Final = "trajectory_log"
_LOG_OPENS: Final = b'"trajectory_log":['
_LOG_ENDS: Final = b'],"received":'
"""In a journal's line, where the log is the client's last member."""
_BEFORE_ITEM: Final = re.compile(rb"[ \t\n\r,]*+")


def read_stored(text: bytes) -> Envelope:
    """Read a stored envelope; raises ValueError for what is none."""
    # That it is UTF-8, and how deep it nests, was found out before it was stored.
    envelope = read_envelope(text, nesting_max=NESTING_MAX, is_text=True)
    if isinstance(envelope, Refusal):
        raise ValueError(f"A stored envelope cannot be read: {envelope.reason}")  # noqa: TRY004 - the text is at fault
    return envelope


def present(envelope: Envelope, name: str) -> Member:
    """A member that each envelope of its kind has; raises ValueError where it is missing."""
    for member in envelope.members:
        if member.name == name:
            return member
    raise ValueError(f"A stored envelope has no {name}.")


def values_of(envelope: Envelope, *, but: str = "") -> Iterator[bytes]:
    """Yield the texts of a stored envelope's members; of their names none stands twice."""
    for member in envelope.members:
        if member.name != but:
            yield envelope.body[member.value_start : member.value_end]


def read_chunk(text: bytes) -> ChunkLine:
    """Read the line of a chunk; raises ValueError for a text that never passed the schema."""
    return _as_written(text) or _as_it_comes(text)


def _as_written(text: bytes) -> ChunkLine | None:
    """A line as clients write it; None for any other."""
    start = text.find(_LOG_OPENS) + len(_LOG_OPENS) - 1
    end = len(text) - 1 if text.endswith(b"]}") else text.rfind(_LOG_ENDS) + 1
    if not len(_LOG_OPENS) <= start < end:
        return None
    try:
        around = read_stored(b"%s[]%s" % (text[:start], text[end:]))
        metadata = present(around, "metadata")
        if present(around, _LOG).value_start != start or metadata.start > start:
            return None
        head = json_text.decode(_HEAD, around.body)
        steps = _KNOWN_STEPS.decode(memoryview(text)[start:end])
        times = _TIMES.decode(b"[%s]" % b",".join([step.timestamp for step in steps]))
    except ValueError:  # a step of another form, or half of a surrogate pair, or what is no chunk at all
        return None
    lengths = [*map(len, map(_encode, steps))]
    if sum(lengths) + max(0, len(lengths) - 1) + len(b"[]") != end - start:
        return None
    tools = frozenset([bytes(step.tool) for step in steps])
    starts, ends = _in_a_row(start + 1, lengths)
    return ChunkLine(
        chunk_sequence=head.chunk_sequence,
        contributor_id=head.contributor_id,
        metadata=around.body[metadata.value_start : metadata.value_end],
        metadata_start=metadata.value_start,
        steps=steps,
        numbers=[step.step for step in steps],
        tokens=sum([step.token_count or 0 for step in steps]),
        times=[time for time in times if time is not None],
        tools=tools,
        starts=starts,
        ends=ends,
        arguments=filter(None, (bytes(step.arguments) for step in steps)),
        others=chain(
            values_of(around), filter(None, tools), (bytes(step.usage) for step in steps if step.usage is not _NONE)
        ),
    )


def _as_it_comes(text: bytes) -> ChunkLine:
    envelope = read_stored(text)
    chunk = json_text.decode(_CHUNK, text)
    steps = chunk.trajectory_log
    metadata, log = present(envelope, "metadata"), present(envelope, _LOG)
    starts, ends = _items(text[log.value_start : log.value_end], log.value_start)
    assert len(steps) == len(starts)
    return ChunkLine(
        chunk_sequence=chunk.chunk_sequence,
        contributor_id=chunk.contributor_id,
        metadata=text[metadata.value_start : metadata.value_end],
        metadata_start=metadata.value_start,
        steps=steps,
        numbers=[step.step for step in steps],
        tokens=sum([step.token_count for step in steps]),
        times=[step.timestamp for step in steps if step.timestamp is not None],
        tools=frozenset([bytes(step.tool) for step in steps]),
        starts=starts,
        ends=ends,
        arguments=(),
        others=chain(
            (text[first:last] for first, last in zip(starts, ends, strict=True)), values_of(envelope, but=_LOG)
        ),
    )


def _in_a_row(start: int, lengths: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Where texts of these lengths begin and end that have one byte between each two, the first of them at `start`."""
    *starts, behind = accumulate([length + 1 for length in lengths], initial=start)
    del behind
    return starts, [first + length for first, length in zip(starts, lengths, strict=True)]


def _items(text: bytes, start: int) -> tuple[Sequence[int], Sequence[int]]:
    """Where the items of an array text begin and end, which itself begins at `start`.

    Where the text holds a lone surrogate, decoding sees a copy with U+FFFD in its place (`json_text`), of the same
    length: so the lengths of the copy's items lead through the text itself.
    """
    lengths = [len(memoryview(raw)) for raw in json_text.decode(_RAW_ITEMS, text)]
    if sum(lengths) + max(0, len(lengths) - 1) + len(b"[]") == len(text):
        return _in_a_row(start + 1, lengths)
    starts, ends, end = [], [], 1
    for length in lengths:
        before = _BEFORE_ITEM.match(text, end)
        assert before is not None, "white space and commas may be nothing at all"
        end = before.end() + length
        starts.append(start + before.end())
        ends.append(start + end)
    return starts, ends
