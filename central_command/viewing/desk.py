"""Looks of many at once: each in a thread of its own, a bounded number of them, and never in the event loop."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from central_command.process.bounded_threads import BoundedThreads, FullError
from central_command.viewing.records import Missing, MissingError, Records
from central_command.viewing.settings import ViewerSettings
from persistence.databases.search_reading import SearchTimedOut
from persistence.files.failures import NoDataDirectory, StorageDamage, StorageFailure
from persistence.journals.reading import JournalDamage, JournalOutOfReach
from persistence.keys.sealing import MasterKeyError

log = logging.getLogger("central_command.http")

T = TypeVar("T")

PIECES_AT_ONCE: Final = 4
"""Pieces of a text that are read in one go; guards memory."""


class UnableError(Exception):
    """It cannot be shown now: one sentence says why, a code for programs, and whether it may be later."""

    def __init__(self, code: str, sentence: str, *, is_for_now: bool = True) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.is_for_now = is_for_now


BUSY: Final = ("viewer_busy", "Too many look at sessions just now; come back in a moment.")
NO_INDEX: Final = (
    "no_index",
    "There is no index of the corpus yet: curation makes one (curation.enabled, search.enabled).",
)
TIMED_OUT: Final = ("viewer_timed_out", "Looking took longer than viewer.timeout_s; come back later.")
FAILED: Final = ("viewer_failed", "The corpus cannot be read now; come back later.")


class ViewerDesk:
    """Takes in what is to be looked at."""

    def __init__(self, data_directory: Path, settings: ViewerSettings) -> None:
        self.settings = settings
        self.records = Records(data_directory, settings)
        self._threads = BoundedThreads(settings.concurrency_max, settings.waiting_max)

    def __repr__(self) -> str:
        return f"<ViewerDesk {self._threads}>"

    async def look(self, work: Callable[[Records], T]) -> T:
        """What a function finds in the records, in a thread; raises UnableError, MissingError."""
        try:
            return await self._threads.answer(partial(work, self.records))
        except FullError:
            raise UnableError(*BUSY) from None
        except NoDataDirectory:
            raise UnableError(*NO_INDEX) from None
        except SearchTimedOut:
            raise UnableError(*TIMED_OUT) from None
        except JournalOutOfReach as error:
            log.error("a session cannot be shown: %s", error)  # noqa: TRY400 (the sentence says it all)
            raise UnableError(*FAILED) from None
        except JournalDamage as error:
            log.error("a session cannot be shown: %s", error)  # noqa: TRY400 (likewise)
            raise MissingError(Missing.UNREADABLE) from None
        except (StorageFailure, MasterKeyError, OSError) as error:
            log.error("a session cannot be shown: %s", error)  # noqa: TRY400 (the sentence says it all)
            raise UnableError(*FAILED) from None

    async def texts(self, session_id: str, number: int) -> "StepTexts | None":
        """All that a step says, to be read some at a time; None where there is no such step. Raises as `look`."""

        def found(records: Records) -> Iterator[str] | None:
            with records.opened(session_id) as record:
                place = record.place(number)
                return None if place is None else record.texts(place)  # from now on it reads the line alone

        texts = await self.look(found)
        return None if texts is None else StepTexts(texts, self._threads)


class StepTexts:
    """What a step says, as UTF-8, some at a time, read in threads."""

    def __init__(self, texts: Iterator[str], threads: BoundedThreads) -> None:
        self._texts = texts
        self._threads = threads

    def __repr__(self) -> str:
        return "<StepTexts>"

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it; ends before the end where the disk fails, which is logged."""
        while True:
            try:
                piece = await self._threads.run(self._next, abandon_on_cancel=False)
            except (StorageFailure, StorageDamage, OSError) as error:
                log.error("a step cannot be read: %s", error)  # noqa: TRY400 (the sentence says it all)
                return
            if not piece:
                return
            yield piece

    def _next(self) -> bytes:
        return "".join(islice(self._texts, PIECES_AT_ONCE)).encode(errors="replace")
