"""Pages of the corpus for many at once: each piece of one is read in a thread, a bounded number of them at a time."""

import logging
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from central_command.corpus.paging import Asked, Page, PageBounds
from central_command.corpus.stored import StoredCorpus
from central_command.process.bounded_threads import BoundedThreads, FullError
from persistence.files.failures import NoDataDirectory, StorageFailure
from persistence.keys.sealing import MasterKeyError

log = logging.getLogger("central_command.http")

GZIP: Final = 16 + zlib.MAX_WBITS
GZIP_LEVEL: Final = 1
"""Texts become a quarter at the first level, and a fifth at one that takes three times as long."""


class Unable(StrEnum):
    """Why there is no page, for a program."""

    BUSY = "corpus_busy"
    NO_CORPUS = "no_corpus"
    FAILED = "corpus_failed"


SENTENCES: Final = {
    Unable.BUSY: "As many wait for pages of the corpus as may; come back later.",
    Unable.NO_CORPUS: "There is no corpus yet: curation makes one (curation.enabled).",
    Unable.FAILED: "The corpus cannot be read now; come back later.",
}


class Begun(msgspec.Struct, frozen=True):
    """A page whose first piece was read; the others are read while it is sent. One that fails then has no last line."""

    pieces: AsyncIterator[bytes]


class CorpusDesk:
    """Opens pages; `bounds` are those of the largest one, `providers` says which the server takes."""

    def __init__(
        self,
        data_directory: Path,
        bounds: PageBounds,
        *,
        providers: Callable[[], Collection[str]],
        readers_max: int,
        waiting_max: int,
    ) -> None:
        self._data_directory = data_directory
        self._providers = providers
        self.bounds = bounds
        self._threads = BoundedThreads(readers_max, waiting_max)

    def __repr__(self) -> str:
        return f"<CorpusDesk {self._threads}>"

    async def open(self, asked: Asked, *, limit: int, cursor: str | None, is_packed: bool) -> Begun | Unable:
        """Begin a page of at most `limit` records, packed with gzip or not.

        Raises ValueError, with a sentence: CursorError, or for a provider that nothing is of, nor can be.
        """
        page = Page(self._data_directory, asked, cursor, msgspec.structs.replace(self.bounds, records=limit))

        def begun() -> bytes:
            if cursor is None and asked.filters.providers:
                StoredCorpus(self._data_directory).check_providers(asked.filters.providers, self._providers())
            return page.next_piece()

        try:
            first = await self._threads.answer(begun, abandon_on_cancel=False)
        except FullError:
            return Unable.BUSY
        except NoDataDirectory:
            return Unable.NO_CORPUS
        except (StorageFailure, MasterKeyError, OSError) as error:
            log.error("a page of the corpus failed: %s", error)  # noqa: TRY400 (the sentence says it all)
            return Unable.FAILED
        return Begun(_packed(self._pieces(page, first)) if is_packed else self._pieces(page, first))

    async def _pieces(self, page: Page, piece: bytes) -> AsyncIterator[bytes]:
        yield piece
        while not page.is_whole:
            try:
                with self._threads.counted():
                    piece = await self._threads.run(page.next_piece, abandon_on_cancel=False)
            except (StorageFailure, MasterKeyError, OSError) as error:
                log.error("a page of the corpus broke off: %s", error)  # noqa: TRY400 (the sentence says it all)
                return
            yield piece


async def _packed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same as gzip has it."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=GZIP)
    async for piece in pieces:
        packed = packer.compress(piece)
        if packed:
            yield packed
    yield packer.flush()
