"""What the corpus of a data directory holds, for commands: read in place, also beside the process that writes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from persistence.databases.corpus_records import CorpusIndex, CorpusTotals, StoredRecord
from persistence.databases.corpus_texts import CorpusTexts, StoredText
from persistence.databases.database import Database
from persistence.databases.judgements import JudgementIndex
from persistence.databases.migrations import CORPUS_SCHEMA, SESSIONS_SCHEMA
from persistence.databases.projector import projected
from persistence.databases.reading import open_database_read_only
from persistence.databases.summaries import SummaryIndex
from persistence.files.failures import none_of_a_corpus
from persistence.format import json_text
from persistence.format.layout import DataLayout
from persistence.format.records import CorpusRecord, JournalName, Mark
from persistence.journals.erased_lines import is_erased
from persistence.journals.stored import StoredJournal

LISTED_MAX: Final = 20
"""Models and versions of rules that are listed."""

CANDIDATES_MAX: Final = 5
"""Of the records that a beginning may mean, so many are named."""

PREFIXES: Final = ("rec_", "sess_")

NOT_SHOWN: Final = frozenset({"contributor_id", "user_id", "crc32"})
"""Members of a record's line that are shown to nobody: who it was. A contributor's id is a secret of theirs."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class CorpusState(msgspec.Struct, frozen=True, kw_only=True):
    """What the corpus holds, and how many trajectories, and texts of the intake, were not taken yet."""

    waiting: int
    texts_waiting: int
    totals: CorpusTotals


@asynccontextmanager
async def _corpus(layout: DataLayout) -> AsyncIterator[Database]:
    if not layout.corpus_database.exists():
        raise none_of_a_corpus(layout.root, "corpus")
    async with open_database_read_only(layout.corpus_database, CORPUS_SCHEMA) as corpus:
        yield corpus


async def corpus_state(data_directory: Path) -> CorpusState:
    """Count what the corpus holds."""
    layout = DataLayout(data_directory)
    async with (
        _corpus(layout) as corpus,
        open_database_read_only(layout.sessions_database, SESSIONS_SCHEMA) as sessions,
    ):
        followed, reached = await projected(corpus), await projected(sessions)
        waiting, texts_waiting = (
            max(0, reached.get(name, Mark()).n - followed.get(name, Mark()).n)
            for name in (JournalName.TRAJECTORIES, JournalName.INTAKE)
        )
        totals = await CorpusIndex(corpus).totals(LISTED_MAX)
        return CorpusState(waiting=waiting, texts_waiting=texts_waiting, totals=totals)


async def record_line(data_directory: Path, name: str) -> bytes | str:
    """The line of a record, without what is shown to nobody, or a sentence saying why there is none.

    What a judge said of it is put last, as the member `judgement`; its title and summary first, once they are made.

    `name` is the record's or its session's id, or a beginning of it that no other has.
    """
    layout = DataLayout(data_directory)
    async with _corpus(layout) as database:
        index = CorpusIndex(database)
        found: list[StoredRecord | StoredText] = [*await _named(index, name)]
        found += await _texts_named(CorpusTexts(database), name)
        if len(found) > 1:
            listed = ", ".join(each.record.record_id for each in found[:CANDIDATES_MAX])
            return f"More than one record begins with {name!r}: {listed}{', …' if len(found) > CANDIDATES_MAX else ''}."
        if not found:
            reason = await index.reason_of_session(name)
            if reason is not None:
                return f"Session {name} has no record in the corpus: {reason}."
            return f"There is no record {name!r} in the corpus of {data_directory}."
        record = found[0].record
        of = record.trajectory_id if isinstance(record, CorpusRecord) else None
        judged = None if of is None else await JudgementIndex(database).of_trajectory(of)
        summed = None if of is None else await SummaryIndex(database).of_trajectory(of)
    (line,) = await StoredJournal.of(layout, JournalName.CORPUS).read([found[0].position])
    if is_erased(line):  # a moment ago
        return f"There is no record {name!r} in the corpus of {data_directory}."
    members = json_text.decode(_MEMBERS, line)
    shown: dict[str, object] = {key: value for key, value in members.items() if key not in NOT_SHOWN}
    shown |= {} if judged is None else {"judgement": judged}
    return msgspec.json.encode(shown if summed is None else {"title": summed.title, "summary": summed.summary} | shown)


async def _texts_named(texts: CorpusTexts, name: str) -> list[StoredText]:
    """The texts that may be meant: of that id, or all of that session, else those that begin so."""
    found = await texts.beginning_with(name, CANDIDATES_MAX + 1) if name else []
    exact = [each for each in found if name in {each.record.record_id, each.record.session_id}]
    return exact or found


async def _named(index: CorpusIndex, name: str) -> list[StoredRecord]:
    """The records that may be meant: of that id, else those that begin so."""
    if not name:
        return []
    for text in (name, *(f"{prefix}{name}" for prefix in PREFIXES)):
        if found := await index.beginning_with(text, CANDIDATES_MAX + 1):
            exact = [each for each in found if text in {each.record.record_id, each.record.session_id}]
            return exact or found
    return []
