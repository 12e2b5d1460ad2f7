"""The figures of a data directory: each question in a thread of its own, a bounded number of them, within a time.

The bounds are those of searches (`[search]` of config.toml): it is the same index that is read. A contributor's id is a
secret of theirs, so it leaves this module as a pseudonym only.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from central_command.corpus.index_filters import Choice, index_filters
from central_command.corpus.pseudonyms import StoredPseudonyms
from central_command.process.bounded_threads import BoundedThreads, FullError
from central_command.search.questions import NO_INDEX, Refusal, Unable
from persistence.databases.figures_reading import (
    Cluster,
    ContributorKey,
    ContributorRow,
    IndexTotals,
    ToolKey,
    ToolPage,
    clusters,
    contributor_page,
    index_totals,
    tool_page,
)
from persistence.databases.search_reading import SearchTimedOut
from persistence.files.failures import NoDataDirectory, StorageFailure
from persistence.files.file_system import OsFileSystem
from persistence.format.consent_events import DIGEST_PREFIX
from persistence.format.layout import DataLayout
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.keys.sealing import MasterKeyError
from persistence.settings.search import SearchSettings
from persistence.upkeep.corpus_reading import CorpusState, corpus_state

log = logging.getLogger("central_command.http")

T = TypeVar("T")

CLUSTERS_LISTED: Final = 10
OFFSET_MAX: Final = 10_000_000
"""Rows that may be passed over before a page begins."""

TOO_SLOW: Final = Refusal(
    Unable.TIMED_OUT, "Counting took longer than search.timeout_s: ask for fewer days, or a single model."
)


class CorpusTally(msgspec.Struct, frozen=True, kw_only=True):
    """What the corpus holds; `state` is None before there is one, `index` before it was indexed."""

    state: CorpusState | None
    index: IndexTotals | None
    clusters: list[Cluster]


class Contributor(msgspec.Struct, frozen=True, kw_only=True):
    """A contributor by their pseudonym; `consent` is None without a word of theirs, times are texts."""

    pseudonym: str
    points: float
    sessions: int
    last_credit_at: str | None
    trust: float
    records: int
    consent: str | None
    version: str | None
    changed_at: str | None


class Contributors(msgspec.Struct, frozen=True):
    """Contributors in an order; `count` and `consents` (by state) are of all but those who were erased.

    `points` are all that were credited, also what stays of whom or what was erased, in the name of `erased` requests.
    """

    rows: list[Contributor]
    count: int
    points: float
    consents: dict[str, int]
    erased: int
    has_more: bool


class Tallies:
    """Answers questions; each answer may be a refusal instead."""

    def __init__(self, data_directory: Path, settings: SearchSettings) -> None:
        self._layout = DataLayout(data_directory)
        self._settings = settings
        self._pseudonym = StoredPseudonyms(self._layout.keys).of
        self._threads = BoundedThreads(settings.concurrency_max, settings.waiting_max)

    def __repr__(self) -> str:
        return f"<Tallies {self._layout.root} {self._threads}>"

    async def tools(
        self, chosen: Choice, key: ToolKey, *, descending: bool, offset: int, limit: int
    ) -> ToolPage | Refusal:
        """Tools of the chosen sessions, behind so many others; contributors are not chosen here."""
        assert not chosen.contributors, "who asks offers no choice of them"
        ask = partial(
            tool_page,
            self._layout,
            index_filters(chosen, tuple, str),
            key,
            descending=descending,
            offset=offset,
            limit=limit,
            timeout_s=self._settings.timeout_s,
        )
        return await self._answered(ask)

    async def corpus(self) -> CorpusTally | Refusal:
        """What the corpus holds."""
        return await self._answered(self._corpus)

    async def contributors(
        self, key: ContributorKey, *, descending: bool, offset: int, limit: int
    ) -> Contributors | Refusal:
        """Contributors behind so many others."""
        return await self._answered(partial(self._contributors, key, descending=descending, offset=offset, limit=limit))

    def _corpus(self) -> CorpusTally:
        timeout_s = self._settings.timeout_s
        try:
            state = trio.run(corpus_state, self._layout.root)  # it is read in place: nothing in it waits
        except NoDataDirectory:
            return CorpusTally(state=None, index=None, clusters=[])
        found = clusters(self._layout, CLUSTERS_LISTED, timeout_s)
        try:
            index = index_totals(self._layout, timeout_s)
        except NoDataDirectory:
            index = None
        return CorpusTally(state=state, index=index, clusters=found)

    def _contributors(self, key: ContributorKey, *, descending: bool, offset: int, limit: int) -> Contributors:
        page = contributor_page(
            self._layout,
            key,
            descending=descending,
            offset=offset,
            limit=limit,
            erased=self._erased(),
            timeout_s=self._settings.timeout_s,
        )
        rows = [_shown(row, self._pseudonym(row.contributor_id)) for row in page.rows]
        return Contributors(rows, page.contributors, page.points, page.consents, page.erased, page.has_more)

    def _erased(self) -> list[str]:
        """Of whom nothing is taken any more, by what stands for them where they spoke of consent."""
        register = ErasureRegister(register_path(self._layout), OsFileSystem(), time.time)
        return [f"{DIGEST_PREFIX}{digest}" for digest in register.people]

    async def _answered(self, ask: Callable[[], T]) -> T | Refusal:
        try:
            return await self._threads.answer(ask)  # of whoever has gone the thread ends with the question's time
        except FullError:
            return Refusal(Unable.BUSY, "Too many others wait for figures; come back later.")
        except NoDataDirectory:
            return NO_INDEX
        except SearchTimedOut:
            return TOO_SLOW
        except (StorageFailure, MasterKeyError, OSError) as error:
            log.error("figures cannot be told: %s", error)  # noqa: TRY400 (the sentence says it all)
            return Refusal(Unable.FAILED, "The figures cannot be read now; come back later.")


def _shown(row: ContributorRow, pseudonym: str) -> Contributor:
    members = msgspec.structs.asdict(row)
    del members["contributor_id"]
    return Contributor(pseudonym=pseudonym, **members)
