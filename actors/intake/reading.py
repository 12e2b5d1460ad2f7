"""One record of the intake, read strictly: the members of `TrainingDataIntake.submit`, and no others. Pure.

What is wrong with a record is said in one sentence, which repeats nothing of what stands in it but the name of a member
that is not known.
"""

import re
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from actors.envelopes.repeated_names import has_repeated_name
from persistence.format import json_text
from persistence.format.submitted_texts import CONTENT_TYPES, ID_CHARS_MAX, METADATA_BYTES_MAX, is_id

T = TypeVar("T")

USER_ID: Final = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z._~-]{0,127}\Z")
"""What can stand in a path as it is (RFC 3986, section 2.3), and is none of its special segments."""

USER_ID_SENTENCE: Final = "user_id must be 1 to 128 letters, digits and . _ ~ - and begin with a letter or digit."

NO_METADATA: Final = b"{}"
_SHOWN_CHARS_MAX: Final = 40


class RecordRefusal(StrEnum):
    """Why a record was not taken; stable."""

    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_LARGE = "record_too_large"
    MISSING_MEMBER = "missing_member"
    UNKNOWN_MEMBER = "unknown_member"
    INVALID_MEMBER = "invalid_member"
    DUPLICATE_MEMBER = "duplicate_member"
    NO_CONSENT = "no_consent"
    OUTDATED_CONSENT = "outdated_consent"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    ERASED = "user_erased"
    NOT_STORED = "not_stored"
    """There was room for those before it in the request, and none for this one: it may be sent again later."""


class RefusedRecord(msgspec.Struct, frozen=True):
    """A record that is not taken, and why, in one sentence."""

    code: RecordRefusal
    reason: str


class SubmittedRecord(msgspec.Struct, frozen=True):
    """A record as it is to be stored; `content` and `metadata` are JSON texts."""

    user_id: str
    session_id: str
    content_type: str
    content: bytes
    metadata: bytes

    def __repr__(self) -> str:
        return f"<SubmittedRecord {self.content_type}, {len(self.content)} bytes>"


class _Wrong(Exception):  # noqa: N818 (it ends the reading of one record)
    def __init__(self, reason: str, code: RecordRefusal = RecordRefusal.INVALID_MEMBER) -> None:
        super().__init__(reason)
        self.refused = RefusedRecord(code, reason)


REQUIRED: Final = ("user_id", "session_id", "content", "content_type")
MEMBERS: Final = frozenset({*REQUIRED, "metadata"})

_RAW: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_METADATA: Final = msgspec.json.Decoder(dict[str, object] | None)


def read_record(line: bytes, *, bytes_max: int) -> SubmittedRecord | RefusedRecord:
    """Read one line of a request, without its newline."""
    if len(line) > bytes_max:
        return RefusedRecord(RecordRefusal.TOO_LARGE, f"A record may have {bytes_max:,} bytes.")
    try:
        return _read(line)
    except _Wrong as wrong:
        return wrong.refused


def _read(line: bytes) -> SubmittedRecord:
    members = _members(line)
    if missing := [name for name in REQUIRED if name not in members]:
        raise _Wrong(f"{missing[0]} is missing: a record needs {', '.join(REQUIRED)}.", RecordRefusal.MISSING_MEMBER)
    if unknown := [name for name in members if name not in MEMBERS]:
        raise _Wrong(f"There is no member {_shown(unknown[0])} in a record.", RecordRefusal.UNKNOWN_MEMBER)
    user_id = _decoded(_TEXT, members["user_id"], USER_ID_SENTENCE)
    if not USER_ID.match(user_id):
        raise _Wrong(USER_ID_SENTENCE)
    session_sentence = f"session_id must be a text of 1 to {ID_CHARS_MAX} characters."
    session_id = _decoded(_TEXT, members["session_id"], session_sentence)
    if not is_id(session_id):
        raise _Wrong(session_sentence)
    types_sentence = f"content_type must be one of {', '.join(CONTENT_TYPES)}."
    content_type = _decoded(_TEXT, members["content_type"], types_sentence)
    if content_type not in CONTENT_TYPES:
        raise _Wrong(types_sentence)
    content = _decoded(_TEXT, members["content"], "content must be a text.")
    metadata = _metadata(members.get("metadata"))
    _check_names(line)
    return SubmittedRecord(user_id, session_id, content_type, msgspec.json.encode(content), metadata)


def _members(line: bytes) -> dict[str, msgspec.Raw]:
    try:
        return json_text.decode(_RAW, line)
    except msgspec.ValidationError:
        raise _Wrong("A record must be a JSON object.", RecordRefusal.NOT_AN_OBJECT) from None
    except json_text.NestingError:
        raise _too_deep() from None
    except msgspec.DecodeError:
        raise _no_json() from None


def _check_names(line: bytes) -> None:
    """Raise where an object in a record has a member twice: readers differ on which of two values counts."""
    try:
        is_repeated = has_repeated_name([line])
    except RecursionError:  # within a value that another one of its name stands behind
        raise _too_deep() from None
    except ValueError:  # likewise: what is no UTF-8
        raise _no_json() from None
    if is_repeated:
        raise _Wrong("An object in the record has a member twice.", RecordRefusal.DUPLICATE_MEMBER)


def _too_deep() -> _Wrong:
    return _Wrong("The record is nested too deeply.", RecordRefusal.INVALID_JSON)


def _no_json() -> _Wrong:
    return _Wrong("The record is not valid JSON.", RecordRefusal.INVALID_JSON)


def _metadata(raw: msgspec.Raw | None) -> bytes:
    """The metadata as they were written; an empty object for none."""
    if raw is None:
        return NO_METADATA
    text = bytes(raw)
    if len(text) > METADATA_BYTES_MAX:
        raise _Wrong(f"metadata may have {METADATA_BYTES_MAX:,} bytes.")
    found = _decoded(_METADATA, raw, "metadata must be an object of valid JSON.")
    # Between members a carriage return is white space in JSON, and no end of a line in a journal.
    return text if found and b"\r" not in text else msgspec.json.encode(found or {})


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, sentence: str) -> T:
    try:
        return json_text.decode(decoder, bytes(raw))
    except msgspec.DecodeError:
        raise _Wrong(sentence) from None


def _shown(name: str) -> str:
    """A member's name, as much of it as helps, in a form that steers nothing."""
    return ascii(name if len(name) <= _SHOWN_CHARS_MAX else f"{name[:_SHOWN_CHARS_MAX]}...")
