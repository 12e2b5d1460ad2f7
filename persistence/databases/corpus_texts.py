"""The rows of corpus.db for texts of the intake: which have a record, which have none and why.

`texts` is a projection of lines of corpus/, as `records` is (`persistence.databases.corpus_records`).
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from persistence.databases.database import Database, Row, Statement
from persistence.format import times
from persistence.format.records import CorpusTextRecord, Position

# Put into the queries below: all names are in this file.
COLUMNS: Final = (
    "record_id, subject, session_id, content_type, domain, chars, findings, withheld, sha256, rules, curated_at, "
    'n, day, "offset", length'
)
PLACES: Final = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
PUT_TEXT: Final = f"INSERT OR REPLACE INTO texts ({COLUMNS}) VALUES ({PLACES})"  # noqa: S608
DELETE_TEXT: Final = "DELETE FROM texts WHERE record_id = ?"
PUT_PASSED_OVER: Final = """
INSERT OR REPLACE INTO texts_passed_over (record_id, subject, reason, rules, noted_at) VALUES (?, ?, ?, ?, ?)
"""
DELETE_PASSED_OVER: Final = "DELETE FROM texts_passed_over WHERE record_id = ?"
DELETE_TEXTS_OF: Final = "DELETE FROM texts WHERE subject = ?"
DELETE_PASSED_OVER_OF: Final = "DELETE FROM texts_passed_over WHERE subject = ?"
SELECT_RULES_OF: Final = """
SELECT record_id, rules FROM texts WHERE record_id IN (SELECT value FROM json_each(?))
"""
SELECT_BEGINNING: Final = f"""
SELECT {COLUMNS} FROM texts WHERE record_id >= ?1 AND record_id < ?2
UNION SELECT {COLUMNS} FROM texts WHERE session_id >= ?1 AND session_id < ?2 ORDER BY 1 LIMIT ?3
"""  # noqa: S608
SELECT_TOTALS: Final = """
SELECT count(*), coalesce(sum(chars), 0), coalesce(sum(findings), 0), coalesce(sum(withheld), 0),
    coalesce(sum(length), 0), count(*) - count(DISTINCT sha256), count(DISTINCT subject)
FROM texts
"""
SELECT_TYPES: Final = "SELECT content_type, count(*) FROM texts GROUP BY content_type ORDER BY content_type"
SELECT_DOMAINS: Final = "SELECT domain, count(*) FROM texts GROUP BY domain ORDER BY count(*) DESC, domain"
SELECT_REASONS: Final = "SELECT reason, count(*) FROM texts_passed_over GROUP BY reason ORDER BY count(*) DESC, reason"

_LAST: Final = "\U0010ffff"
"""Sorts behind every character of an id."""


class StoredText(msgspec.Struct, frozen=True):
    """A text's record as the database knows it, and where its line is."""

    record: CorpusTextRecord
    position: Position


class TextPassedOver(msgspec.Struct, frozen=True):
    """A text that has no record, by which rules, and why."""

    record_id: str
    subject: str
    reason: str
    rules: str


class TextTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What the corpus holds of the intake; `copies` are records whose content is that of another one."""

    records: int
    chars: int
    findings: int
    withheld: int
    stored_bytes: int
    copies: int
    users: int
    content_types: dict[str, int]
    domains: dict[str, int]
    passed_over: dict[str, int]


def text_rows(record: CorpusTextRecord, place: Position) -> list[Statement]:
    """The statements for one line."""
    at = times.to_text(place.at)
    if record.taken_back is not None:
        passed = TextPassedOver(record.record_id, record.subject, record.taken_back, record.rules)
        return [Statement(DELETE_TEXT, [(record.record_id,)]), note_texts_passed_over([passed], at)]
    row = (
        record.record_id,
        record.subject,
        record.session_id,
        record.content_type,
        record.domain,
        record.chars,
        record.findings,
        record.withheld,
        record.sha256,
        record.rules,
        at,
        place.n,
        place.day,
        place.offset,
        place.length,
    )
    return [Statement(PUT_TEXT, [row]), Statement(DELETE_PASSED_OVER, [(record.record_id,)])]


def note_texts_passed_over(passed: Sequence[TextPassedOver], at: str) -> Statement:
    """The statement that says why texts have no record."""
    rows = [(each.record_id, each.subject, each.reason, each.rules, at) for each in passed]
    return Statement(PUT_PASSED_OVER, rows)


def delete_texts(subjects: Collection[str]) -> list[Statement]:
    """The statements that leave no row of these users."""
    of = [(subject,) for subject in subjects]
    return [Statement(DELETE_TEXTS_OF, of), Statement(DELETE_PASSED_OVER_OF, of)]


def forget_texts(record_ids: Collection[str]) -> list[Statement]:
    """The statements that leave no row of these texts."""
    of = [(record_id,) for record_id in record_ids]
    return [Statement(DELETE_TEXT, of), Statement(DELETE_PASSED_OVER, of)]


class CorpusTexts:
    """The texts of a corpus.db, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rules_of(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Of those that have a record, by which rules it was made."""
        ids = msgspec.json.encode(record_ids).decode()
        return dict(await self._database.read(SELECT_RULES_OF, (ids,)))

    async def beginning_with(self, text: str, limit: int) -> list[StoredText]:
        """The records whose ids, or whose sessions' ids, begin so, in the order of their ids, at most `limit`."""
        return [stored_text(row) for row in await self._database.read(SELECT_BEGINNING, (text, text + _LAST, limit))]

    async def totals(self) -> TextTotals:
        """Count what there is."""
        (total,), types, domains, reasons = await self._database.read_snapshot(
            [(SELECT_TOTALS, ()), (SELECT_TYPES, ()), (SELECT_DOMAINS, ()), (SELECT_REASONS, ())]
        )
        records, chars, findings, withheld, stored_bytes, copies, users = total
        return TextTotals(
            records=records,
            chars=chars,
            findings=findings,
            withheld=withheld,
            stored_bytes=stored_bytes,
            copies=copies,
            users=users,
            content_types=dict(types),
            domains=dict(domains),
            passed_over=dict(reasons),
        )


def stored_text(row: Row) -> StoredText:
    """A row of COLUMNS as what it stands for."""
    *described, rules, curated_at, n, day, offset, length = row
    record_id, subject, session_id, content_type, domain, chars, findings, withheld, sha256 = described
    return StoredText(
        CorpusTextRecord(
            record_id=record_id,
            subject=subject,
            session_id=session_id,
            content_type=content_type,
            rules=rules,
            domain=domain,
            chars=chars,
            findings=findings,
            withheld=withheld,
            sha256=sha256,
        ),
        Position(n=n, day=day, offset=offset, length=length, at=times.from_text(curated_at)),
    )
