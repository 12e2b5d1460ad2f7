"""Stitching: a closed session's stored envelopes become one trajectory (contract, "TrajectoryStitcher"). Pure.

What clients sent stays the bytes that they sent: steps, metadata, outcome and feedback are cut out of the stored texts
and put into the trajectory's line as they are. Only what is counted or sorted by is decoded.

Chunks are ordered by `chunk_sequence`, then their steps by step number. Both sorts are stable: chunks of the same
`chunk_sequence` stay in the order in which they were accepted, and steps of the same number, within a chunk or in
different ones, stay in the order of their chunks. None is dropped, because nothing tells which would be the right one.
"""

import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal
from actors.trajectories.coordination import CoordinationLink
from actors.trajectories.enrichment import Enrichment
from actors.trajectories.scoring import Score
from persistence.format import json_text
from persistence.format.records import ClosedBy, SequenceGap


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """A whole session. Members of type bytes are JSON text as the client sent it; `model` is its `model_engine`.

    `metadata`, `contributor_id`, `provider`, `model` and `task_complexity` are the first chunk's; `close_metadata` and
    `outcome` are SESSION_CLOSE's, None when the server closed the session. `tools` is sorted and holds each once.
    """

    session_id: str
    contributor_id: str
    provider: str
    model: str
    task_complexity: str | None
    metadata: bytes
    close_metadata: bytes | None
    steps: tuple[bytes, ...]
    outcome: bytes | None
    total_tokens: int
    tools: tuple[str, ...]
    step_type_counts: dict[str, int]
    total_chunks: int
    gaps: tuple[SequenceGap, ...]
    feedback: tuple[bytes, ...]
    closed_by: ClosedBy


def stitch(
    *,
    session_id: str,
    chunks: Iterable[bytes],
    close: bytes | None,
    feedback: Iterable[bytes],
    gaps: Iterable[SequenceGap],
    closed_by: ClosedBy,
) -> Trajectory | None:
    """Stitch a session, or None when it has no chunk.

    `chunks`, `close` (a SESSION_CLOSE) and `feedback` are JSON object texts that passed the schema, such as journal
    lines, in the order in which they were accepted. Raises ValueError for a text that never passed it.
    """
    ordered = sorted((_read_chunk(text) for text in chunks), key=operator.attrgetter("chunk_sequence"))
    if not ordered:
        return None
    first = ordered[0]
    steps = sorted((step for chunk in ordered for step in chunk.steps), key=operator.attrgetter("number"))
    metadata = json_text.decode(_METADATA, first.metadata)
    closing = None if close is None else _read(close)
    return Trajectory(
        session_id=session_id,
        contributor_id=first.contributor_id,
        provider=metadata.provider,
        model=metadata.model_engine,
        task_complexity=metadata.task_complexity,
        metadata=first.metadata,
        close_metadata=None if closing is None else closing.member("metadata"),
        steps=tuple(step.text for step in steps),
        outcome=None if closing is None else closing.member("outcome"),
        total_tokens=sum(step.tokens for step in steps),
        tools=tuple(sorted({step.tool for step in steps if step.tool})),
        step_type_counts=dict(Counter(step.type for step in steps)),
        total_chunks=len(ordered),
        gaps=tuple(gaps),
        feedback=tuple(_member(_read(text), "feedback") for text in feedback),
        closed_by=closed_by,
    )


def trajectory_members(
    trajectory_id: str,
    trajectory: Trajectory,
    score: Score,
    links: Sequence[CoordinationLink],
    enrichment: Enrichment,
) -> bytes:
    """The members of the trajectory's journal line, without braces and without line breaks."""
    members: dict[str, bytes] = {
        "trajectory_id": _encode(trajectory_id),
        "session_id": _encode(trajectory.session_id),
        "contributor_id": _encode(trajectory.contributor_id),
        "metadata": trajectory.metadata,
        "close_metadata": b"null" if trajectory.close_metadata is None else trajectory.close_metadata,
        "trajectory_log": b"[" + b",".join(trajectory.steps) + b"]",
        "outcome": b"null" if trajectory.outcome is None else trajectory.outcome,
        "total_steps": _encode(len(trajectory.steps)),
        "total_tokens": _encode(trajectory.total_tokens),
        "unique_tools_used": _encode(trajectory.tools),
        "step_type_distribution": _encode(trajectory.step_type_counts),
        "total_chunks": _encode(trajectory.total_chunks),
        "sequence_gaps": _encode(trajectory.gaps),
        "coordination_links": _encode(links),
        "feedback": b"[" + b",".join(trajectory.feedback) + b"]",
        "closed_by": _encode(trajectory.closed_by),
        "score": _encode(score),
        "enrichment": _encode(enrichment),
    }
    text = b",".join(b'"%s":%s' % (name.encode(), value) for name, value in members.items())
    if b"\n" in text or b"\r" in text:
        # Inside a JSON string a line break is always escaped, so these are white space between tokens.
        text = text.translate(_LINE_BREAKS_AS_SPACES)
    return text


# Reading what is stored.


class _Step(msgspec.Struct, frozen=True, gc=False):
    text: bytes
    number: int
    type: str
    tokens: int
    tool: str | None


class _Chunk(msgspec.Struct, frozen=True):
    chunk_sequence: int
    contributor_id: str
    metadata: bytes
    steps: list[_Step]


class _StepFacts(msgspec.Struct, frozen=True):
    step: int
    type: str
    token_count: int = 0
    # The schema does not name it, so it may be anything, even what cannot be decoded, such as the number 1e400.
    tool: msgspec.Raw = msgspec.Raw()


class _ChunkFacts(msgspec.Struct, frozen=True):
    chunk_sequence: int
    contributor_id: str
    trajectory_log: list[_StepFacts]


class _MetadataFacts(msgspec.Struct, frozen=True):
    provider: str
    model_engine: str
    task_complexity: str | None = None


_CHUNK = msgspec.json.Decoder(_ChunkFacts)
_METADATA = msgspec.json.Decoder(_MetadataFacts)
_TEXT = msgspec.json.Decoder(str)
_RAW_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_BEFORE_ITEM = re.compile(rb"[ \t\n\r,]*+")
_NESTING_MAX = 200  # what reading takes at most; the settings were no looser when the text was accepted
_LINE_BREAKS_AS_SPACES = bytes.maketrans(b"\n\r", b"  ")

_encode = msgspec.json.Encoder().encode


def _read_chunk(text: bytes) -> _Chunk:
    envelope = _read(text)
    facts = json_text.decode(_CHUNK, text)
    steps = [
        _Step(item, step.step, step.type, step.token_count, _tool_name(bytes(step.tool)))
        for item, step in zip(_items(_member(envelope, "trajectory_log")), facts.trajectory_log, strict=True)
    ]
    return _Chunk(facts.chunk_sequence, facts.contributor_id, _member(envelope, "metadata"), steps)


def _tool_name(value: bytes) -> str | None:
    return json_text.decode(_TEXT, value) if value.startswith(b'"') else None


def _read(text: bytes) -> Envelope:
    envelope = read_envelope(text, nesting_max=_NESTING_MAX)
    if isinstance(envelope, Refusal):
        raise ValueError(f"A stored envelope cannot be read: {envelope.reason}")  # noqa: TRY004 - the text is at fault
    return envelope


def _member(envelope: Envelope, name: str) -> bytes:
    value = envelope.member(name)
    if value is None:
        raise ValueError(f"A stored envelope has no {name}.")
    return value


def _items(text: bytes) -> Iterator[bytes]:
    """The items of an array text, byte for byte.

    Where the text holds a lone surrogate, decoding sees a copy with U+FFFD in its place (`json_text`), of the same
    length: so the lengths of the copy's items lead through the text itself, from which they are taken.
    """
    end = 1
    for raw in json_text.decode(_RAW_ITEMS, text):
        before = _BEFORE_ITEM.match(text, end)
        assert before is not None, "white space and commas may be nothing at all"
        start, end = before.end(), before.end() + len(memoryview(raw))
        yield text[start:end]
