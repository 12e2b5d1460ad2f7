"""The last search of an erasure, in all files, and which databases are written anew before its word is taken."""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, closing
from functools import partial
from pathlib import Path

import msgspec

from actors.sessions.environment import Environment
from persistence.corpus_erasing import StoppedCorpus
from persistence.databases.database import DatabaseFailure
from persistence.databases.jobs_changing import JobChanges
from persistence.databases.jobs_database import JobsDatabase
from persistence.databases.shared_file import write_anew
from persistence.upkeep.remains import NEEDLE_BYTES_MIN, Remains, remains

log = logging.getLogger("central_command.storage")


class Wanted(msgspec.Struct, frozen=True):
    """What is looked for, by whose it is: names, as which nobody else may be written, and pieces of what they wrote.

    The files to `leave` are not looked at.
    """

    names: Mapping[str, str]
    samples: Mapping[str, str]
    leave: Collection[Path]


class LastSearch:
    """Searches every file, and writes anew the databases in which something is seen, before what is seen there counts.

    corpus.db is written anew already, when rows go from it. search.db, which may be large and overwrites what goes from
    it, is for each request once in this process. `stopped_corpus` is a block in which nobody writes the corpus.
    """

    def __init__(
        self, environment: Environment, stopped_corpus: Callable[[], AbstractAsyncContextManager[StoppedCorpus]]
    ) -> None:
        self._environment = environment
        self._storage = environment.storage
        self._stopped_corpus = stopped_corpus
        self._index_for = set[str]()
        """For whose texts the index was written anew."""

    def __repr__(self) -> str:
        return f"<LastSearch of {self._storage.layout.root}>"

    async def left(self, wanted: Wanted, *, rows_were_theirs: bool) -> dict[str, list[str]]:
        """Return the paths of the files that hold something still, by whose it is.

        Where rows were theirs, the databases of these are written anew before anything is looked for. Raises
        DatabaseFailure, and DataDirectoryLocked where the corpus is another process's.
        """
        layout = self._storage.layout
        written_anew = {layout.corpus_database.name}
        self._index_for &= {*wanted.names.values(), *wanted.samples.values()}
        if rows_were_theirs:
            await self._write_rows_anew(written_anew)
        found = await self._search(wanted)
        seen = found.databases()
        if seen.keys() - written_anew:
            if seen.keys() & {layout.sessions_database.name, layout.ledger_database.name} - written_anew:
                await self._write_rows_anew(written_anew)
            await self._write_others_anew(seen, written_anew)
            found = await self._search(wanted)
        return found.left(written_anew)

    async def _search(self, wanted: Wanted) -> Remains:
        offload, layout = self._environment.offload, self._storage.layout
        await offload(self._forget_in_jobs, {*wanted.names, *wanted.samples})
        return await offload(partial(remains, layout, wanted.names, wanted.samples, leave=wanted.leave))

    async def _write_rows_anew(self, written_anew: set[str]) -> None:
        layout = self._storage.layout
        await self._storage.erasure.rows.compact()
        written_anew |= {layout.sessions_database.name, layout.ledger_database.name}

    async def _write_others_anew(self, seen: Mapping[str, set[str]], written_anew: set[str]) -> None:
        layout = self._storage.layout
        if whose := seen.get(layout.search_database.name):
            if whose - self._index_for:
                async with self._stopped_corpus() as stopped:
                    await stopped.write_index_anew()
                self._index_for |= whose
            written_anew.add(layout.search_database.name)
        for path in (layout.access_database, layout.jobs_database):
            if path.name in seen:
                try:
                    await self._environment.offload(write_anew, path)
                    written_anew.add(path.name)
                except DatabaseFailure as failure:  # no reason to end: envelopes are taken in without it
                    log.warning("%s was not written anew: %s", path.name, failure)

    def _forget_in_jobs(self, texts: Collection[str]) -> None:
        """Remove what jobs in the background have said of them; what is active says it until its end."""
        path = self._storage.layout.jobs_database
        wanted = [text for text in texts if len(text) >= NEEDLE_BYTES_MIN]
        if wanted and path.exists():
            with closing(JobsDatabase(path, self._environment.clock)) as database:
                JobChanges(database).forget(wanted)
