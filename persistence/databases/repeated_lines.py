"""Which lines of a batch say again what only one line may say: asked when a database has refused the batch for it.

One envelope has one line, whatever its number; of a session, one line has a sequence number, and one is its trajectory.
The databases' unique keys hold that, at no price; here it is found out which lines they refused, and what came first.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from persistence.databases.database import Database, Query
from persistence.format.records import (
    AuditRecord,
    Committed,
    ConsentRecord,
    ContributorKeyRecord,
    CorpusRecord,
    CorpusTextRecord,
    DigestRecord,
    EnvelopeRecord,
    IntakeRecord,
    JournalName,
    JudgementRecord,
    OperationRecord,
    Position,
    Record,
    TrajectoryRecord,
)
from persistence.journals.reading import where_is


class Claim(NamedTuple):
    """What a line is the only one to say, and where it stands; `sequence` is None where it uses none up."""

    line_id: str
    session_id: str
    sequence: int | None
    n: int
    day: str
    offset: int


FIRST_ENVELOPE: Final = """
SELECT n FROM processed_envelopes WHERE envelope_id = ? OR (session_id = ? AND sequence = ?) ORDER BY n LIMIT 1
"""
FIRST_REFUSED: Final = "SELECT n FROM refused_envelopes WHERE envelope_id = ?"
FIRST_CONSENT: Final = """
SELECT n FROM consent_events WHERE event_id = ?1 UNION ALL SELECT n FROM contributor_keys WHERE subject = ?1
"""
FIRST_INTAKE: Final = "SELECT n FROM intake_records WHERE record_id = ?"
FIRST_TRAJECTORY: Final = "SELECT n FROM trajectories WHERE trajectory_id = ? OR session_id = ? ORDER BY n LIMIT 1"


def claims_of(batch: Sequence[Committed]) -> list[Claim]:
    """What the lines of a batch say; none is of the corpus, where a later line takes an earlier one's place."""
    return [_claim(item.record, item.position) for item in batch]


def _claim(record: Record, place: Position) -> Claim:
    session_id, sequence = "", None
    match record:
        case ConsentRecord():
            line_id = record.event.id
        case ContributorKeyRecord():
            line_id = record.subject
        case TrajectoryRecord() | CorpusRecord() | JudgementRecord():
            line_id, session_id = record.trajectory_id, record.session_id
        case IntakeRecord() | CorpusTextRecord():
            line_id = record.record_id
        case AuditRecord():
            raise AssertionError("a line of the audit journal may say again what an earlier one says")
        case EnvelopeRecord():
            line_id, session_id, sequence = record.envelope_id, record.session_id, record.sequence
        case OperationRecord() | DigestRecord():
            raise AssertionError("the same may be done again, and digests are a chain")
        case _:
            line_id, session_id = record.envelope_id, record.session_id
    return Claim(line_id, session_id, sequence, place.n, place.day, place.offset)


async def repetitions(database: Database, journal: JournalName, claims: Sequence[Claim]) -> dict[int, str]:
    """For each line that repeats one of sessions.db, or one before it among `claims`: its number, and a sentence."""
    stored = await database.read_snapshot([_first_line(journal, claim) for claim in claims])
    firsts: dict[object, int] = {}
    found: dict[int, str] = {}
    for claim, rows in zip(claims, stored, strict=True):
        said = _said(journal, claim)
        before = [*(n for (n,) in rows), *(firsts[each] for each in said if each in firsts)]
        if before:
            first = min(before)
            found[claim.n] = f"{where_is(claim.n, claim.day, claim.offset)} {_sentence(journal, claim, first)}"
            continue
        firsts |= dict.fromkeys(said, claim.n)
    return found


def _first_line(journal: JournalName, claim: Claim) -> Query:
    match journal:
        case JournalName.ENVELOPES:
            return FIRST_ENVELOPE, (claim.line_id, claim.session_id, claim.sequence)
        case JournalName.REFUSED:
            return FIRST_REFUSED, (claim.line_id,)
        case JournalName.TRAJECTORIES:
            return FIRST_TRAJECTORY, (claim.line_id, claim.session_id)
        case JournalName.CONSENT:
            return FIRST_CONSENT, (claim.line_id,)
        case JournalName.INTAKE:
            return FIRST_INTAKE, (claim.line_id,)
        case JournalName.CORPUS:
            raise AssertionError("a line of the corpus may say again what an earlier one says")
        case JournalName.AUDIT:
            raise AssertionError("nor is a line of the audit journal looked for")
        case JournalName.OPERATIONS | JournalName.DIGESTS:
            raise AssertionError("the same may be done again, and digests are a chain")
        case unreachable:
            assert_never(unreachable)


def _said(journal: JournalName, claim: Claim) -> list[object]:
    said: list[object] = [claim.line_id]
    if journal is JournalName.TRAJECTORIES:
        said.append((claim.session_id, None))
    elif claim.sequence is not None:
        said.append((claim.session_id, claim.sequence))
    return said


def _sentence(journal: JournalName, claim: Claim, first: int) -> str:
    if journal is JournalName.TRAJECTORIES:
        return f"is a second trajectory of session {claim.session_id!r}, or has its id; the first is line {first}"
    if journal is JournalName.CONSENT:
        return f"is a second event of the id {claim.line_id!r}, or its second key; the first is line {first}"
    if journal is JournalName.INTAKE:
        return f"has the record_id {claim.line_id!r} for a second time; the first is line {first}"
    numbered = "" if claim.sequence is None else f", or the sequence {claim.sequence} of session {claim.session_id!r},"
    return f"has the envelope_id {claim.line_id!r}{numbered} for a second time; the first is line {first}"
