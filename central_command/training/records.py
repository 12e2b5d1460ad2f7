"""A record of the local corpus (docs/training.md, "On disk"), and what keeps one from being made."""

import json
import logging
from typing import Any

import msgspec

from persistence.format import json_text
from persistence.format.consent_events import CURRENT_CONSENT_VERSION
from persistence.format.submitted_texts import METADATA_BYTES_MAX

log = logging.getLogger("central_command.training")


class TrainingDataError(Exception):
    """Local training data cannot be read or written; the text is one sentence for whoever looks after the machine."""


class TrainingRecord(msgspec.Struct, frozen=True):
    """One line of the corpus. `timestamp` is seconds since the epoch, UTC; `content` and `metadata` are scrubbed."""

    record_id: str
    user_id: str
    session_id: str
    timestamp: float
    domain: str
    content_type: str
    content: str
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    consent_version: str = CURRENT_CONSENT_VERSION


class RecordFilter(msgspec.Struct, frozen=True):
    """Of a line, what records are chosen and counted by."""

    user_id: str = ""
    timestamp: float = 0.0
    domain: str = ""


_FILTER = msgspec.json.Decoder(RecordFilter)


def record_line(record: TrainingRecord) -> bytes:
    """The record as a line of JSON, with its newline: the members in the order of section 4, without white space.

    Half of a surrogate pair, which JSON cannot hold, becomes U+FFFD. Raises ValueError for what cannot be JSON.
    """
    return _encoded(record, "the record") + b"\n"


def read_filter(line: bytes) -> RecordFilter | None:
    """What a line is chosen by; None for one that is no record."""
    try:
        return json_text.decode(_FILTER, line)
    except msgspec.DecodeError:
        return None


def plain_metadata(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Metadata as JSON will hold them: a copy. Raises ValueError for what JSON cannot hold, and for too much of it."""
    if not metadata:
        return {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata must be a dict")  # noqa: TRY004 (one error for all that is wrong with a record)
    text = _encoded(metadata, "the metadata")
    if len(text) > METADATA_BYTES_MAX:
        raise ValueError(f"the metadata take more than {METADATA_BYTES_MAX:,} bytes")
    plain: dict[str, Any] = msgspec.json.decode(text)
    return plain


def _encoded(value: object, what: str) -> bytes:
    try:
        try:
            return msgspec.json.encode(value)
        except UnicodeEncodeError:
            plain = json.dumps(msgspec.to_builtins(value, str_keys=True), separators=(",", ":"))
            return json_text.lone_surrogates_replaced(plain.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from error
