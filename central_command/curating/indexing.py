"""The index of the corpus kept up with it, in the process that writes the corpus, and after it in turn.

Nothing waits for it: where it cannot go on, that is said, and curation goes on. An index that cannot be used is removed
and made anew, because all of it follows from the corpus.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from persistence.databases.opening import open_inline_database
from persistence.files.failures import StorageFailure
from persistence.format import times
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.journals.stored import StoredJournal
from persistence.search_index import SearchIndex, is_unusable, open_search_index, remove_index
from persistence.settings.search import SearchSettings
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.curation")

RETRY_S: Final = 30.0
"""How long the index is left alone after it could not be written."""

Embedded = Callable[[bytes], bytes]
"""The embedding of a session by its record's line, as search.db holds it; empty where nothing tells."""


class Indexing:
    """Keeps the index of a data directory up, `run` until cancelled or `catch_up` once. One task.

    `embedded` is None where no embeddings are wanted. The caller holds the corpus's lock.
    """

    def __init__(
        self,
        data_directory: Path,
        settings: SearchSettings,
        storage: StorageSettings,
        *,
        embedded: Embedded | None,
        clock: Callable[[], float],
        poll_interval_s: float,
    ) -> None:
        self._layout = DataLayout(data_directory)
        self._settings = settings
        self._storage = storage
        self._embedded = embedded
        self._clock = clock
        self._poll_interval_s = poll_interval_s

    def __repr__(self) -> str:
        return f"<Indexing {self._layout.search_database}>"

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self._attempt(self._follow)
            await trio.sleep(RETRY_S)

    async def catch_up(self) -> None:
        """Take in everything that there is, where that is possible now."""
        if not await self._attempt(self._take_all):
            await self._attempt(self._take_all)

    async def _follow(self, index: SearchIndex) -> None:
        while True:
            await self._take_all(index)
            await trio.sleep(self._poll_interval_s)

    async def _take_all(self, index: SearchIndex) -> None:
        """Texts first: they take a small part of the time that embeddings take."""
        while await index.follow():
            await trio.lowlevel.checkpoint()
        if self._embedded is None:
            return
        while await index.embed(self._embedded):
            await index.follow()
            await trio.lowlevel.checkpoint()

    async def _attempt(self, work: Callable[[SearchIndex], Awaitable[None]]) -> bool:
        """Do it to the end; False, which is said, where the index could not be used, or written."""
        try:
            async with self._opened() as index:
                await work(index)
        except StorageFailure as error:
            log.warning("the index of the corpus: %s", error)
            if is_unusable(error):
                self._remove()
            return False
        return True

    def _opened(self) -> AbstractAsyncContextManager[SearchIndex]:
        lines = StoredJournal.of(self._layout, JournalName.CORPUS)
        applied_at = times.to_text(self._clock())
        opening = partial(open_inline_database, settings=self._storage, applied_at=applied_at)
        return open_search_index(self._layout, lines, self._settings, opening)

    def _remove(self) -> None:
        try:
            remove_index(self._layout)
        except OSError as error:
            log.error("search.db cannot be removed: %s", error.strerror)  # noqa: TRY400 (the sentence says it all)
