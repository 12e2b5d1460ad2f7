"""A line of the corpus read as a `Trajectory`, whatever clients have put there: mended where readers would stumble.

Two things are mended, and counted. *Numbers* that nobody's 64 bits hold (integers past them, and such as 1e400) become
texts of their digits, so that none is lost. *Halves of a surrogate pair* become U+FFFD. Members that a client sent with
another type than the contract's become text, or are left out, so that a line never fails for them.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from central_command.corpus.trajectory import (
    Consent,
    CopiedRun,
    Credit,
    DomainTags,
    Duplicates,
    Enrichment,
    Feedback,
    Findings,
    Gap,
    Lineage,
    Link,
    Outcome,
    Record,
    Step,
    Trajectory,
)
from persistence.format import json_text

T = TypeVar("T")

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1

_KINDS: Final = {"0123456789+": "0", ".": ".", "eE": "e", ":,[-": ":"}
_DIGITS: Final = bytes(
    next((ord(kind) for chars, kind in _KINDS.items() if chr(byte) in chars), ord(" ")) for byte in range(256)
)
"""By what numbers are looked for: digits (an exponent's sign counts as one), points, exponents, and what stands before
a number (the corpus has no white space)."""
SUSPICIOUS: Final = re.compile(rb"[:,\[]-?(?:[0-9]{19}|[0-9]++(?:\.[0-9]++)?[eE]\+?[0-9]{3})")
"""What may be such a number: asked of the few lines with long runs of digits, such as ids, or what looks like one."""
LONG_INTEGER: Final = b"0" * 19
LARGE_EXPONENT: Final = b"0e000"
_OF_NUMBER: Final = b"0."
STRING_OR_NUMBER: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?|-?[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+', re.DOTALL
)
_TEXT_MEMBERS: Final = ("content", "tool", "call_id", "source", "intent", "model")
_FLAGS: Final = ("is_error", "truncated")


class Mended(msgspec.Struct, frozen=True):
    """How much of a line was mended: numbers that became texts, and halves of surrogate pairs that became U+FFFD."""

    numbers: int = 0
    surrogates: int = 0


class Read(msgspec.Struct, frozen=True, gc=False):
    """A line that was read: the trajectory, the line's JSON as it was mended, and how much was."""

    trajectory: Trajectory
    line: bytes
    mended: Mended


class ReadRecord(msgspec.Struct, frozen=True):
    """A line of a text of the intake that was read: the record, and how much was mended."""

    record: Record
    mended: Mended


class UnreadableLine(Exception):  # noqa: N818 (a state of the line, not an error in a call)
    """The line holds no record: it was erased, or is of another kind."""


class _Metadata(msgspec.Struct, frozen=True, gc=False):
    provider: str = ""
    model_engine: str = ""
    agent_role: str | None = None
    agent_id: str | None = None
    groove_version: str | None = None
    continues_session: str | None = None
    lineage: Lineage | None = None
    domain_tags: DomainTags | None = None


class _Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    record_id: str
    trajectory_id: str
    session_id: str
    contributor_id: str
    trajectory_log: tuple[Step, ...]
    metadata: _Metadata
    rules: str = ""
    consent: Consent = Consent()
    started_at: str | None = None
    ended_at: str | None = None
    time_shift_s: float | None = None
    closed_by: str | None = None
    outcome: Outcome | None = None
    feedback: tuple[Feedback, ...] = ()
    score: Credit = Credit()
    enrichment: Enrichment = Enrichment()
    domain_tags: DomainTags | None = None
    scrubbed: Findings = Findings()
    duplicates: Duplicates = Duplicates()
    copied_steps: int = 0
    copied_from: tuple[CopiedRun, ...] = ()
    sequence_gaps: tuple[Gap, ...] = ()
    repeated_members: int = 0
    coordination_links: tuple[Link, ...] = ()
    unique_tools_used: tuple[str, ...] = ()


class _TextLine(msgspec.Struct, frozen=True, kw_only=True):
    record_id: str
    user_id: str
    session_id: str
    timestamp: float
    domain: str
    content_type: str
    content: str
    metadata: dict[str, Any] = {}
    consent_version: str | None = None
    rules: str = ""
    scrubbed: Findings = Findings()


_LINE: Final = msgspec.json.Decoder(_Line)
_TEXT_LINE: Final = msgspec.json.Decoder(_TextLine)
_VALUE: Final = msgspec.json.Decoder(Any)


def read_line(line: bytes, pseudonym_of: Callable[[str], str]) -> Read:
    """Read a line of the corpus; `pseudonym_of` is given the contributor's id. Raises UnreadableLine."""
    found, mended, much = _read(line, _decoded)
    return Read(_trajectory(found, pseudonym_of(found.contributor_id)), mended, much)


def read_text_line(line: bytes, pseudonym_of: Callable[[str], str]) -> ReadRecord:
    """Read a line of the corpus for a text; `pseudonym_of` is given the user's digest. Raises UnreadableLine."""
    found, _, much = _read(line, _TEXT_LINE.decode)
    record = Record(
        record_id=found.record_id,
        session_id=found.session_id,
        timestamp=found.timestamp,
        domain=found.domain,
        content_type=found.content_type,
        content=found.content,
        contributor=pseudonym_of(found.user_id),
        metadata=found.metadata,
        consent_version=found.consent_version or "",
        rules=found.rules,
        scrubbed=found.scrubbed,
    )
    return ReadRecord(record, much)


def _read(line: bytes, decode: Callable[[bytes], T]) -> tuple[T, bytes, Mended]:
    """What a line holds, the line as it was mended, and how much was. Raises UnreadableLine.

    Halves of surrogate pairs are looked for where decoding fails: it does so for each, also in what it passes over.
    """
    mended, numbers = _without_large_numbers(line)
    try:
        try:
            return decode(mended), mended, Mended(numbers)
        except msgspec.DecodeError:
            whole, surrogates = _without_lone_surrogates(mended)
            if not surrogates:
                raise
        return decode(whole), whole, Mended(numbers, surrogates)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableLine(type(error).__name__) from None


def _decoded(line: bytes) -> _Line:
    try:
        return _LINE.decode(line)
    except msgspec.ValidationError:
        value = _VALUE.decode(line)
        if not isinstance(value, dict):
            raise
        value["trajectory_log"] = [_plain(step) for step in value.get("trajectory_log", []) if isinstance(step, dict)]
        value["metadata"] = _texts_of(value.get("metadata"), _Metadata)
        return msgspec.convert(value, _Line)


def _plain(step: dict[str, Any]) -> dict[str, Any]:
    """A step whose members have the types that are known, whatever they had."""
    plain = {name: value for name, value in step.items() if name not in {"arguments", "usage", *_FLAGS}}
    for name in _TEXT_MEMBERS:
        value = step.get(name)
        if value is not None and not isinstance(value, str):
            plain[name] = msgspec.json.encode(value).decode()
    for name in _FLAGS:
        if isinstance(step.get(name), bool):
            plain[name] = step[name]
    arguments = step.get("arguments")
    if arguments is not None:
        plain["arguments"] = arguments if isinstance(arguments, dict) else {"value": arguments}
    usage = step.get("usage")
    if isinstance(usage, dict):
        plain["usage"] = {name: value for name, value in usage.items() if type(value) is int}
    return plain


def _texts_of(metadata: object, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Of metadata what is text, and the fields of work."""
    members = metadata if isinstance(metadata, dict) else {}
    known = {field.name for field in msgspec.structs.fields(kind)}
    return {
        name: value
        for name, value in members.items()
        if name in known and (isinstance(value, str) or name == "domain_tags")
    }


def _trajectory(line: _Line, contributor: str) -> Trajectory:
    of = line.metadata
    return Trajectory(
        record_id=line.record_id,
        trajectory_id=line.trajectory_id,
        session_id=line.session_id,
        steps=line.trajectory_log,
        provider=of.provider,
        model=of.model_engine,
        contributor=contributor,
        agent_role=of.agent_role,
        agent_id=of.agent_id,
        client_version=of.groove_version,
        continues_session=of.continues_session,
        rules=line.rules,
        consent=line.consent,
        started_at=line.started_at,
        ended_at=line.ended_at,
        time_shift_s=line.time_shift_s,
        closed_by=line.closed_by,
        outcome=line.outcome,
        feedback=line.feedback,
        credit=line.score,
        enrichment=line.enrichment,
        domain_tags=of.domain_tags or line.domain_tags or DomainTags(),
        scrubbed=line.scrubbed,
        duplicates=line.duplicates,
        copied_steps=line.copied_steps,
        copied_from=line.copied_from,
        sequence_gaps=line.sequence_gaps,
        repeated_members=line.repeated_members,
        links=line.coordination_links,
        lineage=of.lineage or Lineage(),
        unique_tools_used=line.unique_tools_used,
    )


def _without_lone_surrogates(line: bytes) -> tuple[bytes, int]:
    replaced = json_text.lone_surrogates_replaced(line)
    if replaced is line:
        return line, 0
    return replaced, replaced.count(b"\\ufffd") - line.count(b"\\ufffd")


def _without_large_numbers(line: bytes) -> tuple[bytes, int]:
    if not _may_have_large_numbers(line) or SUSPICIOUS.search(line) is None:
        return line, 0
    count = 0

    def mended(found: re.Match[bytes]) -> bytes:
        nonlocal count
        text = found[0]
        if text.startswith(b'"') or _fits(text):
            return text
        count += 1
        return b'"%s"' % text

    return STRING_OR_NUMBER.sub(mended, line), count


def _may_have_large_numbers(line: bytes) -> bool:
    """Whether numbers have to be looked at one by one. A regular expression would take as long as all the rest."""
    digits = line.translate(_DIGITS)
    if LONG_INTEGER in digits:
        return True
    at = digits.find(LARGE_EXPONENT)
    while at >= 0:
        before = at
        while before >= 0 and digits[before] in _OF_NUMBER:  # never past another exponent: all in all linear
            before -= 1
        if before >= 0 and digits[before] == ord(":"):
            return True
        at = digits.find(LARGE_EXPONENT, at + 1)
    return False


def _fits(number: bytes) -> bool:
    """Whether a number of JSON fits 64 bits, as an integer or as a double."""
    if number.lstrip(b"-").isdigit():
        return len(number) < 19 or (len(number) <= 20 and INTEGER_MIN <= int(number) <= INTEGER_MAX)
    return math.isfinite(float(number))
