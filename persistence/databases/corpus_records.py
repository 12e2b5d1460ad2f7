"""The rows of corpus.db: which trajectories have a record, which have none and why, and how far curation has come.

`records` is a projection of the lines of corpus/: of several lines of one trajectory the last one counts. So are
judgements, which are beside it (`persistence.databases.judgements`). The rest is curation's own: it is written in the
same transaction as the position that it belongs to.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from persistence.databases.corpus_texts import CorpusTexts, TextTotals, text_rows
from persistence.databases.database import Database, Query, Row, Statement
from persistence.databases.judgements import drop_judgement, project_judgement
from persistence.databases.projection import set_position
from persistence.format import times
from persistence.format.json_text import array_of
from persistence.format.records import (
    Committed,
    CorpusRecord,
    CorpusTextRecord,
    JournalName,
    JudgementRecord,
    Position,
)

# Put into the queries below: all names are in this file.
COLUMNS: Final = (
    "trajectory_id, record_id, session_id, contributor_id, rules, provider, model, started_at, steps, tokens, "
    "feedback, findings, withheld, cognitive_target, quality, tier, training_eligible, domain, sha256, cluster, "
    'minima, curated_at, n, day, "offset", length'
)
PLACES: Final = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
PUT_RECORD: Final = f"INSERT INTO records ({COLUMNS}) VALUES ({PLACES})"  # noqa: S608
DELETE_RECORD: Final = "DELETE FROM records WHERE trajectory_id = ?"
DELETE_BANDS: Final = "DELETE FROM bands WHERE trajectory_id = ?"
# A trajectory may have the same band twice.
PUT_BAND: Final = "INSERT OR IGNORE INTO bands (band, trajectory_id) VALUES (?, ?)"
PUT_PASSED_OVER: Final = """
INSERT OR REPLACE INTO passed_over (trajectory_id, session_id, contributor_id, reason, rules, noted_at)
VALUES (?, ?, ?, ?, ?, ?)
"""
DELETE_PASSED_OVER: Final = "DELETE FROM passed_over WHERE trajectory_id = ?"
COUNT_ATTEMPT: Final = """
INSERT INTO attempts (trajectory_id, begun) VALUES (?, 1) ON CONFLICT (trajectory_id) DO UPDATE SET begun = begun + 1
"""
DELETE_ATTEMPTS: Final = "DELETE FROM attempts WHERE trajectory_id = ?"
SELECT_ATTEMPTED: Final = "SELECT trajectory_id FROM attempts"
# ?1 are sessions, ?2 contributors, each a JSON array.
OF_ERASED: Final = """
session_id IN (SELECT value FROM json_each(?1)) OR contributor_id IN (SELECT value FROM json_each(?2))
"""
DELETE_BANDS_OF: Final = f"""
DELETE FROM bands WHERE trajectory_id IN (SELECT trajectory_id FROM records WHERE {OF_ERASED})
"""  # noqa: S608
DELETE_SUMMARIES_OF: Final = f"""
DELETE FROM summaries WHERE trajectory_id IN (SELECT trajectory_id FROM records WHERE {OF_ERASED})
"""  # noqa: S608
DELETE_JUDGEMENTS_OF: Final = f"""
DELETE FROM judgements WHERE trajectory_id IN (SELECT trajectory_id FROM records WHERE {OF_ERASED})
"""  # noqa: S608
DELETE_UNANSWERED_OF: Final = f"""
DELETE FROM unanswered WHERE trajectory_id IN (SELECT trajectory_id FROM records WHERE {OF_ERASED})
"""  # noqa: S608
DELETE_RECORDS_OF: Final = f"DELETE FROM records WHERE {OF_ERASED}"  # noqa: S608
DELETE_PASSED_OVER_OF: Final = f"DELETE FROM passed_over WHERE {OF_ERASED}"  # noqa: S608
SELECT_TERMS: Final = "SELECT terms FROM consent_terms"
PUT_TERMS: Final = "INSERT OR REPLACE INTO consent_terms (only_one, terms) VALUES (1, ?)"
SELECT_ATTEMPTS: Final = "SELECT begun FROM attempts WHERE trajectory_id = ?"
SELECT_RECORD: Final = f"SELECT {COLUMNS} FROM records WHERE trajectory_id = ?"  # noqa: S608
SELECT_SHARING: Final = """
SELECT cluster, minima FROM bands JOIN records USING (trajectory_id)
WHERE band = ? AND trajectory_id != ? ORDER BY bands.trajectory_id LIMIT ?
"""
SELECT_KNOWN: Final = """
SELECT 1 FROM records WHERE trajectory_id = ?1 UNION ALL SELECT 1 FROM passed_over WHERE trajectory_id = ?1 LIMIT 1
"""
SELECT_BEGINNING: Final = f"""
SELECT {COLUMNS} FROM records
WHERE (record_id >= ?1 AND record_id < ?2) OR (session_id >= ?1 AND session_id < ?2) ORDER BY record_id LIMIT ?3
"""  # noqa: S608
SELECT_REASON: Final = "SELECT reason FROM passed_over WHERE session_id = ? LIMIT 1"
SELECT_TOTALS: Final = """
SELECT count(*), coalesce(sum(steps), 0), coalesce(sum(tokens), 0), coalesce(sum(findings), 0),
    coalesce(sum(withheld), 0), coalesce(sum(length), 0), coalesce(sum(training_eligible), 0),
    count(*) - count(DISTINCT sha256),
    (SELECT count(*) FROM (SELECT 1 FROM records GROUP BY cluster HAVING count(*) > 1))
FROM records
"""
SELECT_JUDGED: Final = "SELECT count(*) FROM judgements"
SELECT_TIERS: Final = "SELECT tier, count(*) FROM records GROUP BY tier ORDER BY tier"
SELECT_RULES: Final = "SELECT rules, count(*) FROM records GROUP BY rules ORDER BY count(*) DESC, rules LIMIT ?"
SELECT_MODELS: Final = "SELECT model, count(*) FROM records GROUP BY model ORDER BY count(*) DESC, model LIMIT ?"
SELECT_REASONS: Final = "SELECT reason, count(*) FROM passed_over GROUP BY reason ORDER BY count(*) DESC, reason"

BAND: Final = struct.Struct(">q")

SHARING_MAX: Final = 64
"""Records of one band that a new one is compared with: the oldest. Guards time where many sessions are alike."""

_LAST: Final = "\U0010ffff"
"""Sorts behind every character of an id."""


class StoredRecord(msgspec.Struct, frozen=True):
    """A record as the database knows it, and where its line is."""

    record: CorpusRecord
    position: Position


class PassedOver(msgspec.Struct, frozen=True):
    """A trajectory that has no record, by which rules, and why."""

    trajectory_id: str
    session_id: str
    contributor_id: str
    reason: str
    rules: str


class CorpusTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What the corpus holds; `passed_over` is counted by reason, `rules` and `models` are those with most records.

    `texts` is what there is of the intake; the rest is of trajectories.
    `copies` are records whose steps are those of another one, `clusters` groups of near copies,
    two or more.
    """

    records: int
    steps: int
    tokens: int
    findings: int
    withheld: int
    stored_bytes: int
    rules: dict[str, int]
    models: dict[str, int]
    tiers: dict[str, int]
    training_eligible: int
    copies: int
    clusters: int
    judged: int
    passed_over: dict[str, int]
    texts: TextTotals


def project_corpus(batch: Sequence[Committed]) -> list[Statement]:
    """The statements for corpus.db, position included; `batch` is of the corpus journal and not empty."""
    statements: list[Statement] = []
    for item in batch:
        match item.record:
            case CorpusRecord():
                statements += _of_line(item.record, item.position)
            case CorpusTextRecord():
                statements += text_rows(item.record, item.position)
            case JudgementRecord():
                statements += project_judgement(item.record, item.position)
            case _:
                raise AssertionError("a batch holds records of its own journal only")
    return [*statements, set_position(JournalName.CORPUS, batch[-1].position.end)]


def _of_line(record: CorpusRecord, place: Position) -> Iterable[Statement]:
    if record.is_erased:
        return []
    at = times.to_text(place.at)
    if record.taken_back is not None:
        passed = PassedOver(
            record.trajectory_id, record.session_id, record.contributor_id, record.taken_back, record.rules
        )
        return [*_without(record), note_passed_over(passed, at)]
    row = (
        record.trajectory_id,
        record.record_id,
        record.session_id,
        record.contributor_id,
        record.rules,
        record.provider,
        record.model,
        record.started_at,
        record.steps,
        record.tokens,
        record.feedback,
        record.findings,
        record.withheld,
        record.cognitive_target,
        record.quality,
        record.tier,
        int(record.training_eligible),
        record.domain,
        record.sha256,
        record.cluster,
        record.minima,
        at,
        place.n,
        place.day,
        place.offset,
        place.length,
    )
    bands = [(band, record.trajectory_id) for (band,) in BAND.iter_unpack(record.bands)]
    return [
        *_without(record),
        Statement(PUT_RECORD, [row]),
        Statement(PUT_BAND, bands),
        Statement(DELETE_PASSED_OVER, [(record.trajectory_id,)]),
    ]


def _without(record: CorpusRecord) -> Iterable[Statement]:
    rows = [(record.trajectory_id,)]
    return [
        Statement(DELETE_RECORD, rows),
        Statement(DELETE_BANDS, rows),
        *drop_judgement(record.trajectory_id, record.sha256),
    ]


def note_passed_over(passed: PassedOver, at: str) -> Statement:
    """The statement that says why a trajectory has no record."""
    return Statement(
        PUT_PASSED_OVER,
        [(passed.trajectory_id, passed.session_id, passed.contributor_id, passed.reason, passed.rules, at)],
    )


def count_attempt(trajectory_id: str) -> Statement:
    """The statement that counts that making a record has begun."""
    return Statement(COUNT_ATTEMPT, [(trajectory_id,)])


def forget_attempts(trajectory_id: str) -> Statement:
    """The statement for when it came to an end."""
    return Statement(DELETE_ATTEMPTS, [(trajectory_id,)])


def select_attempts() -> Query:
    """The query for the trajectories of which making a record has begun and not ended."""
    return SELECT_ATTEMPTED, ()


def delete_rows(
    session_ids: Collection[str], contributors: Collection[str], attempts: Collection[str]
) -> list[Statement]:
    """The statements that leave no row of these sessions and contributors, nor of these attempts."""
    of = [(array_of(session_ids), array_of(contributors))]
    return [
        Statement(DELETE_BANDS_OF, of),
        Statement(DELETE_JUDGEMENTS_OF, of),
        Statement(DELETE_SUMMARIES_OF, of),
        Statement(DELETE_UNANSWERED_OF, of),
        Statement(DELETE_RECORDS_OF, of),
        Statement(DELETE_PASSED_OVER_OF, of),
        Statement(DELETE_ATTEMPTS, [(trajectory_id,) for trajectory_id in attempts]),
    ]


class CorpusIndex:
    """The records of a corpus.db, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_trajectory(self, trajectory_id: str) -> StoredRecord | None:
        """The record of a trajectory, if it has one."""
        return _one(await self._database.read(SELECT_RECORD, (trajectory_id,)))

    async def knows(self, trajectory_id: str) -> bool:
        """Whether a trajectory has a record, or was passed over."""
        return bool(await self._database.read(SELECT_KNOWN, (trajectory_id,)))

    async def sharing(self, bands: bytes, trajectory_id: str) -> list[tuple[str, bytes]]:
        """The clusters and minima of other records that share a band, of each band `SHARING_MAX` at most."""
        queries = [(SELECT_SHARING, (band, trajectory_id, SHARING_MAX)) for (band,) in BAND.iter_unpack(bands)]
        found = await self._database.read_snapshot(queries)
        return sorted({(cluster, minima) for rows in found for cluster, minima in rows})

    async def beginning_with(self, text: str, limit: int) -> list[StoredRecord]:
        """The records whose ids, or whose sessions' ids, begin so, in the order of their ids, at most `limit`."""
        return [stored_record(row) for row in await self._database.read(SELECT_BEGINNING, (text, text + _LAST, limit))]

    async def reason_of_session(self, session_id: str) -> str | None:
        """Why a session's trajectory was passed over; None where it was not."""
        rows = await self._database.read(SELECT_REASON, (session_id,))
        return str(rows[0][0]) if rows else None

    async def attempts(self, trajectory_id: str) -> int:
        """How often making the record of a trajectory has begun without an end."""
        rows = await self._database.read(SELECT_ATTEMPTS, (trajectory_id,))
        return int(rows[0][0]) if rows else 0

    async def terms(self) -> str | None:
        """By which terms consent counted when curation ran last; None before that."""
        rows = await self._database.read(SELECT_TERMS)
        return str(rows[0][0]) if rows else None

    async def totals(self, listed_max: int) -> CorpusTotals:
        """Count what there is; of rules and models those with most records, at most `listed_max` each."""
        (total,), ((judged,),), rules, models, tiers, reasons = await self._database.read_snapshot(
            [
                (SELECT_TOTALS, ()),
                (SELECT_JUDGED, ()),
                (SELECT_RULES, (listed_max,)),
                (SELECT_MODELS, (listed_max,)),
                (SELECT_TIERS, ()),
                (SELECT_REASONS, ()),
            ]
        )
        records, steps, tokens, findings, withheld, stored_bytes, eligible, copies, clusters = total
        texts = await CorpusTexts(self._database).totals()
        return CorpusTotals(
            records=records,
            steps=steps,
            tokens=tokens,
            findings=findings,
            withheld=withheld,
            stored_bytes=stored_bytes,
            rules=dict(rules),
            models=dict(models),
            tiers=dict(tiers),
            training_eligible=eligible,
            copies=copies,
            clusters=clusters,
            judged=judged,
            passed_over=dict(reasons),
            texts=texts,
        )


def set_terms(terms: str) -> Statement:
    """The statement that notes by which terms consent counts."""
    return Statement(PUT_TERMS, [(terms,)])


def _one(rows: Sequence[Row]) -> StoredRecord | None:
    return stored_record(rows[0]) if rows else None


def stored_record(row: Row) -> StoredRecord:
    """The record that a row of COLUMNS is."""
    *described, curated_at, n, day, offset, length = row
    *named, feedback, findings, withheld, target, quality, tier, eligible, domain, sha256, cluster, minima = described
    trajectory_id, record_id, session_id, contributor_id, rules, provider, model, started_at, steps, tokens = named
    return StoredRecord(
        CorpusRecord(
            trajectory_id=trajectory_id,
            record_id=record_id,
            session_id=session_id,
            contributor_id=contributor_id,
            rules=rules,
            provider=provider,
            model=model,
            started_at=started_at,
            steps=steps,
            tokens=tokens,
            feedback=feedback,
            findings=findings,
            withheld=withheld,
            cognitive_target=target,
            quality=quality,
            tier=tier,
            training_eligible=bool(eligible),
            domain=domain,
            sha256=sha256,
            cluster=cluster,
            minima=minima,
        ),
        Position(n=n, day=day, offset=offset, length=length, at=times.from_text(curated_at)),
    )
