"""A line whose content was erased: what stands in its place, and what is still counted of it. Pure.

It has the number, the time, the batch and the length of the line before, filled up with spaces, which JSON allows
between its members. So every place that the index, a reader or a running scan holds stays right, and a file is
exchanged for another of the same shape. What is counted (steps, points, the model) stays, under names that lead to
nobody: totals, balances and a rebuild agree with what they were.
"""

import base64
import hashlib
import struct
from array import array
from typing import Annotated, Final, assert_never

import msgspec

from persistence.format import json_text, times
from persistence.format.erased_names import session_digits
from persistence.format.records import (
    ClosedBy,
    CorpusRecord,
    CorpusTextRecord,
    EnvelopeKind,
    EnvelopeRecord,
    ErasableRecord,
    IntakeRecord,
    JudgementRecord,
    RefusalRecord,
    TrajectoryRecord,
)
from persistence.journals.framing import Frame, Received, frame

ERASED_START: Final = b'{"erased":{'
"""No other line begins so: the first member is the server's own."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The names that stay in a line whose time is over: all that the databases have of it."""

    session_id: str
    envelope_id: str = ""
    session_hmac: str = ""
    trajectory_id: str = ""
    contributor_id: str | None = None
    copied_from: str | None = None
    record_id: str = ""
    subject: str = ""
    content_type: str = ""

    @property
    def text(self) -> IntakeRecord:
        """Which text of the intake it was, and whose."""
        return IntakeRecord(
            record_id=self.record_id,
            subject=self.subject,
            session_id=self.session_id,
            content_type=self.content_type,
        )


ExpirableRecord = EnvelopeRecord | TrajectoryRecord | IntakeRecord
"""The records whose lines keep their names when their time is over."""


class Erased(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The member `erased`: when and for which request, the SHA-256 of the line at first, and what is counted of it.

    `session` are digits that all lines of a session share. `sha256`, then `at`, are left out where a line has no room:
    of a SERVER_CLOSE, which held nothing but two random ids. A line whose time is over was erased for no
    request, and keeps its names (`kept`). Of the rest each kind of line has its own members (docs/format.md, "Erased
    lines").
    """

    at: str | None = None
    request: str = ""
    sha256: str | None = None
    session: str = ""
    kept: Kept | None = None
    kind: EnvelopeKind = EnvelopeKind.SERVER_CLOSE
    sequence: Count | None = None
    chunk_sequence: Count | None = None
    signal: str | None = None
    closed_by: ClosedBy | None = None
    code: str = ""
    without_body: bool = False
    provider: str = ""
    model: str = ""
    steps: Count = 0
    tokens: int = 0
    chunks: Count = 0
    copied_steps: Count = 0
    score: msgspec.Raw = msgspec.Raw()
    fingerprints: str = ""


class ErasedLine(msgspec.Struct, frozen=True):
    """A whole erased line."""

    erased: Erased
    received: Received


_LINE: Final = msgspec.json.Decoder(ErasedLine)


def is_erased(line: bytes) -> bool:
    """Whether a line, which passed its checks, holds nothing of what it held: it was erased, or its time is over."""
    return line.startswith(ERASED_START)


def read_erased(line: bytes) -> ErasedLine:
    """Read an erased line; raises msgspec.DecodeError."""
    return json_text.decode(_LINE, line)


def erased_text(line: bytes, framed: Frame, record: ErasableRecord, *, request: str, at: float) -> bytes:
    """Return what takes the place of a line: as long as it is, both without the newline.

    `framed` and `record` are what the line says.
    """
    text = _as_long(line, framed, _counted(record, request), at)
    assert text is not None, "what is counted of a line is shorter than the line"
    return text


def expired_text(line: bytes, framed: Frame, record: ExpirableRecord, *, at: float) -> bytes:
    """Return what takes the place of a line whose time is over: it keeps its names, and loses what it held.

    A line that is too short for that holds nothing else, and stays.
    """
    said = msgspec.structs.replace(_counted(record, ""), session="", kept=_kept(record))
    return _as_long(line, framed, said, at) or line


def _as_long(line: bytes, framed: Frame, said: Erased, at: float) -> bytes | None:
    """What says so, as long as a line, as much of it as there is room for."""
    # Of what was past its time before: what the line was at first, which digests of the ledger are made of.
    first = read_erased(line).erased.sha256 if is_erased(line) else hashlib.sha256(line).hexdigest()
    full = msgspec.structs.replace(said, at=times.to_text(at), sha256=first)
    received = b',"gap":%d' % framed.gap if framed.gap else b""
    received += b"" if framed.letter is None else b',"letter":%d' % framed.letter
    for each in (full, msgspec.structs.replace(full, sha256=None), said):
        text = _framed(each, framed, received, spaces=0)
        spaces = len(line) - len(text)
        if spaces >= 0:
            return _framed(each, framed, received, spaces=spaces) if spaces else text
    return None


def _kept(record: ExpirableRecord) -> Kept:
    match record:
        case EnvelopeRecord():
            return Kept(
                session_id=record.session_id,
                envelope_id=record.envelope_id,
                session_hmac=record.session_hmac,
                contributor_id=record.contributor_id,
            )
        case TrajectoryRecord():
            return Kept(
                session_id=record.session_id,
                trajectory_id=record.trajectory_id,
                contributor_id=record.contributor_id,
                copied_from=record.copied_from,
            )
        case IntakeRecord():
            return Kept(
                session_id=record.session_id,
                record_id=record.record_id,
                subject=record.subject,
                content_type=record.content_type,
            )
        case unreachable:
            assert_never(unreachable)


def _framed(erased: Erased, framed: Frame, received: bytes, *, spaces: int) -> bytes:
    members = b'"erased":%s%s' % (msgspec.json.encode(erased), b" " * spaces)
    at = times.to_text(framed.at).encode()
    return b"".join(frame(members, received, n=framed.n, at=at, batch=framed.batch))[:-1]


def _counted(record: ErasableRecord, request: str) -> Erased:
    session = session_digits(request, record.session_id)
    match record:
        case EnvelopeRecord():
            return Erased(
                request=request,
                session=session,
                kind=record.kind,
                sequence=record.sequence,
                chunk_sequence=record.chunk_sequence,
                signal=record.signal,
                closed_by=record.closed_by if record.kind is EnvelopeKind.SERVER_CLOSE else None,
                provider=record.provider,
                model=record.model,
                steps=record.steps,
            )
        case RefusalRecord():
            return Erased(
                request=request,
                session=session,
                sequence=record.sequence,
                code=record.code,
                without_body=not record.with_body,
            )
        case TrajectoryRecord():
            return Erased(
                request=request,
                session=session,
                closed_by=record.closed_by,
                provider=record.provider,
                model=record.model,
                steps=record.steps,
                tokens=record.tokens,
                chunks=record.chunks,
                copied_steps=record.copied_steps,
                score=msgspec.Raw(record.multiplier_breakdown.encode()),
                fingerprints=_written(record.fingerprints),
            )
        case CorpusRecord() | CorpusTextRecord() | JudgementRecord():
            return Erased(request=request, session=session)
        case IntakeRecord():
            return Erased(request=request)
        case unreachable:
            assert_never(unreachable)


def _written(fingerprints: "array[int]") -> str:
    return base64.b64encode(struct.pack(f">{len(fingerprints)}q", *fingerprints)).decode()


def fingerprints_in(text: str) -> "array[int]":
    """Read the fingerprints of an erased trajectory; raises ValueError."""
    octets = base64.b64decode(text, validate=True)
    return array("q", struct.unpack(f">{len(octets) // 8}q", octets))
