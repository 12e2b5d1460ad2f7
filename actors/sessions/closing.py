"""The end of a session, however it came: stitched, scored, credited once, in one place.

Whoever gets here has put the fact that the session ended on disk already. What follows is a function of the session's
lines, so a crash anywhere leaves work that the next start finds (closed, with chunks, without a trajectory) and does.
It cannot be done twice: the session's actor is the only one that does it, knows from the database whether it was done,
and is activated only when the database holds everything that was written before.
"""

import logging
from typing import assert_never

from actors.envelopes.journal_lines import server_close_line
from actors.sessions.buffer import StoredText
from actors.sessions.environment import Environment
from actors.sessions.lifecycle import State
from actors.sessions.messages import CloseSession
from actors.sessions.outcomes import AbandonOutcome, Closed, CloseOutcome, StillActive, UnknownSession, unavailable
from actors.sessions.state import SessionState
from actors.trajectories.coordination import link_coordination
from actors.trajectories.enrichment import enrich
from actors.trajectories.scoring import Score, score
from actors.trajectories.settings import ScoringSettings
from actors.trajectories.stitching import Trajectory, stitch, trajectory_members
from persistence.format.records import (
    ClosedBy,
    EnvelopeKind,
    EnvelopeRecord,
    JournalName,
    SequenceGap,
    TrajectoryRecord,
)
from persistence.journals.journal import AppendRefused

log = logging.getLogger("central_command.sessions")


async def close_session(message: CloseSession, state: SessionState, environment: Environment) -> AbandonOutcome:
    """End a session without the client's own SESSION_CLOSE, or say that it has ended already."""
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
    refused = await _record_server_close(message.closed_by, state, environment)
    return unavailable(refused) if refused is not None else await finish(state, environment, already_closed=False)


async def _record_server_close(
    closed_by: ClosedBy, state: SessionState, environment: Environment
) -> AppendRefused | None:
    line = server_close_line(environment.identifiers.envelope_id(), state.session_id, closed_by)
    assert isinstance(line.record, EnvelopeRecord)
    position = await environment.storage.envelopes.append(line.record, line.members, essential=True)
    if isinstance(position, AppendRefused):
        return position
    state.record_accepted(line.record, position, b"{%s}" % line.members)
    return None


async def finish(state: SessionState, environment: Environment, *, already_closed: bool = True) -> CloseOutcome:
    """Bring a CLOSING session to CLOSED, and say what it is worth; or why its trajectory could not be written now.

    Then it stays CLOSING, and the next message, the next sweep or the next start tries again.
    """
    if state.lifecycle is State.ABSENT:
        return UnknownSession()
    if state.lifecycle is State.CLOSING:
        refused = await _record_trajectory(state, environment)
        if refused is not None:
            return unavailable(refused)
    return Closed(already_closed=already_closed, credit=state.credit)


async def _record_trajectory(state: SessionState, environment: Environment) -> AppendRefused | None:
    if not state.chunk_count:
        state.record_nothing_to_stitch()
        return None
    async with environment.stitches:
        texts = state.buffer.texts if state.buffer.is_complete else await _read_back(state, environment)
        trajectory_id = environment.identifiers.trajectory_id()
        assert state.closed_by is not None
        record, members = await environment.offload(
            _completed, trajectory_id, state.session_id, texts, tuple(state.gaps), state.closed_by, environment.scoring
        )
        position = await environment.storage.trajectories.append(record, members, essential=True)
    if isinstance(position, AppendRefused):
        log.warning("the trajectory of session %s could not be written yet: %s", state.session_id, position)
        return position
    state.record_trajectory(record, position)
    return None


async def _read_back(state: SessionState, environment: Environment) -> tuple[StoredText, ...]:
    """Read the session's lines from the journal, by the index, which first has to hold all of them."""
    storage = environment.storage
    await storage.projector.wait_projected(JournalName.ENVELOPES, state.appended.get(JournalName.ENVELOPES, 0))
    lines = await storage.registry.line_positions(state.session_id)
    texts = await storage.envelopes.read([line.position for line in lines])
    return tuple(StoredText(line.kind, text) for line, text in zip(lines, texts, strict=True))


def _completed(
    trajectory_id: str,
    session_id: str,
    texts: tuple[StoredText, ...],
    gaps: tuple[SequenceGap, ...],
    closed_by: ClosedBy,
    settings: ScoringSettings,
) -> tuple[TrajectoryRecord, bytes]:
    """Stitch, score and write down a session that has a chunk (pure, and slow for large sessions)."""
    by_kind: dict[EnvelopeKind, list[bytes]] = {kind: [] for kind in EnvelopeKind}
    for stored in texts:
        by_kind[stored.kind].append(stored.text)
    closes = by_kind[EnvelopeKind.SESSION_CLOSE]
    trajectory = stitch(
        session_id=session_id,
        chunks=by_kind[EnvelopeKind.CHUNK],
        close=closes[0] if closes else None,
        feedback=by_kind[EnvelopeKind.USER_FEEDBACK],
        gaps=gaps,
        closed_by=closed_by,
    )
    assert trajectory is not None, "a session with chunks can be stitched"
    awarded = score(trajectory.step_type_counts, trajectory.model, trajectory.task_complexity, settings)
    links = link_coordination(trajectory.steps)
    members = trajectory_members(trajectory_id, trajectory, awarded, links, enrich())
    return _record_of(trajectory_id, trajectory, awarded), members


def _record_of(trajectory_id: str, trajectory: Trajectory, awarded: Score) -> TrajectoryRecord:
    return TrajectoryRecord(
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
    )
