"""What contributors said elsewhere, as an operator brings it: one JSON object a line. Pure."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from actors.consent.register import SaidElsewhere, Statement
from actors.consent.restrictions import subject_of
from persistence.format.consent_events import ConsentSource, Decision, Sha256, Version

LINE_BYTES_MAX: Final = 8_192
CONTRIBUTOR_PATTERN: Final = r"\A(?:[0-9A-Fa-f]{32}|sha256:[0-9a-f]{64})\Z"
"""A contributor's id, or the digest that stands for them."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    contributor: Annotated[str, msgspec.Meta(pattern=CONTRIBUTOR_PATTERN)]
    state: Decision
    version: Version
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    notice_version: Version | None = None
    notice_sha256: Sha256 | None = None


_LINE: Final = msgspec.json.Decoder(_Line)


def imported_statement(line: bytes, *, now_s: float) -> Statement:
    """What a line says; `now_s` is seconds since the epoch. Raises ValueError, whose text says what is wrong."""
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"a line has at most {LINE_BYTES_MAX:,} bytes")
    said = _LINE.decode(line)
    at_us = round(said.at.timestamp() * 1_000_000)
    if not 0 <= at_us <= now_s * 1_000_000:
        raise ValueError("at must be a time between 1970 and now")
    if (said.notice_version is None) is not (said.notice_sha256 is None):
        raise ValueError("notice_version and notice_sha256 go together")
    return Statement(
        contributor_id=subject_of(said.contributor),
        decision=said.state,
        version=said.version,
        source=ConsentSource.IMPORT,
        elsewhere=SaidElsewhere(at_us=at_us, notice_version=said.notice_version, notice_sha256=said.notice_sha256),
    )
