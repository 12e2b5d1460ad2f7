"""The end of a session, however it came: stitched, scored, credited once, in one place.

Whoever gets here has put the fact that the session ended on disk already. What follows is a function of the session's
lines, so a crash anywhere leaves work that the next start finds (closed, with chunks, without a trajectory) and does.
It cannot be done twice: the session's actor is the only one that does it, knows from the database whether it was done,
and is activated only when the database holds everything that was written before.

The trajectory's line also says which of its steps stand in earlier lines, so it depends on their order: whoever closes
takes a turn, in which it looks at what is there and puts its line on disk. What the line says is the fact; nobody looks
again when it is projected.
"""

import logging
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, assert_never

import msgspec
import trio

from actors.envelopes.journal_lines import server_close_line
from actors.sessions.environment import Environment
from actors.sessions.lifecycle import State
from actors.sessions.messages import CloseSession
from actors.sessions.outcomes import (
    AbandonOutcome,
    Busy,
    BusyReason,
    Closed,
    CloseOutcome,
    Forgotten,
    StillActive,
    UnknownSession,
    unavailable,
)
from actors.sessions.state import SessionState
from actors.trajectories.copies import copied_long_runs, copied_runs, remainder_fingerprints
from actors.trajectories.enrichment import enrich
from actors.trajectories.lines import HeldLines, JournalLines, SessionLines
from actors.trajectories.models import tier_of
from actors.trajectories.scoring import score
from actors.trajectories.settings import ScoringSettings
from actors.trajectories.stitching import Trajectory, stitch
from actors.trajectories.writing import TrajectoryText
from persistence.databases.database import DatabaseUnavailable
from persistence.databases.fingerprints import FirstSeen
from persistence.files.file_system import inline
from persistence.format.erased_names import is_erased_session
from persistence.format.records import (
    ClosedBy,
    CopiedRun,
    EnvelopeRecord,
    JournalName,
    SequenceGap,
    TrajectoryRecord,
    most_copied_from,
)
from persistence.journals.journal import AppendRefused

log = logging.getLogger("central_command.sessions")

LINES_BYTES_MAX: Final = 4_194_304
"""Lines of a session that are no more together are read back at once; those of a larger one one by one, and twice."""

TEXT_BYTES_MAX: Final = 262_144
"""The longest trajectory that is put together in advance; a longer one is written from its session's lines."""


async def close_session(message: CloseSession, state: SessionState, environment: Environment) -> AbandonOutcome:
    """End a session without the client's own SESSION_CLOSE, or say that it has ended already.

    After `Forgotten`, `state` is that of a session that is no more.
    """
    match state.lifecycle:
        case State.ABSENT:
            return UnknownSession()
        case State.CLOSING | State.CLOSED:
            return await finish(state, environment)
        case State.ACTIVE:
            pass
        case unreachable:
            assert_never(unreachable)
    if message.unless_active_since is not None and state.last_activity_at > message.unless_active_since:
        return StillActive()
    if message.closed_by is ClosedBy.ABANDONED and state.is_unused:
        return await _forget(state, environment)
    refused = await _record_server_close(message.closed_by, state, environment)
    return unavailable(refused) if refused is not None else await finish(state, environment, already_closed=False)


async def _forget(state: SessionState, environment: Environment) -> Forgotten | Busy:
    """Let go of a session that was opened and never used: it holds nothing that could be closed or credited."""
    try:
        forgotten = await environment.storage.registry.forget(state.session_id)
    except DatabaseUnavailable as unavailable:
        log.warning("%s; unused session %s stays for now", unavailable, state.session_id)
        return Busy(BusyReason.JOURNAL_FULL)
    assert forgotten, "the row is as this actor knows it"
    return Forgotten()


async def _record_server_close(
    closed_by: ClosedBy, state: SessionState, environment: Environment
) -> AppendRefused | None:
    line = server_close_line(environment.identifiers.envelope_id(), state.session_id, closed_by)
    assert isinstance(line.record, EnvelopeRecord)
    position = await environment.storage.envelopes.append(line.record, line.members, essential=True)
    if isinstance(position, AppendRefused):
        return position
    assert isinstance(line.members, bytes)
    state.record_accepted(line.record, position, line.members)
    return None


async def close_withdrawn(state: SessionState, environment: Environment) -> None:
    """End an open session whose contributor has withdrawn: what it holds is not stitched.

    If the line of its end cannot be written now, the next message tries again, or the next start.
    """
    if state.lifecycle is State.ACTIVE and state.contributor in environment.restrictions.withdrawn:
        await close_session(CloseSession(ClosedBy.WITHDRAWN), state, environment)


async def finish(state: SessionState, environment: Environment, *, already_closed: bool = True) -> CloseOutcome:
    """Bring a CLOSING session to CLOSED, and say what it is worth; or why its trajectory could not be written now.

    Then it stays CLOSING, and the next message, the next sweep or the next start tries again.
    """
    if state.lifecycle is State.ABSENT:
        return UnknownSession()
    if state.lifecycle is State.CLOSING:
        if environment.storage.closing.count(state.session_id) >= environment.sessions.close_attempts_max:
            return Busy(BusyReason.SET_ASIDE)
        is_erased = not state.secret and is_erased_session(state.session_id)
        if not state.chunk_count or state.closed_by is ClosedBy.WITHDRAWN or is_erased:
            state.record_nothing_to_stitch()
        else:
            # Whoever only waits for its turn has not begun: it must not be blamed for what another one does.
            async with environment.stitches, _guarded(state, environment):
                refused = await _record_trajectory(state, environment)
            if refused is not None:
                return unavailable(refused)
    return Closed(already_closed=already_closed, credit=state.credit)


@asynccontextmanager
async def _guarded(state: SessionState, environment: Environment) -> AsyncIterator[None]:
    """Note on disk that a large session is being closed, for as long as it is: a start then knows what to leave.

    Small sessions cannot end a process by what they take, and would pay for it with two syncs.
    """
    if state.bytes_total < environment.sessions.guarded_close_bytes_min:
        yield
        return
    attempts = environment.storage.closing
    await environment.offload(attempts.begin, state.session_id)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await environment.offload(attempts.end, state.session_id)


async def _record_trajectory(state: SessionState, environment: Environment) -> AppendRefused | None:
    lines = _held(state) if state.buffer.is_complete else await _stored(state, environment)
    trajectory_id = environment.identifiers.trajectory_id()
    assert state.closed_by is not None
    draft = await environment.offload(
        _completed, trajectory_id, state.session_id, lines, tuple(state.gaps), state.closed_by, environment.scoring
    )
    recent = environment.recent_runs
    # From the look at what is there to the line on disk: two sessions with the same steps cannot both find none.
    async with recent.turn:
        seen = await recent.first_seen(draft.record.fingerprints, environment.storage, environment.sessions)
        if seen:
            # What was put together in advance is compared in less than the way to a thread takes.
            offload = inline if isinstance(draft.members, bytes) else environment.offload
            found, long_runs, left = await offload(partial(_compared, draft, seen, lines, environment.scoring))
            if left:
                seen |= await recent.first_seen(left, environment.storage, environment.sessions)
                found = await offload(partial(_without_copies, draft, long_runs, seen, lines, environment.scoring))
            draft = found
        position = await environment.storage.trajectories.append(draft.record, draft.members, essential=True)
        if isinstance(position, AppendRefused):
            log.warning("the trajectory of session %s could not be written yet: %s", state.session_id, position)
            return position
        recent.note(draft.record, position, environment.storage)
    has_tier = tier_of(draft.record.model, environment.scoring.model_tiers) is not None
    state.record_trajectory(draft.record, position, has_model_tier=has_tier)
    return None


def _held(state: SessionState) -> SessionLines:
    texts = state.buffer.texts
    return HeldLines([stored.kind for stored in texts], [b"{%s}" % stored.text for stored in texts])


async def _stored(state: SessionState, environment: Environment) -> SessionLines:
    """The session's lines in the journal, by the index, which first has to hold all of them."""
    storage = environment.storage
    await storage.projector.wait_projected(JournalName.ENVELOPES, state.appended.get(JournalName.ENVELOPES, 0))
    lines = await storage.registry.line_positions(state.session_id)
    kinds, places = [line.kind for line in lines], [line.position for line in lines]
    if sum(place.length for place in places) > LINES_BYTES_MAX:
        return JournalLines(storage.envelopes, kinds, places)
    return HeldLines(kinds, await storage.envelopes.read(places))


class _Draft(msgspec.Struct, frozen=True):
    """A session stitched and scored, and what its line will hold."""

    trajectory: Trajectory
    record: TrajectoryRecord
    members: bytes | TrajectoryText


def _completed(
    trajectory_id: str,
    session_id: str,
    lines: SessionLines,
    gaps: tuple[SequenceGap, ...],
    closed_by: ClosedBy,
    settings: ScoringSettings,
) -> _Draft:
    """Stitch and score a session that has a chunk, as if nobody had seen any of it (slow for large sessions)."""
    trajectory = stitch(session_id, lines, gaps=gaps, closed_by=closed_by)
    assert trajectory is not None, "a session with chunks can be stitched"
    fingerprints = trajectory.step_digests.fingerprints()
    return _scored(trajectory_id, trajectory, fingerprints, (), lines, settings)


def _compared(
    draft: _Draft, seen: Mapping[int, FirstSeen], lines: SessionLines, settings: ScoringSettings
) -> tuple[_Draft, Sequence[CopiedRun], list[int]]:
    """The same trajectory without what is a copy, its long copies, and what is to be looked up before all are known."""
    digests = draft.trajectory.step_digests
    long_runs = copied_long_runs(digests, draft.record.fingerprints, seen, settings)
    left = remainder_fingerprints(digests, long_runs)
    return (draft if left else _without_copies(draft, long_runs, seen, lines, settings)), long_runs, left


def _without_copies(
    draft: _Draft,
    long_runs: Sequence[CopiedRun],
    seen: Mapping[int, FirstSeen],
    lines: SessionLines,
    settings: ScoringSettings,
) -> _Draft:
    """The same trajectory, where earlier ones hold some of its runs."""
    trajectory, fingerprints = draft.trajectory, draft.record.fingerprints
    copies = copied_runs(trajectory.step_digests, long_runs, seen, settings)
    if not copies:
        return draft
    return _scored(draft.record.trajectory_id, trajectory, fingerprints, copies, lines, settings)


def _scored(
    trajectory_id: str,
    trajectory: Trajectory,
    fingerprints: "array[int]",
    copies: tuple[CopiedRun, ...],
    lines: SessionLines,
    settings: ScoringSettings,
) -> _Draft:
    """Score what is new of a trajectory, and say what its line will hold.

    One of more than `TEXT_BYTES_MAX` is written down piece by piece, when its turn in the journal comes.
    """
    new = trajectory.step_kinds.counts(without=copies)
    awarded = score(new, trajectory.model, trajectory.task_complexity, settings)
    text = TrajectoryText(trajectory_id, trajectory, awarded, enrich(), lines, copies)
    record = TrajectoryRecord(
        trajectory_id=trajectory_id,
        session_id=trajectory.session_id,
        contributor_id=trajectory.contributor_id,
        provider=trajectory.provider,
        model=trajectory.model,
        steps=len(trajectory.steps),
        tokens=trajectory.total_tokens,
        chunks=trajectory.total_chunks,
        base_points=awarded.base_points,
        total_points=awarded.total_points,
        multiplier_breakdown=awarded.multiplier_breakdown(),
        closed_by=trajectory.closed_by,
        copied_steps=sum(run.steps for run in copies),
        copied_from=most_copied_from(copies),
        fingerprints=fingerprints,
    )
    return _Draft(trajectory, record, text.whole() if len(text) <= TEXT_BYTES_MAX else text)
