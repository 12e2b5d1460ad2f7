"""The next thing that is to be done for one session of a spool: open, send its envelopes in order, close.

Several envelopes that wait go as a batch, if the server takes any (`batching`); each result counts as if its envelope
had been sent alone.

`SessionDelivery.proceed` does one thing and says what came of it; when to ask again is the caller's business
(`Deliverer`), and what becomes of a session of which something was refused is that of whoever feeds it (`refusals`).
Between any two lines the process may die: what was done is either in the spool, or done again with the same bytes,
which the server recognises.

What an answer means (docs/protocol.md):
- accepted, or refused with its sequence number used up: the next envelope follows;
- refused for what the session is (unknown, closed, full) or because of its sequence: the session takes no more;
- no answer, 408, 429, 5xx: the same again later;
- an answer that is none of a Central Command (a proxy's error page, say): nothing is thrown away; the session rests,
  because asking again soon would not help.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import httpx
import msgspec
import trio

from central_command.client.contract.chunking import encode_json
from central_command.client.contract.contributor_keys import (
    ContributorKeyError,
    KeyOf,
    OpeningClaim,
    export_advice,
    no_key,
    wants_key,
)
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
from central_command.client.delivering.posting import Answer, Results, not_there
from central_command.client.delivering.progress import Done, Held, Later, Nothing, Progress, Resting, Sent, Several
from central_command.client.delivering.refusals import NOT_OPENED, Moving, Refusals
from central_command.client.spool.records import SessionState, StoredEnvelope, StoredSession
from central_command.client.spool.spool import Spool
from central_command.reaching.unreachable import Undelivered, stranger

T = TypeVar("T")
NOT_CLOSED = "The session was not closed"
_CLOSE_MEMBERS = frozenset({"closed", "already_closed", "points", "steps"})
_CLOSE_ANSWER_CHARS_MAX = 8_192
_ASKS_FOR_PATIENCE = frozenset({429, 503, 507})
"""Statuses that say nothing against a request's size."""


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
    """Does the next thing for a session of the spool that this process owns; `offload` runs the spool's calls.

    `key_of` is asked at each opening: a key that comes while the program runs is used from then on.
    """

    def __init__(
        self,
        spool: Spool,
        delivery: Posts,
        *,
        offload: Offload = trio.to_thread.run_sync,
        batching: Batching | None = None,
        refusals: Refusals | None = None,
        key_of: KeyOf = no_key,
    ) -> None:
        self._spool = spool
        self._delivery = delivery
        self._offload = offload
        self._batching = batching or Batching()
        self._refusals = refusals or Moving(spool)
        self._key_of = key_of
        self._openings_from = 0.0
        self._are_openings_limited = False
        self._opening_turn = trio.Lock()

    def hold_openings(self, until: float) -> None:
        """Open no session before `until` (`trio.current_time`): the server limits openings by machine.

        From then on one opening is asked for at a time, until one is taken: asked for together, most would lose again.
        """
        self._openings_from = max(self._openings_from, until)
        self._are_openings_limited = True

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
        if later := _later(answer):
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
            later = _later(results)
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
                each.append(_later(answer) or await self._refused(session_id, envelope, answer))
                if not isinstance(each[-1], Sent) or each[-1].session_id != session_id:
                    break  # the rest is sent again, in order
        return Several(tuple(each))

    async def _refused(self, session_id: str, envelope: StoredEnvelope, answer: Answer) -> Sent | Resting:
        """Go on after an envelope that was refused for good."""
        if answer.members.get("accepted") is not False or not isinstance(answer.members.get("code"), str):
            return Resting(f"{envelope.kind} was not delivered", answer.reason)
        return await self._offload(lambda: self._refusals.refused(session_id, envelope, answer))

    async def _open(self, session: StoredSession) -> Progress:
        if not self._are_openings_limited:
            return await self._ask_to_open(session)
        if self._openings_from > trio.current_time():
            return Held(self._openings_from)
        async with self._opening_turn:
            return await self._ask_to_open(session)

    async def _ask_to_open(self, session: StoredSession) -> Progress:
        if self._openings_from > trio.current_time():
            return Held(self._openings_from)
        try:
            claim = await self._offload(lambda: self._claim(session))
        except ContributorKeyError as error:
            return Resting(NOT_OPENED, str(error))
        body = encode_json(_opening_members(session, claim))
        answer = await self._delivery.attempt(OPEN_PATH, body, timeout_s=SESSION_TIMEOUT_S)
        unknown = None
        if isinstance(answer, Answer) and answer.status != httpx.codes.OK:
            unknown = not_there(answer, httpx.URL(session.url))
        if later := _later(answer, is_opening=True):
            self._are_openings_limited &= later.opening
            return later if unknown is None else msgspec.structs.replace(later, unreached=unknown)
        assert isinstance(answer, Answer)
        self._are_openings_limited &= trio.current_time() < self._openings_from  # it was under way before the limit
        if unknown is not None:
            return Resting(NOT_OPENED, unknown.reason, unreachable=True, status=answer.status, advice=unknown.advice)
        if answer.status != httpx.codes.OK:
            progress = await self._offload(lambda: self._refusals.not_opened(session, answer))
            return _explained(progress, claim, answer)
        server_public_key = answer.members.get("server_public_key")
        if isinstance(server_public_key, str):
            try:
                await self._offload(lambda: self._spool.opened(session.session_id, server_public_key))
            except InvalidServerKeyError:
                reason = "the answer holds no valid public key, as a Central Command's does"
                return Resting(NOT_OPENED, reason, unreachable=True, status=answer.status)
            return Sent(session.session_id)
        other = stranger(answer.status, None, httpx.URL(session.url))
        return Resting(NOT_OPENED, other.reason, unreachable=True, status=answer.status, advice=other.advice)

    def _claim(self, session: StoredSession) -> OpeningClaim | None:
        """For whom a session is to be opened, signed if there is a key; a server that knows no keys passes it over."""
        contributor_id = session.opening.contributor_id
        if contributor_id is None:
            return None
        key = self._key_of(contributor_id)
        if key is None:
            return OpeningClaim(contributor_id=contributor_id)
        return key.claim(session.session_id, session.public_key)

    async def _close(self, session: StoredSession) -> Progress:
        body = encode_json({"session_id": session.session_id})
        answer = await self._delivery.attempt(CLOSE_PATH, body, timeout_s=SESSION_TIMEOUT_S)
        if later := _later(answer):
            return later
        assert isinstance(answer, Answer)
        if answer.status == httpx.codes.OK and answer.members.get("closed") is True:
            points, steps = _number(answer.members.get("points")), _number(answer.members.get("steps"))
            await self._offload(
                lambda: self._spool.closed(
                    session.session_id,
                    points=points,
                    steps=None if steps is None else int(steps),
                    answer=_other_members(answer),
                )
            )
            return Done(session.problem)
        if answer.status == httpx.codes.NOT_FOUND and "error" in answer.members:
            problem = session.problem or f"{NOT_CLOSED}: {answer.reason}"
            await self._offload(lambda: self._spool.fail(session.session_id, problem))
            return Done(problem)
        return Resting(NOT_CLOSED, answer.reason)


def _opening_members(session: StoredSession, claim: OpeningClaim | None) -> dict[str, str]:
    opening = session.opening
    members = {
        "session_id": session.session_id,
        "public_key": session.public_key,
        "app_version_hash": opening.app_version_hash,
        "provider": opening.provider,
        "model": opening.model,
        "machine_fingerprint": opening.machine_fingerprint,
        "groove_version": opening.client_version,
    }
    return members if claim is None else members | msgspec.to_builtins(claim)


def _explained(progress: Progress, claim: OpeningClaim | None, answer: Answer) -> Progress:
    """The same, with what to do where the server credits a contributor only with the key that it knows.

    Of what else it refuses with 403, a ban for one, its own sentence is enough. Nothing of the session was sent, and
    nothing is lost; others of this machine fare no better.
    """
    if answer.status != httpx.codes.FORBIDDEN or not isinstance(progress, Resting):
        return progress
    reason = progress.reason
    if claim is not None and wants_key(answer.members.get("code"), answer.reason):
        advice = export_advice(claim.contributor_id, has_key=claim.contributor_key is not None)
        reason = f"{reason.rstrip('.')}; {advice}"
    return Resting(progress.what, reason, unreachable=True, status=answer.status)


def _later(answer: Answer | Undelivered, *, is_opening: bool = False) -> Later | None:
    if isinstance(answer, Undelivered):
        return Later(answer.reason, unreached=answer)
    if not answer.is_temporary:
        return None
    is_limit = answer.status == httpx.codes.TOO_MANY_REQUESTS
    own = is_limit and answer.retry_after_s is None
    return Later(
        answer.reason,
        answer.retry_after_s,
        opening=is_opening and is_limit,
        own=own,
        status=answer.status,
        asks_for_time=answer.asks_for_time,
    )


def _is_accepted(answer: Answer) -> bool:
    return answer.status == httpx.codes.OK and answer.members.get("accepted") is True


def _other_members(answer: Answer) -> str | None:
    """What else the answer to a close says, as JSON; None when that is nothing, or more than is kept."""
    others = {name: value for name, value in answer.members.items() if name not in _CLOSE_MEMBERS}
    text = encode_json(others).decode()
    return text if others and len(text) <= _CLOSE_ANSWER_CHARS_MAX else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
