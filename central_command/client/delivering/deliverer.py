"""Delivers what a spool holds, one request at a time for each session: open, envelopes in order, close.

Several envelopes that wait go as a batch, if the server takes any (`batching`); each result counts as if its envelope
had been sent alone.

`SessionDelivery.proceed` does the next thing for one session and says what came of it; when to ask again is the
caller's business (`Deliverer` is one answer). Between any two lines the process may die: what was done is either in
the spool, or done again with the same bytes, which the server recognises.

What an answer means (docs/protocol.md):
- accepted, or refused with its sequence number used up: the next envelope follows;
- refused for what the session is (unknown, closed, full) or because of its sequence: what waits goes to a new session;
- no answer, 408, 429, 5xx: the same again later;
- an answer that is none of a Central Command (a proxy's error page, say): nothing is thrown away; the session rests
  until the next start, because asking again soon would not help.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import NoReturn, Protocol, TypeVar

import msgspec
import trio

from central_command.client.contract.chunking import encode_json
from central_command.client.contract.endpoints import (
    BATCH_ENVELOPES_MAX,
    BATCH_PATH,
    CLOSE_PATH,
    INGEST_PATH,
    INGEST_TIMEOUT_S,
    OPEN_PATH,
    SESSION_TIMEOUT_S,
)
from central_command.client.contract.signing import InvalidServerKeyError
from central_command.client.delivering.batching import Batching
from central_command.client.delivering.posting import Answer, Results, RetryPolicy, Undelivered
from central_command.client.spool.records import SessionState, SpoolError, StoredEnvelope, StoredSession
from central_command.client.spool.spool import Spool

T = TypeVar("T")
_BACKOFF_STEPS_MAX = 32
"""Doublings beyond it change nothing."""
_logger = logging.getLogger(__name__)

_USES_SEQUENCE = frozenset({"schema", "unknown_type", "reserved_member", "session_too_large"})
"""Refusals after which the server expects the next sequence number (docs/protocol.md)."""
_ENDS_SESSION = frozenset(
    {
        *("unknown_session", "session_closed", "envelope_limit", "sequence_mismatch", "session_too_large"),
        *("invalid_hmac", "missing_attestation"),
    }
)
"""Refusals that say nothing against the envelope itself: it is signed anew, for a new session."""


_ASKS_FOR_PATIENCE = frozenset({429, 503, 507})
"""Statuses that say nothing against a request's size."""


class Sent(msgspec.Struct, frozen=True):
    """One request was answered for good: ask again at once. `steps` were accepted, `refusal` says what was not.

    `session_id` is another one than was asked about when what waits was moved to a new session.
    """

    session_id: str
    steps: int = 0
    refusal: str | None = None


class Nothing(msgspec.Struct, frozen=True):
    """Nothing waits, and the session is still being recorded."""


class Done(msgspec.Struct, frozen=True):
    """The session is closed, or given up (`problem`)."""

    problem: str | None = None


class Later(msgspec.Struct, frozen=True):
    """The same again later: why, and after how many seconds at least if the server said.

    `opening` says that only openings need wait: the server limits them by machine.
    """

    reason: str
    retry_after_s: float | None = None
    opening: bool = False


class Resting(msgspec.Struct, frozen=True):
    """Nothing that a retry soon could mend: the session stays in the spool as it is."""

    reason: str


class Several(msgspec.Struct, frozen=True):
    """What came of the envelopes of one batch, in order, up to the first that is to be sent again."""

    each: tuple[Sent | Later | Resting, ...]


Progress = Sent | Nothing | Done | Later | Resting | Several


class Posts(Protocol):
    """What is needed of `Delivery`."""

    async def attempt(self, path: str, body: bytes, *, timeout_s: float) -> Answer | Undelivered:
        """Post once."""
        ...

    async def attempt_lines(
        self, path: str, lines: Sequence[bytes], *, timeout_s: float
    ) -> Results | Answer | Undelivered:
        """Post several bodies at once, a line each."""
        ...


class Offload(Protocol):
    """Runs a call that blocks for milliseconds where it holds nobody up: `trio.to_thread.run_sync`, or in place."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run `call` and return what it returns, or raise what it raises."""
        ...


class SessionDelivery:
    """Does the next thing for a session of the spool that this process owns; `offload` runs the spool's calls."""

    def __init__(
        self,
        spool: Spool,
        delivery: Posts,
        *,
        offload: Offload = trio.to_thread.run_sync,
        batching: Batching | None = None,
    ) -> None:
        self._spool = spool
        self._delivery = delivery
        self._offload = offload
        self._batching = batching or Batching()

    async def proceed(self, session_id: str) -> Progress:
        """Send at most one request for the session. Raises SpoolError when the spool is out of order."""
        session = await self._offload(lambda: self._spool.session(session_id))
        if session.state.done:
            return Done(session.problem) if session.moved_to is None else Sent(session.moved_to)
        if not session.opened:
            has_work = session.state is SessionState.ENDED or session.envelopes > 0
            return await self._open(session) if has_work else Nothing()
        bytes_max = self._batching.bytes_max
        envelopes = await self._offload(
            lambda: self._spool.waiting(
                session_id, envelopes_max=BATCH_ENVELOPES_MAX if bytes_max else 1, bytes_max=bytes_max
            )
        )
        if not envelopes:
            return Nothing() if session.state is SessionState.RECORDING else await self._close(session)
        if len(envelopes) > 1:
            return await self._ingest_many(session_id, envelopes)
        return await self._ingest(session_id, envelopes[0])

    async def _ingest(self, session_id: str, envelope: StoredEnvelope) -> Sent | Later | Resting:
        answer = await self._delivery.attempt(INGEST_PATH, envelope.body, timeout_s=INGEST_TIMEOUT_S)
        if later := _later(answer, opening=False):
            return later
        assert isinstance(answer, Answer)
        self._batching.arrived_alone()
        if _is_accepted(answer):
            await self._offload(lambda: self._spool.accepted(session_id, envelope.position))
            return Sent(session_id, steps=envelope.steps)
        return await self._refused(session_id, envelope, answer)

    async def _ingest_many(self, session_id: str, envelopes: Sequence[StoredEnvelope]) -> Progress:
        bodies = [envelope.body for envelope in envelopes]
        results = await self._delivery.attempt_lines(BATCH_PATH, bodies, timeout_s=INGEST_TIMEOUT_S)
        if not isinstance(results, Results):
            later = _later(results, opening=False)
            if later is None:
                self._batching.unknown()
            elif isinstance(results, Undelivered) or results.status not in _ASKS_FOR_PATIENCE:
                self._batching.failed()
            return later or Sent(session_id)
        self._batching.arrived()
        answered = list(zip(envelopes, results.answers, strict=False))  # the answer may have broken off
        accepted = [envelope for envelope, answer in answered if _is_accepted(answer)]
        each: list[Sent | Later | Resting] = []
        if accepted:
            # First of all, so that nothing that the server has can be moved to another session.
            positions = [envelope.position for envelope in accepted]
            await self._offload(lambda: self._spool.accepted(session_id, *positions))
            each.append(Sent(session_id, steps=sum(envelope.steps for envelope in accepted)))
        for envelope, answer in answered:
            if not _is_accepted(answer):
                each.append(_later(answer, opening=False) or await self._refused(session_id, envelope, answer))
                if not isinstance(each[-1], Sent) or each[-1].session_id != session_id:
                    break  # the rest is sent again, in order
        return Several(tuple(each))

    async def _refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent | Resting:
        """Go on after an envelope that was refused for good."""
        accepted, code = answer.members.get("accepted"), answer.members.get("code")
        if accepted is not False or not isinstance(code, str):
            return Resting(f"this is no Central Command's answer: {answer.reason}")
        refusal = f"{envelope.kind} was refused: {answer.reason}"
        if code in _ENDS_SESSION and (moved := await self._move(session_id, refusal)):
            return Sent(moved)
        await self._offload(lambda: self._spool.refused(session_id, envelope.position, refusal))
        if code not in _USES_SEQUENCE and code not in _ENDS_SESSION:
            moved = await self._move(session_id, refusal)
            return Sent(moved or session_id, refusal=refusal)
        return Sent(session_id, refusal=refusal)

    async def _open(self, session: StoredSession) -> Progress:
        opening = session.opening
        request = {
            "session_id": session.session_id,
            "public_key": session.public_key,
            "app_version_hash": opening.app_version_hash,
            "provider": opening.provider,
            "model": opening.model,
            "machine_fingerprint": opening.machine_fingerprint,
            "groove_version": opening.client_version,
        }
        answer = await self._delivery.attempt(OPEN_PATH, encode_json(request), timeout_s=SESSION_TIMEOUT_S)
        if later := _later(answer, opening=True):
            return later
        assert isinstance(answer, Answer)
        server_public_key = answer.members.get("server_public_key")
        if answer.status == 200 and isinstance(server_public_key, str):
            try:
                await self._offload(lambda: self._spool.opened(session.session_id, server_public_key))
            except InvalidServerKeyError:
                return Resting("the answer to the opening holds no valid public key")
            return Sent(session.session_id)
        problem = f"The session was not opened: {answer.reason}"
        if answer.status == 409 and (moved := await self._move(session.session_id, problem)):
            return Sent(moved)
        if answer.status in {400, 409} and "error" in answer.members:
            await self._offload(lambda: self._spool.fail(session.session_id, problem))
            return Done(problem)
        return Resting(problem)

    async def _close(self, session: StoredSession) -> Progress:
        body = encode_json({"session_id": session.session_id})
        answer = await self._delivery.attempt(CLOSE_PATH, body, timeout_s=SESSION_TIMEOUT_S)
        if later := _later(answer, opening=False):
            return later
        assert isinstance(answer, Answer)
        if answer.status == 200 and answer.members.get("closed") is True:
            points, steps = _number(answer.members.get("points")), _number(answer.members.get("steps"))
            await self._offload(
                lambda: self._spool.closed(
                    session.session_id, points=points, steps=None if steps is None else int(steps)
                )
            )
            return Done(session.problem)
        problem = f"The session was not closed: {answer.reason}"
        if answer.status == 404 and "error" in answer.members:
            await self._offload(lambda: self._spool.fail(session.session_id, problem))
            return Done(problem)
        return Resting(problem)

    async def _move(self, session_id: str, problem: str) -> str | None:
        moved = await self._offload(lambda: self._spool.move(session_id, f"sess_{uuid.uuid4()}", problem))
        return None if moved is None else moved.session_id


class Deliverer:
    """Goes on with all the sessions that it was given, in turn, one request at a time, for as long as it runs.

    A server that cannot be reached, or that is out of order, holds all of them up, with one backoff for all; a limit
    on openings holds up those that are not open. What a session raises is logged and tried again, never raised.
    """

    def __init__(
        self,
        sessions: SessionDelivery,
        *,
        policy: RetryPolicy,
        random: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._policy = policy
        self._random = random
        self._on_change = on_change
        self._due: dict[str, float] = {}
        self._under_way: str | None = None
        self._again = False
        self._resting: set[str] = set()
        self._resume_at = 0.0
        self._failures = 0
        self._opening_failures = 0
        self._woken = trio.Event()
        self.steps_accepted = 0
        self.envelopes_refused = 0
        self.problem: str | None = None
        """Why nothing is delivered at present, or what was refused last; None when all went well so far."""

    def __repr__(self) -> str:
        return f"<Deliverer of {len(self._due)} sessions>"

    @property
    def is_done(self) -> bool:
        """Whether nothing that it was given is left to be sent."""
        return not self._due and not self._resting and self._under_way is None

    def add(self, session_id: str) -> None:
        """Go on with this session; again after something was put to it."""
        if session_id == self._under_way:
            self._again = True
        elif session_id not in self._resting:
            self._due.setdefault(session_id, 0.0)
            self._woken.set()

    async def run(self) -> NoReturn:
        """Deliver until cancelled."""
        while True:
            await trio.sleep_until(self._resume_at)
            now = trio.current_time()
            if ready := next((each for each, due in self._due.items() if due <= now), None):
                await self._proceed(ready)
                self._on_change()
                continue
            self._woken = trio.Event()
            with trio.move_on_at(min(self._due.values(), default=inf)):
                await self._woken.wait()

    async def _proceed(self, session_id: str) -> None:
        del self._due[session_id]
        self._under_way, self._again = session_id, False
        try:
            progress = await self._sessions.proceed(session_id)
        except SpoolError as error:
            progress = Later(str(error))
        except KeyError:  # it is long done, and forgotten
            progress = Done()
        except Exception as error:  # a fault here must not end the program that records
            _logger.exception("session %s cannot be delivered", session_id)
            progress = Later(f"fault: {type(error).__name__}")
        self._under_way = None
        for each in progress.each if isinstance(progress, Several) else (progress,):
            self._note(session_id, each)

    def _note(self, session_id: str, progress: Sent | Nothing | Done | Later | Resting) -> None:
        match progress:
            case Sent(session_id=now_id, steps=steps, refusal=refusal):
                self._recovered(refusal)
                self.steps_accepted += steps
                self._due[now_id] = 0.0
            case Nothing():
                if self._again:
                    self._due[session_id] = 0.0
            case Done(problem=problem):
                self._recovered(None)
                self.problem = problem
                if self._again:
                    self._due[session_id] = 0.0
            case Resting(reason=reason):
                self.problem = reason
                self._due.pop(session_id, None)
                self._resting.add(session_id)
                _logger.warning("session %s waits for the next start: %s", session_id, reason)
            case Later(opening=True):
                self._opening_failures += 1
                self._due[session_id] = trio.current_time() + self._wait_s(progress, self._opening_failures)
            case Later():
                self._failures += 1
                self._due = {session_id: 0.0, **self._due}
                self._resume_at = trio.current_time() + self._wait_s(progress, self._failures)

    def _recovered(self, refusal: str | None) -> None:
        self._failures = self._opening_failures = 0
        if refusal is not None:
            self.envelopes_refused += 1
            _logger.warning("%s", refusal)
        self.problem = refusal

    def _wait_s(self, later: Later, failures: int) -> float:
        if self.problem != later.reason:
            _logger.info("delivery waits: %s", later.reason)
        self.problem = later.reason
        asked_s = later.retry_after_s
        if asked_s is not None:
            asked_s = min(asked_s, self._policy.retry_after_s_max)
        return self._policy.wait_s(min(failures, _BACKOFF_STEPS_MAX), asked_s, self._random())


def _later(answer: Answer | Undelivered, *, opening: bool) -> Later | None:
    if isinstance(answer, Undelivered):
        return Later(answer.reason)
    if answer.is_temporary:
        return Later(answer.reason, answer.retry_after_s, opening=opening and answer.status == 429)
    return None


def _is_accepted(answer: Answer) -> bool:
    return answer.status == 200 and answer.members.get("accepted") is True


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
