"""One session from opening to credit: open, chunks, SESSION_CLOSE, USER_FEEDBACK, close.

What is refused stops the session: nothing more is claimed of it, and it is closed over HTTP, so that what was
accepted is credited. A session that the server cannot be told about any more is closed by the server itself later.
"""

import uuid
from collections.abc import Callable

import msgspec

from central_command.client.chunking import Chunk, Part, encode_json
from central_command.client.delivery import Answer, Delivery, Undelivered
from central_command.client.identity import Identity
from central_command.client.outcome import feedback_of, outcome_of
from central_command.client.signing import InvalidServerKeyError, SessionKey, Signer

OPEN_PATH = "/v1/sessions/open"
INGEST_PATH = "/v1/training/ingest"
CLOSE_PATH = "/v1/sessions/close"
SESSION_TIMEOUT_S = 10.0
"""For opening and closing; published clients use the same (contract, "Critical Contract")."""
INGEST_TIMEOUT_S = 30.0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is uploaded as one session, and what the contract's `metadata` says of it."""

    provider: str
    model: str
    agent_role: str
    agent_id: str
    part: Part


class Credit(msgspec.Struct, frozen=True):
    """What the server credited, as its answer to the close says; None for what it does not say."""

    points: float | None
    steps: int | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one session. `problem` is one sentence when not everything was accepted.

    `unreachable` says that the server could not be had any more, so that there is no use in going on.
    """

    session_id: str
    envelopes: int
    envelopes_accepted: int
    steps: int
    steps_accepted: int
    credit: Credit | None
    problem: str | None = None
    unreachable: bool = False


class _StopError(Exception):
    """Nothing more is to be sent for this session; the text is the report's problem."""

    def __init__(self, problem: str, *, unreachable: bool = False) -> None:
        super().__init__(problem)
        self.unreachable = unreachable


async def upload_session(
    delivery: Delivery, identity: Identity, work: Work, *, on_steps: Callable[[int], None] = lambda _steps: None
) -> Report:
    """Upload `work` as one new session; `on_steps` hears how many steps each accepted chunk held.

    Never raises for what the server answers or does not answer: that is in the report.
    """
    return await _Upload(delivery, identity, work, on_steps).run()


class _Upload:
    def __init__(self, delivery: Delivery, identity: Identity, work: Work, on_steps: Callable[[int], None]) -> None:
        self._delivery = delivery
        self._identity = identity
        self._work = work
        self._on_steps = on_steps
        self._session_id = f"sess_{uuid.uuid4()}"
        self._accepted = 0
        self._steps_accepted = 0

    async def run(self) -> Report:
        credit: Credit | None = None
        stop: _StopError | None = None
        try:
            signer = await self._open()
            try:
                await self._send_all(signer)
            except _StopError as refused:
                stop = refused
            if stop is None or not stop.unreachable:
                credit = await self._close()
        except _StopError as failed:
            stop = stop or failed
        steps = self._work.part.steps
        return Report(
            session_id=self._session_id,
            envelopes=len(self._work.part.chunks) + 1 + (feedback_of(steps) is not None),
            envelopes_accepted=self._accepted,
            steps=len(steps),
            steps_accepted=self._steps_accepted,
            credit=credit,
            problem=str(stop) if stop else None,
            unreachable=stop is not None and stop.unreachable,
        )

    async def _open(self) -> Signer:
        key = SessionKey()
        request = {
            "session_id": self._session_id,
            "public_key": key.public_key,
            "app_version_hash": self._identity.app_version_hash,
            "provider": self._work.provider,
            "model": self._work.model,
            "machine_fingerprint": self._identity.machine_fingerprint,
            "groove_version": self._identity.client_version,
        }
        answer = await self._post(OPEN_PATH, request, "The session was not opened")
        server_public_key = answer.members.get("server_public_key")
        try:
            if isinstance(server_public_key, str):
                return key.signer(server_public_key, self._identity.app_version_hash)
        except InvalidServerKeyError:
            pass
        raise _StopError(
            "The session was not opened: the answer holds no valid public key; is the URL that of a Central Command?",
            unreachable=True,
        )

    async def _send_all(self, signer: Signer) -> None:
        part = self._work.part
        for number, chunk in enumerate(part.chunks):
            await self._ingest(self._chunk_body(signer, number, chunk), f"Chunk {number + 1} of {len(part.chunks)}")
            self._steps_accepted += chunk.steps
            self._on_steps(chunk.steps)
        outcome = outcome_of(part.steps, chunks=len(part.chunks))
        close = {"metadata": self._metadata() | {"domain_tags": None, "session_embedding": None}, "outcome": outcome}
        await self._ingest(self._typed_body(signer, "SESSION_CLOSE", close), "SESSION_CLOSE")
        if feedback := feedback_of(part.steps):
            await self._ingest(self._typed_body(signer, "USER_FEEDBACK", {"feedback": feedback}), "USER_FEEDBACK")

    async def _close(self) -> Credit | None:
        answer = await self._post(CLOSE_PATH, {"session_id": self._session_id}, "The session was not closed")
        points, steps = answer.members.get("points"), answer.members.get("steps")
        credit = Credit(
            float(points) if isinstance(points, int | float) and not isinstance(points, bool) else None,
            steps if isinstance(steps, int) and not isinstance(steps, bool) else None,
        )
        return None if credit.points is None and credit.steps is None else credit

    async def _post(self, path: str, request: dict[str, str], failure: str) -> Answer:
        match await self._delivery.post(path, encode_json(request), timeout_s=SESSION_TIMEOUT_S):
            case Undelivered(reason=reason):
                raise _StopError(f"{failure}: {reason}.", unreachable=True)
            case answer if answer.status != 200:
                raise _StopError(f"{failure}: {answer.reason.rstrip('.')}.")
            case answer:
                return answer

    async def _ingest(self, body: bytes, name: str) -> None:
        match await self._delivery.post(INGEST_PATH, body, timeout_s=INGEST_TIMEOUT_S):
            case Undelivered(reason=reason):
                raise _StopError(f"{name} was not delivered: {reason}.", unreachable=True)
            case Answer(status=200, members={"accepted": True}):
                self._accepted += 1
            case answer:
                raise _StopError(f"{name} was refused: {answer.reason.rstrip('.')}.")

    def _chunk_body(self, signer: Signer, number: int, chunk: Chunk) -> bytes:
        head = self._head() | {"chunk_sequence": number, "contributor_id": self._identity.contributor_id}
        return signer.body(head, {"metadata": self._metadata()}, trajectory_log=chunk.trajectory_log)

    def _typed_body(self, signer: Signer, kind: str, members: dict[str, object]) -> bytes:
        return signer.body(self._head() | {"type": kind}, msgspec.to_builtins(members))

    def _head(self) -> dict[str, object]:
        return {"envelope_id": f"env_{uuid.uuid4()}", "session_id": self._session_id}

    def _metadata(self) -> dict[str, object]:
        """As published clients send it; what a transcript cannot show is null or the neutral value."""
        return {
            "model_engine": self._work.model,
            "provider": self._work.provider,
            "agent_role": self._work.agent_role,
            "agent_id": self._work.agent_id,
            "task_complexity": "medium",
            "team_size": 1,
            "session_quality": None,
            "groove_version": self._identity.client_version,
            "leaf_context": None,
        }
