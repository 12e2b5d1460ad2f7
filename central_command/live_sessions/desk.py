"""Who is asked for a session's figures: by the index and the lines on disk, never by an actor.

Nothing here is on ingestion's way. A session is counted when somebody asks for it, in one thread for all, and what was
counted is remembered: of an open session the next question counts the lines behind those, of a closed one nothing but
late feedback. What the index does not hold yet, some milliseconds' worth, is in the next answer.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from central_command.live_sessions.chain import Chain
from central_command.live_sessions.counting import Counts, name_of
from central_command.live_sessions.figures import SessionFigures, SessionMetrics, Tokens
from central_command.live_sessions.settings import LiveSettings
from central_command.process.bounded_threads import BoundedThreads, FullError
from persistence.databases.session_index import LinePosition, SessionRow, TrajectorySummary
from persistence.databases.summaries import Summary
from persistence.files.failures import StorageFailure
from persistence.format import times
from persistence.format.erased_names import is_erased_session
from persistence.format.records import ClosedBy, EnvelopeKind
from persistence.journals.erased_lines import is_erased
from persistence.journals.reading import JournalDamage, JournalReader

if TYPE_CHECKING:
    from actors.curation.scrubbing.scrubber import PIIScrubber

log = logging.getLogger("central_command.http")

_MODEL_CHARS_MAX: Final = 100


class TooMany(msgspec.Struct, frozen=True):
    """Too many sessions wait to be counted."""


class Unreadable(msgspec.Struct, frozen=True):
    """What the session holds cannot be read now."""


FiguresOutcome = SessionFigures | TooMany | Unreadable | None


class SessionTable(Protocol):
    """The index of sessions."""

    async def one(self, session_id: str) -> SessionRow | None:
        """One session, None when there is no such one."""
        ...

    async def line_positions(self, session_id: str) -> list[LinePosition]:
        """Where the session's lines of every kind are, in line order."""
        ...

    async def trajectory(self, session_id: str) -> TrajectorySummary | None:
        """The session's trajectory, if it has one."""
        ...


class Erasures(Protocol):
    """Who has asked to be erased."""

    def names(self, contributor_id: str, session_id: str) -> bool:
        """Whether a contributor or a session is erased, or will be."""
        ...


class _Counted:
    """What was counted of a session: up to `last_n` of its envelopes, and its trajectory, if it was counted by that."""

    def __init__(self, trajectory_id: str | None) -> None:
        self.trajectory_id = trajectory_id
        self.counts = Counts()
        self.last_n = 0
        self.is_whole = True
        """False once something of it was gone."""


class SessionDesk:
    """Answers for the sessions of one server."""

    def __init__(
        self,
        table: SessionTable,
        envelopes: JournalReader,
        trajectories: JournalReader,
        erasures: Erasures,
        chain: Chain,
        settings: LiveSettings,
        *,
        summary: Callable[[str], Summary | None] = lambda _session_id: None,
    ) -> None:
        """`summary` gives the title and summary of a session, if it has them; it blocks."""
        self._table = table
        self._envelopes = envelopes
        self._trajectories = trajectories
        self._erasures = erasures
        self._chain = chain
        self._summary = summary
        self.settings = settings
        self._threads = BoundedThreads(1, settings.waiting_max)
        self._counted: OrderedDict[str, _Counted] = OrderedDict()
        """Changed by the one thread that counts."""
        self._scrubber: PIIScrubber | None = None

    def __repr__(self) -> str:
        return f"<SessionDesk {self._threads} remembers={len(self._counted)}>"

    async def figures(self, session_id: str) -> FiguresOutcome:
        """The figures of a session; None for one that there is not, or not any more. Raises DatabaseFailure."""
        try:
            with self._threads.asked():
                return await self._figures(session_id)
        except FullError:
            return TooMany()
        except (JournalDamage, StorageFailure) as error:
            log.error("the figures of a session: %s", error)  # noqa: TRY400 (the sentence says it all)
            return Unreadable()

    async def _figures(self, session_id: str) -> SessionFigures | None:
        trajectory = await self._table.trajectory(session_id)  # first: a row that is read later knows of it, too
        row = await self._table.one(session_id)
        if row is None or is_erased_session(session_id):
            self._counted.pop(session_id, None)
            return None
        lines = await self._table.line_positions(session_id)
        count = partial(self._count, session_id, lines, trajectory)
        # Whoever has gone is not waited for; the thread ends with what it counts, which is remembered.
        answered = await self._threads.run(partial(self._answer, row, trajectory, count))
        if answered is None:
            return None
        figures, contributor_id = answered
        before = await self._before(figures.continues, contributor_id)
        return msgspec.structs.replace(figures, continues=before)

    async def _before(self, session_id: str | None, contributor_id: str) -> str | None:
        """The session that one says it goes on from, if there is one, and its contributor's own."""
        row = None if session_id is None else await self._table.one(session_id)
        if row is None or row.contributor_id != contributor_id:
            return None
        return None if self._erasures.names(contributor_id, row.session_id) else row.session_id

    # -- In the thread that counts

    def _answer(
        self, row: SessionRow, trajectory: TrajectorySummary | None, count: "partial[_Counted]"
    ) -> tuple[SessionFigures, str] | None:
        """The figures, and who contributed the session; None for one that is to be erased."""
        counted = count()
        counts = counted.counts
        contributor_id = row.contributor_id or counts.contributor_id
        if self._erasures.names(contributor_id, row.session_id):
            del self._counted[row.session_id]
            return None
        agent = self._scrubbed(counts.agent)
        behind = self._chain.continued_by(row.session_id)
        said = None if trajectory is None else self._summary(row.session_id)
        metrics = SessionMetrics(
            tokens=_tokens(counts) if counted.is_whole else None,
            model_switches=counts.model_switches,
            message_count=counts.messages,
            last_activity_at=times.to_text(row.last_activity_at),
        )
        figures = SessionFigures(
            id=row.session_id,
            provider=row.provider,
            model_id=self._scrubbed(counts.model)[:_MODEL_CHARS_MAX] or row.model,
            agent_name=agent or msgspec.UNSET,
            title=msgspec.UNSET if said is None else said.title,
            summary=msgspec.UNSET if said is None else said.summary,
            created_at=times.to_text(row.created_at),
            prompt_count=counts.prompts,
            channels=sorted(counts.channels),
            duration_ms=round(counts.duration_s * 1000),
            metrics=metrics,
            state=_state(row, trajectory),
            chunks=row.chunks,
            steps=row.steps,
            score=_score(row, counts),
            feedback=list(counts.feedback),
            continues=counts.continues,
            continued_by=[each for each in behind if not self._erasures.names(contributor_id, each)],
        )
        return figures, contributor_id

    def _count(self, session_id: str, lines: Sequence[LinePosition], trajectory: TrajectorySummary | None) -> _Counted:
        """What is counted of a session, going on where it stopped. Raises JournalDamage, StorageFailure."""
        trajectory_id = None if trajectory is None else trajectory.trajectory_id
        counted = self._counted.get(session_id)
        if counted is None or counted.trajectory_id != trajectory_id:
            counted = _Counted(trajectory_id)
            if trajectory is not None:
                self._take(counted, self._trajectories.read_now(trajectory.position))
        for line in lines:
            if line.position.n > counted.last_n:
                self._take_line(counted, line, is_stitched=trajectory is not None)
                counted.last_n = line.position.n
        self._counted[session_id] = counted
        self._counted.move_to_end(session_id)
        while len(self._counted) > self.settings.counted_sessions_max:
            self._counted.popitem(last=False)
        return counted

    def _take_line(self, counted: _Counted, line: LinePosition, *, is_stitched: bool) -> None:
        if line.kind is EnvelopeKind.USER_FEEDBACK:
            text = self._envelopes.read_now(line.position)
            if not is_erased(text):
                counted.counts.take_feedback(text)
        elif line.kind is EnvelopeKind.CHUNK and not is_stitched:
            self._take(counted, self._envelopes.read_now(line.position))

    @staticmethod
    def _take(counted: _Counted, text: bytes) -> None:
        try:
            if is_erased(text):
                counted.is_whole = False
            else:
                counted.counts.take(text)
        except msgspec.DecodeError:  # numbers that nobody can hold
            counted.is_whole = False

    def _scrubbed(self, name: str) -> str:
        """A name that a client gave, without what may be somebody's."""
        if not name:
            return name
        if self._scrubber is None:
            from actors.curation.scrubbing.scrubber import PIIScrubber  # noqa: PLC0415 -- loads its rules when asked

            self._scrubber = PIIScrubber.for_trajectories()
        return name_of(self._scrubber.scrub(name))


def _tokens(counts: Counts) -> Tokens:
    taken, given, read, written = counts.tokens.values()
    return Tokens(input=taken, output=given, cache_read=read, cache_write=written, total=taken + given)


def _state(row: SessionRow, trajectory: TrajectorySummary | None) -> str:
    if not row.closed:
        return "active"
    is_done = trajectory is not None or not row.chunks or row.closed_by is ClosedBy.WITHDRAWN
    return "closed" if is_done else "closing"


def _score(row: SessionRow, counts: Counts) -> "dict[str, float] | msgspec.UnsetType":
    if counts.score is not None:
        return counts.score
    return msgspec.UNSET if row.points is None else {"totalPoints": row.points}
