"""Questions answered from the index of a data directory, beside whoever writes it. Blocking; from several threads.

Whoever is to be erased is in no answer, from the request on. The text of a hit is read from its line in the corpus, so
what has gone from there is shown nowhere.
"""

import threading
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from central_command.corpus.cursors import CursorError, digest_of
from central_command.corpus.index_filters import index_filters
from central_command.corpus.pseudonyms import StoredPseudonyms
from central_command.search.cursors import CURSORS, Newest, Offset, Place, Ranked
from central_command.search.queries import Query, QueryError, read_query
from central_command.search.questions import (
    NO_INDEX,
    NO_NUMPY,
    TIMED_OUT,
    Answer,
    Hit,
    Mode,
    Order,
    Question,
    Refusal,
    Unable,
)
from central_command.search.snippets import Marker, Part, beginning
from persistence.databases.search_reading import (
    ROW_MAX,
    SearchReader,
    SearchTimedOut,
    SessionFilters,
    search_reader,
)
from persistence.databases.search_rows import IndexedSession, line_and_place, row_of
from persistence.files.failures import NoDataDirectory, StorageFailure
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.format.searched_steps import SearchedLine, SearchedStep
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.journals.reading import JournalDamage
from persistence.journals.stored import StoredJournal
from persistence.settings.search import SearchSettings

if TYPE_CHECKING:
    from central_command.search.vectors import SessionVectors

FUSED_MAX: Final = 200
"""Hits of each kind that are fused, and sessions that are found by embeddings."""

RANK_CONSTANT: Final = 60
"""Of reciprocal ranks: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion", SIGIR 2009."""


class _Found(msgspec.Struct, frozen=True):
    """A row of the index that was found; place 0 stands for a session as a whole."""

    row: int
    score: float | None = None


class _Page(msgspec.Struct, frozen=True):
    """What was found for a page, in order, and where the next one begins; None where there is none."""

    found: list[_Found]
    behind: Place | None
    order: Order | None
    is_complete: bool = True


class Searcher:
    """Answers questions. Makes the key of pseudonyms if there is none yet; raises MasterKeyError where it is no key."""

    def __init__(self, data_directory: Path, settings: SearchSettings) -> None:
        self._layout = DataLayout(data_directory)
        self._settings = settings
        self._journal = StoredJournal.of(self._layout, JournalName.CORPUS)
        self._erasures = ErasureRegister(register_path(self._layout), OsFileSystem(), time.time)
        self._lock = threading.Lock()
        self._pseudonym = StoredPseudonyms(self._layout.keys).of
        self._vectors: SessionVectors | None = None

    def __repr__(self) -> str:
        return f"<Searcher {self._layout.root}>"

    def answer(
        self, question: Question, *, limit: int, cursor: str | None = None, vector: Sequence[float] | None = None
    ) -> Answer | Refusal:
        """A page of at most `limit` hits; `vector` is the text's embedding, for what is found by embeddings.

        Raises DatabaseFailure, MasterKeyError.
        """
        digest = digest_of(question)
        try:
            query = None if question.mode is Mode.SEMANTIC else read_query(question.q)
            place = None if cursor is None else CURSORS.place(cursor, digest)
        except (QueryError, CursorError) as error:
            return Refusal(Unable.NOT_READABLE, str(error))
        if query is None and not question.q.strip():
            return Refusal(Unable.NOT_READABLE, "The query is empty.")
        try:
            with search_reader(self._layout, self._settings.timeout_s) as reader:
                page = self._page(reader, question, query, place, vector, limit)
                if isinstance(page, Refusal):
                    return page
                return self._shown(reader, question, query, page, digest)
        except NoDataDirectory:
            return NO_INDEX
        except SearchTimedOut:
            return TIMED_OUT

    def _page(
        self,
        reader: SearchReader,
        question: Question,
        query: Query | None,
        place: Place | None,
        vector: Sequence[float] | None,
        limit: int,
    ) -> _Page | Refusal:
        filters = index_filters(question, reader.contributors, self._pseudonym)
        if query is not None and question.mode is Mode.TEXT:
            return self._by_words(reader, query, question.order, filters, place, limit)
        vectors = self._session_vectors()
        if vectors is None or vector is None:
            return NO_NUMPY
        among = None if filters.leave_all else reader.passing(filters)
        near = [_Found(row_of(n, 0), cosine) for cosine, n in vectors.nearest(reader, vector, among, FUSED_MAX)]
        if query is not None:
            best = self._by_words(reader, query, Order.RELEVANCE, filters, None, FUSED_MAX)
            near = _fused(best.found, near)
        begin = place.hits if isinstance(place, Offset) else 0
        shown = near[begin : begin + limit]
        behind = Offset(begin + limit) if begin + limit < len(near) else None
        return _Page(shown, behind, None)

    def _by_words(
        self,
        reader: SearchReader,
        query: Query,
        order: Order,
        filters: SessionFilters,
        place: Place | None,
        limit: int,
    ) -> _Page:
        if order is Order.RELEVANCE and not isinstance(place, Newest):
            ranked = reader.ranked(query.expression, query.words, filters, self._settings.ranked_matches_max)
            if ranked is not None:
                if isinstance(place, Ranked):
                    ranked = [(score, row) for score, row in ranked if (score, -row) > (place.score, -place.row)]
                found = [_Found(row, -score) for score, row in ranked[:limit]]
                last = Ranked(*ranked[limit - 1]) if len(ranked) > limit else None
                return _Page(found, last, Order.RELEVANCE)
        below = place.row if isinstance(place, Newest) else ROW_MAX
        matches = reader.newest(query.expression, filters, below=below, limit=limit + 1)
        rows = matches.rows[:limit]
        behind = None
        if len(matches.rows) > limit:
            behind = Newest(rows[-1])
        elif matches.looked_down_to is not None:
            behind = Newest(matches.looked_down_to)
        is_complete = matches.looked_down_to is None
        return _Page([_Found(row) for row in rows], behind, Order.NEWEST, is_complete=is_complete)

    def _shown(self, reader: SearchReader, question: Question, query: Query | None, page: _Page, digest: str) -> Answer:
        sessions = reader.sessions([line_and_place(each.row)[0] for each in page.found])
        with self._lock:
            self._erasures.read_on()
        marker = Marker(() if query is None else query.terms)
        lines = dict[int, SearchedLine | None]()
        rest_bytes = self._settings.snippet_bytes_max
        hits = list[Hit]()
        for found in page.found:
            n, place = line_and_place(found.row)
            session = sessions.get(n)
            if session is None or self._erasures.names(session.contributor_id, session.session_id):
                continue
            if n not in lines:
                lines[n] = self._line(session) if session.length <= rest_bytes else None
                rest_bytes -= session.length if lines[n] is not None else 0
            step = _step(lines[n], place)
            field, snippet = _snippet(marker, step)
            hits.append(self._hit(session, found, step, place, field, snippet))
        return Answer(
            mode=question.mode,
            order=page.order,
            hits=hits,
            cursor=None if page.behind is None else CURSORS.text(digest, page.behind),
            complete=page.is_complete,
        )

    def _hit(
        self,
        session: IndexedSession,
        found: _Found,
        step: SearchedStep | None,
        place: int,
        field: str | None,
        snippet: tuple[Part, ...],
    ) -> Hit:
        return Hit(
            session_id=session.session_id,
            record_id=session.record_id,
            step=step.place if step is not None else place or None,
            type=None if step is None else step.type,
            tool=None if step is None else step.tool or None,
            provider=session.provider,
            model=session.model,
            domain=session.domain,
            tier=session.tier,
            outcome=session.outcome,
            contributor=self._pseudonym(session.contributor_id),
            started_at=session.started_at,
            score=None if found.score is None else round(found.score, 6),
            field=field,
            snippet=snippet,
        )

    def _line(self, session: IndexedSession) -> SearchedLine | None:
        """The line of a session; None where it is damaged, or was erased meanwhile."""
        try:
            return SearchedLine(self._journal.read_now(session.position))
        except (JournalDamage, StorageFailure, msgspec.DecodeError):
            return None

    def _session_vectors(self) -> "SessionVectors | None":
        """The embeddings; None without numpy."""
        with self._lock:
            if self._vectors is None:
                try:
                    from central_command.search.vectors import SessionVectors  # noqa: PLC0415 - needs an extra
                except ImportError:
                    return None
                self._vectors = SessionVectors(self._settings.embeddings_max)
            return self._vectors


def _fused(by_words: Sequence[_Found], near: Sequence[_Found]) -> list[_Found]:
    """Sessions by the sum of their reciprocal ranks, each by its best step where words have found one."""
    scores, rows = dict[int, float](), dict[int, int]()
    for found in (by_words, near):
        sessions = dict[int, int]()
        for each in found:
            sessions.setdefault(line_and_place(each.row)[0], each.row)
        for rank, (n, row) in enumerate(sessions.items(), start=1):
            scores[n] = scores.get(n, 0.0) + 1 / (RANK_CONSTANT + rank)
            rows.setdefault(n, row)
    ordered = sorted(scores, key=lambda n: (-scores[n], -n))
    return [_Found(rows[n], scores[n]) for n in ordered]


def _step(line: SearchedLine | None, place: int) -> SearchedStep | None:
    """The step that is shown of a hit: of a session as a whole the first one that says something."""
    if line is None:
        return None
    if place:
        return line.step(place)
    steps = list(islice((step for step in line.steps() if step.text), 1))
    return steps[0] if steps else None


def _snippet(marker: Marker, step: SearchedStep | None) -> tuple[str | None, tuple[Part, ...]]:
    """Where in a step what was looked for is, and the piece around it; its beginning where that is not seen."""
    if step is None:
        return None, ()
    fields = (("text", step.text), ("arguments", step.arguments), ("tool", step.tool))
    for field, text in fields:
        if text and (marked := marker.snippet(text)) is not None:
            return field, marked
    return next(((field, beginning(text)) for field, text in fields if text), (None, ()))
