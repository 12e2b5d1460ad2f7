"""A data directory with closed sessions, and curation over it in process, for tests of the corpus."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.consent.settings import ConsentSettings
from actors.curation.consent import Agreement, Consented, RecordedConsent
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.fields import FieldTags
from actors.curation.following import Curation, CurationStatistics
from actors.curation.settings import CurationSettings
from actors.curation.stitched import StitchedTrajectory
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import Corpus, open_corpus
from persistence.files.file_system import FileSystem
from persistence.settings.storage import StorageSettings
from tests.running_service import Running, running
from tests.stored_state import finished

STORAGE = StorageSettings(free_bytes_min=0)
EMAIL = "jane.doe@example.com"
NOW = 1_795_169_541.0


async def leave_session(
    run: Running, name: str, contents: Sequence[str] = ("hello",), *, feedback: int = 0, **options: Any
) -> None:
    """Leave a closed session whose steps say this, and feedback before its close."""
    client = await run.open(name, **options)
    await run.send(client.chunk_of([client.step(content=content) for content in contents]))
    for place in range(feedback):
        await run.send(client.feedback(sequence=100 + place))
    await run.send(client.close())
    await finished(run, name)


async def leave_sessions(root: Path, *names: str) -> None:
    """Leave closed sessions, the steps of each with an address."""
    async with running(root) as run:
        for name in names:
            await leave_session(run, name, [f"write to {EMAIL}", f"{name}: done"])


@asynccontextmanager
async def curation(
    root: Path,
    *,
    consented: Consented | None = None,
    consent: ConsentSettings | None = None,
    report: Callable[[CurationStatistics], None] | None = None,
    tagged: Callable[[StitchedTrajectory], FieldTags | None] | None = None,
    files: FileSystem | None = None,
    storage: StorageSettings = STORAGE,
    kept_since: Callable[[], float] = lambda: 0.0,
    **settings: Any,
) -> AsyncIterator[tuple[Curation, Corpus]]:
    """Open the corpus of a data directory, and what makes it."""
    async with (
        open_closed_sessions(root) as sessions,
        open_corpus(root, storage, clock=lambda: NOW, files=files) as corpus,
    ):
        recorded = RecordedConsent(sessions.consents, consent or ConsentSettings())
        await corpus.heed(recorded.terms)
        curating = Curation(
            sessions,
            corpus,
            consented=consented or recorded,
            consented_users=recorded.of_user,
            settings=CurationSettings(**settings),
            enrichment=EnrichmentSettings(),
            tagged=tagged,
            report=report,
            kept_since=kept_since,
        )
        yield curating, corpus


async def curate(root: Path, *, anew: bool = False, **options: Any) -> CurationStatistics:
    """Take everything that there is."""
    async with curation(root, **options) as (curating, _):
        if anew:
            await curating.begin_anew()
        await curating.catch_up()
        return curating.statistics()


def refused(*contributors: str) -> Consented:
    """What is asked for consent, where these contributors gave none."""

    async def said(contributor_id: str) -> Agreement:
        return Agreement(given=contributor_id not in contributors, version="1.0", source="api")

    return said


def corpus_lines(root: Path) -> list[dict[str, Any]]:
    """All lines of the corpus journal, parsed."""
    return [
        json.loads(line)
        for path in sorted((root / "corpus").glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def corpus_rows(root: Path, sql: str) -> list[tuple[Any, ...]]:
    """Query corpus.db."""
    connection = sqlite3.connect(root / "corpus.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def shown(root: Path) -> dict[str, dict[str, Any]]:
    """What a reader of the corpus sees: for each session the line that its row points at."""
    found = {}
    for session_id, day, offset, length in corpus_rows(root, 'SELECT session_id, day, "offset", length FROM records'):
        text = (root / "corpus" / f"{day}.jsonl").read_bytes()[offset : offset + length]
        found[session_id] = json.loads(text)
    return found
