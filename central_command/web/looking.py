"""How pages get at a session: of the corpus in a thread, or, for who administers, one that is still open, raw."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec

from central_command.access.tokens import Scope
from central_command.corpus.trajectory import Trajectory
from central_command.http.requests.bodies import ProblemError
from central_command.http.requests.replies import HttpProblem
from central_command.viewing.desk import NO_INDEX, UnableError, ViewerDesk
from central_command.viewing.open_sessions import OpenSession, OpenSessions
from central_command.viewing.records import Head, Missing, MissingError, OpenRecord, Records, Related
from central_command.viewing.settings import ViewerSettings
from central_command.web.site import Site, part
from persistence.databases.search_rows import IndexedSession
from persistence.databases.summaries import Summary
from persistence.format import times

T = TypeVar("T")

SENTENCES: Final = {
    Missing.NOT_THERE: "The corpus holds no such session: it is not curated yet, was left out, or was erased.",
    Missing.UNREADABLE: "The record of this session is damaged: central-command verify says where.",
    Missing.TOO_LARGE: "This session is too large for that at once; an export has no such bound.",
}


class Subject(msgspec.Struct, frozen=True):
    """A session that is looked at, in a thread: its steps, and what is known of it."""

    steps: OpenRecord | OpenSession
    settings: ViewerSettings
    records: Records | None = None
    """None of a session that is still open."""

    @property
    def total(self) -> int:
        """How many steps there are."""
        return self.steps.session.step_count if isinstance(self.steps, OpenRecord) else self.steps.total

    def head(self) -> Head:
        """All but the steps; raises MissingError."""
        if isinstance(self.steps, OpenRecord):
            assert self.records is not None, "a record is one of them"
            return self.records.head(self.steps)
        return _head_of(self.steps)

    def summaries(self, head: Head) -> dict[str, Summary]:
        """Titles and summaries of it and of what it is joined with, by their ids; of an open session there are none."""
        return {} if self.records is None else self.records.summaries([head.session.session_id, *head.related.ids])


async def looked(site: Site, session_id: str, work: Callable[[Subject], T]) -> T:
    """What a function finds in a session; raises ProblemError. Who asks was admitted to read."""
    desk = desk_of(site)

    def look(records: Records) -> T:
        with records.opened(session_id) as record:
            return work(Subject(record, records.settings, records))

    try:
        try:
            return await desk.look(look)
        except (MissingError, UnableError) as error:
            session = await _still_open(site, session_id) if _may_be_open(error) else None
            if session is None:
                raise
            live = site.sources.offered["open_sessions"]
            assert live is not None, "it has found one"
            return await live.look(lambda: work(Subject(session, desk.settings)))
    except (MissingError, UnableError) as error:
        raise ProblemError(problem_of(error)) from None


def desk_of(site: Site) -> ViewerDesk:
    """Who answers; raises ProblemError for a server without a viewer."""
    return part(site.sources.offered.get("viewer"))


def problem_of(error: MissingError | UnableError) -> HttpProblem:
    """Why there is nothing to be shown, as an answer."""
    if isinstance(error, MissingError):
        is_gone = error.reason is Missing.NOT_THERE
        status = HTTPStatus.NOT_FOUND if is_gone else HTTPStatus.UNPROCESSABLE_ENTITY
        return HttpProblem(status, f"session_{error.reason}", SENTENCES[error.reason])
    return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, error.sentence, retry_after_s=1)


def _may_be_open(error: MissingError | UnableError) -> bool:
    if isinstance(error, MissingError):
        return error.reason is Missing.NOT_THERE
    return error.code == NO_INDEX[0]


async def _still_open(site: Site, session_id: str) -> OpenSession | None:
    live: OpenSessions | None = site.sources.offered.get("open_sessions")
    if live is None or not await site.may(Scope.ADMIN):
        return None
    return await live.found(session_id)


def _head_of(session: OpenSession) -> Head:
    """What is known of a session before it is closed: little."""
    row, summaries = session.row, session.summaries()
    counts = dict[str, int]()
    for block in summaries:
        for kind, count in block.type_counts().items():
            counts[kind] = counts.get(kind, 0) + count
    started_at = times.to_text(row.created_at)
    indexed = IndexedSession(
        n=0,
        session_id=row.session_id,
        record_id="",
        contributor_id="",
        provider=row.provider,
        model=row.model,
        domain=None,
        tier="",
        outcome=None,
        started_at=started_at,
        rows=0,
        day="",
        offset=0,
        length=0,
        ended_at=None,
        step_count=session.total,
        tokens=0,
        quality=0,
        points=0.0,
        failed=sum(block.failed for block in summaries),
        lineage=None,
        parent_lineage=None,
        continues_session=None,
        log_start=0,
        log_end=0,
    )
    trajectory = Trajectory(
        record_id="",
        trajectory_id="",
        session_id=row.session_id,
        steps=(),
        provider=row.provider,
        model=row.model,
        started_at=started_at,
        ended_at=times.to_text(row.last_activity_at),
    )
    turns = sum(block.turns for block in summaries)
    return Head(session=indexed, trajectory=trajectory, points={}, related=Related(), counts=counts, turns=turns)
