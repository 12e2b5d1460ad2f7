"""Sends one transcript's steps: opens, signs and keeps, sends, closes; takes up whatever an earlier run left undone.

What comes next is always decided from what the spool holds, never from where the program stands, so that being stopped
at any point and starting again is the ordinary case. One chunk at a time is signed and kept, then sent; the steps
behind it stay in the agent's own file. A session that has closed is never opened again: new steps of its transcript
become a further session, which says in its metadata (`continues_session`) which one it goes on from.
"""

import contextlib
import uuid
from collections.abc import Callable, Sequence

import msgspec

from central_command.client.contract.chunking import CHUNK_STEPS_MAX, Chunk, encode_json, has_room, next_chunk
from central_command.client.contract.endpoints import (
    CLOSE_PATH,
    INGEST_PATH,
    INGEST_TIMEOUT_S,
    OPEN_PATH,
    SESSION_TIMEOUT_S,
)
from central_command.client.contract.identity import Identity
from central_command.client.contract.signing import InvalidServerKeyError
from central_command.client.contract.steps import Step
from central_command.client.delivering.posting import Answer, Delivery, Undelivered
from central_command.client.spool.records import Opening, SpoolError, StoredEnvelope, StoredSession
from central_command.client.uploading.authoring import Author, Work, first_state
from central_command.client.uploading.timing import MARGIN_S, WINDOW_S
from central_command.client.uploading.uploads import (
    ENDED_BY_SERVER,
    SENT_ANEW,
    Placing,
    SourceState,
    Uploads,
    digests,
    is_unfinished,
    placing_for,
    state_of,
    taken,
    taken_by,
    within,
    without,
)


class NotSentError(Exception):
    """Not everything was delivered; the text is one sentence.

    `unreachable` says that the server could not be had any more, so that there is no use in going on with others,
    `final` that trying again is of no use either.
    """

    def __init__(self, problem: str, *, unreachable: bool = False, final: bool = False) -> None:
        super().__init__(problem)
        self.unreachable = unreachable
        self.final = final


class Sender:
    """Sends transcripts to one server, for one identity; one `Sender` may send several sources at once."""

    def __init__(self, uploads: Uploads, identity: Identity, *, now_s: Callable[[], float]) -> None:
        self.uploads = uploads
        self.identity = identity
        self.now_s = now_s

    async def send(
        self,
        delivery: Delivery,
        work: Work,
        steps: Sequence[Step],
        *,
        close: bool,
        on_steps: Callable[[int], None] = lambda _steps: None,
    ) -> None:
        """Deliver those of `steps` that were not sent before; with `close`, end the session.

        The caller holds the claim on the source. `steps` are all that the transcript has, or with `close` False a
        beginning of them. `on_steps` hears how many steps each accepted chunk held. Raises NotSentError.
        """
        run = _Run(self, delivery, work, steps, on_steps, close=close)
        try:
            while await run.advance():
                pass
        except SpoolError as error:
            raise NotSentError(str(error)) from error
        finally:
            run.release()


class _Run:
    """One call of `Sender.send`. `_queue` is what is still to be sent, None when the spool must be asked."""

    def __init__(
        self,
        sender: Sender,
        delivery: Delivery,
        work: Work,
        steps: Sequence[Step],
        on_steps: Callable[[int], None],
        *,
        close: bool,
    ) -> None:
        self._sender = sender
        self._spool = sender.uploads.spool
        self._delivery = delivery
        self._work = work
        self._steps = steps
        self._on_steps = on_steps
        self._closes = close
        self._queue: list[Step] | None = None

    async def advance(self) -> bool:
        """Do the next thing that the spool's content asks for; False when nothing is left to do."""
        sessions = self._sender.uploads.sessions(self._work.source)
        if problem := failure_of(sessions):
            raise NotSentError(problem, final=True)
        session = next((each for each in sessions if is_unfinished(each)), None)
        if self._queue is None:
            self._queue = without(self._steps, taken(sessions))
        if session is None:
            if self._queue:
                self._begin(sessions)
            return bool(self._queue)
        if not self._spool.claim(session.session_id):
            raise NotSentError("Another program is sending this session.")
        if not session.opened:
            await self._open(session)
        elif envelope := self._spool.next_waiting(session.session_id):
            await self._deliver(session, envelope)
        elif session.envelopes_refused:
            await self._close(session)
        else:
            return await self._go_on(session)
        return True

    def release(self) -> None:
        """Let other processes go on with what is not done."""
        with contextlib.suppress(SpoolError):
            for session in self._sender.uploads.sessions(self._work.source):
                if is_unfinished(session) and self._spool.claim(session.session_id):
                    self._spool.release(session.session_id)

    async def _go_on(self, session: StoredSession) -> bool:
        """Everything that was signed is accepted: sign the next envelope, or close."""
        assert self._queue is not None
        state = state_of(session)
        if state.closing:
            if state.feedback_signed or not self._put_feedback(session, state):
                await self._close(session)
            return True
        if self._queue:
            placing = self._placing(state, self._queue)
            chunk = next_chunk(self._queue, session.steps + 1, placing.place)
            if has_room(session.chunks, state.bytes_sent, chunk):
                self._put_chunk(session, state, chunk, placing)
                return True
        elif not self._closes:
            return False
        await self._end(session, state)
        return True

    def _begin(self, sessions: list[StoredSession]) -> None:
        assert self._queue
        identity = self._sender.identity
        state = first_state(self._work, self._queue, contributor_id=identity.contributor_id, now_s=self._sender.now_s())
        if sessions:
            state = msgspec.structs.replace(state, continues=sessions[-1].session_id)
        opening = Opening(
            provider=self._work.provider,
            model=self._work.model,
            machine_fingerprint=identity.machine_fingerprint,
            app_version_hash=identity.app_version_hash,
            client_version=identity.client_version,
        )
        self._spool.add_session(
            f"sess_{uuid.uuid4()}",
            url=self._sender.uploads.url,
            opening=opening,
            source=self._work.source,
            source_state=state.encode(),
        )

    def _placing(self, state: SourceState, queue: Sequence[Step]) -> Placing:
        """The session's own, as long as the server takes the next steps with it: it may have been begun long ago."""
        now_s = self._sender.now_s()
        times = [state.placing.place(step.timestamp) for step in queue[:CHUNK_STEPS_MAX]]
        if now_s - (WINDOW_S - MARGIN_S) <= min(times) and max(times) <= now_s:
            return state.placing
        return placing_for(queue, now_s)

    def _put_chunk(self, session: StoredSession, state: SourceState, chunk: Chunk, placing: Placing) -> None:
        assert self._queue is not None
        after = msgspec.structs.replace(
            state,
            placing=placing,
            taken=state.taken + state.last,
            last=digests(self._queue[: chunk.steps]),
            bytes_sent=state.bytes_sent + len(chunk.trajectory_log),
        )
        draft = self._author(session, state).chunk(session.chunks, chunk)
        self._spool.put(session.session_id, "CHUNK", draft, steps=chunk.steps, source_state=after.encode())
        self._queue = self._queue[chunk.steps :]

    async def _end(self, session: StoredSession, state: SourceState) -> None:
        """Sign SESSION_CLOSE; a session of which no step is left in the file is closed without an outcome."""
        steps = self._session_steps(session, state)
        if not steps:
            await self._close(session)
            return
        after = msgspec.structs.replace(state, taken=state.taken + state.last, last=b"", closing=True)
        draft = self._author(session, state).close(steps, session.chunks)
        self._spool.put(session.session_id, "SESSION_CLOSE", draft, source_state=after.encode())

    def _put_feedback(self, session: StoredSession, state: SourceState) -> bool:
        steps = self._session_steps(session, state)
        draft = self._author(session, state).feedback(steps) if steps else None
        if draft is None:
            return False
        after = msgspec.structs.replace(state, feedback_signed=True)
        self._spool.put(session.session_id, "USER_FEEDBACK", draft, source_state=after.encode())
        return True

    def _session_steps(self, session: StoredSession, state: SourceState) -> tuple[Step, ...]:
        return tuple(
            msgspec.structs.replace(step, step=number, timestamp=state.placing.place(step.timestamp))
            for number, step in enumerate(within(self._steps, taken_by(session)), start=1)
        )

    def _author(self, session: StoredSession, state: SourceState) -> Author:
        return Author(session.session_id, state, session.opening.client_version)

    async def _open(self, session: StoredSession) -> None:
        request = {
            "session_id": session.session_id,
            "public_key": session.public_key,
            "app_version_hash": session.opening.app_version_hash,
            "provider": session.opening.provider,
            "model": session.opening.model,
            "machine_fingerprint": session.opening.machine_fingerprint,
            "groove_version": session.opening.client_version,
        }
        answer = await self._delivery.post(OPEN_PATH, encode_json(request), timeout_s=SESSION_TIMEOUT_S)
        match answer:
            case Undelivered(reason=reason):
                raise NotSentError(f"The session was not opened: {reason}.", unreachable=True)
            case Answer(status=200, members={"server_public_key": str() as key}):
                with contextlib.suppress(InvalidServerKeyError):
                    self._spool.opened(session.session_id, key)
                    return
            case Answer(status=200):
                pass
            case refused:
                self._spool.fail(session.session_id, SENT_ANEW)  # nothing of it was sent: the next try begins anew
                raise NotSentError(f"The session was not opened: {refused.reason.rstrip('.')}.")
        self._spool.fail(session.session_id, SENT_ANEW)
        raise NotSentError(
            "The session was not opened: the answer holds no valid public key; is the URL that of a Central Command?",
            unreachable=True,
        )

    async def _deliver(self, session: StoredSession, envelope: StoredEnvelope) -> None:
        name = f"Chunk {session.chunks}" if envelope.kind == "CHUNK" else envelope.kind
        answer = await self._delivery.post(INGEST_PATH, envelope.body, timeout_s=INGEST_TIMEOUT_S)
        match answer:
            case Undelivered(reason=reason):
                raise NotSentError(f"{name} was not delivered: {reason}.", unreachable=True)
            case Answer(status=200, members={"accepted": True}):
                self._spool.accepted(session.session_id, envelope.position)
                if envelope.steps:
                    self._on_steps(envelope.steps)
            case Answer(members={"accepted": False, "code": "session_closed"}) if session.envelopes_accepted:
                self._spool.refused(session.session_id, envelope.position, ENDED_BY_SERVER)
                self._queue = None
            case Answer(members={"accepted": False}):
                problem = f"{name} was refused: {answer.reason.rstrip('.')}."
                self._spool.refused(session.session_id, envelope.position, problem)
            case _:
                raise NotSentError(f"{name} was not delivered: {answer.reason.rstrip('.')}.")

    async def _close(self, session: StoredSession) -> None:
        request = encode_json({"session_id": session.session_id})
        answer = await self._delivery.post(CLOSE_PATH, request, timeout_s=SESSION_TIMEOUT_S)
        match answer:
            case Undelivered(reason=reason):
                before = f"{session.problem} " if session.problem else ""
                raise NotSentError(f"{before}The session was not closed: {reason}.", unreachable=True)
            case Answer(status=200, members=members):
                points, steps = _number(members.get("points")), _number(members.get("steps"))
                self._spool.closed(session.session_id, points=points, steps=None if steps is None else int(steps))
            case _:
                problem = session.problem or f"The session was not closed: {answer.reason.rstrip('.')}."
                self._spool.fail(session.session_id, problem)
        self._queue = None


def failure_of(sessions: Sequence[StoredSession]) -> str | None:
    """Why the source of `sessions` cannot be delivered whole, ever; None as long as it can."""
    for session in sessions:
        if not is_unfinished(session) and session.problem and session.problem != ENDED_BY_SERVER:
            return session.problem
    return None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
