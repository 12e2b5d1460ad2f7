"""Clients as the published ones behave, and as broken networks and broken clients make them behave: from the seed."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from central_command.http.requests.replies import BATCH_PATH
from tests.signing_client import SigningClient
from tests.simulation.caller import Caller, Mishap
from tests.simulation.model import Belief, Model, Reply, Sent, SessionModel
from tests.simulation.randomness import Stream
from tests.simulation.world import World

OPEN_PATH = "/v1/sessions/open"
CLOSE_PATH = "/v1/sessions/close"
INGEST_PATH = "/v1/training/ingest"

ATTEMPTS_MAX = 400
"""More than any fault lasts: a client that needs more will never come to its end."""
PATIENCE_ATTEMPTS = 5
"""After which the published client drops an envelope."""
STEP_TYPES = (
    "thought", "action", "observation", "correction", "resolution", "error", "coordination", "edit", "instruction",
    "delegate",
)  # fmt: skip
MODELS = ("claude-opus-4-6", "o4-mini", "gemini-2.5-flash", "gpt-5.5", "some-model-without-a-tier")
SIDE_CALLS = (
    ("GET", "/health", b""),
    ("GET", "/ready", b""),
    ("GET", "/v1/stats/summary", b""),
    ("GET", "/v1/stats/leaderboard", b""),
    ("POST", "/v1/embed", b'{"input":"health check"}'),
    ("POST", "/v1/embed", b'{"input":["one","two"]}'),
)


class SeededClient(SigningClient):
    """A signing client whose key comes from the seed."""

    def __init__(self, session_id: str, chance: Stream, *, contributor_id: str, now_s: float) -> None:
        super().__init__(session_id, contributor_id=contributor_id, now_s=now_s)
        self._key = ec.derive_private_key(chance.getrandbits(250) + 1, ec.SECP256R1())


class SessionScript:
    """One session from its opening to its end."""

    def __init__(self, world: World, model: Model, caller: Caller, name: str) -> None:
        self.world = world
        self.chance = world.stream("workload")
        contributor = hashlib.sha256(b"%d" % self.chance.randrange(3)).hexdigest()[:32]
        self.client = SeededClient(name, self.chance, contributor_id=contributor, now_s=world.clock())
        self.session = SessionModel(name, contributor)
        model.sessions[name] = self.session
        self._model = model
        self._caller = caller
        self._engine = self.chance.any_of(MODELS)
        self._is_impatient = self.chance.one_in(20)

    async def run(self) -> None:
        """Live through the session."""
        if self.chance.one_in(4):
            await trio.sleep(self.chance.uniform(0, 10))
        if not await self._open():
            return
        left = self.chance.randint(0, 6)
        while left > 0:
            left -= await self._next_chunks(left)
            await self._aside()
            if self.chance.one_in(2):
                await trio.sleep(self.chance.any_of((0.01, 0.5, 3.0)))
        await self._end()

    # Opening

    async def _open(self) -> bool:
        for attempt in range(ATTEMPTS_MAX):
            reply = await self._ask(OPEN_PATH, self._opening(), self._mishap(attempt))
            if self._model.opened(self.session, reply):
                self.client.opened(self.session.server_key)
                return True
            if self.world.violations:
                return False
            await self._back_off(attempt)
        self.world.violated(f"{self.session.session_id} could not be opened")
        return False

    def _opening(self, **changes: Any) -> bytes:
        return msgspec.json.encode(self.client.opening(**changes))

    # Envelopes

    async def _next_chunks(self, left: int) -> int:
        """Send one chunk or some, in one of many ways; answer how many."""
        way = self.chance.randrange(12)
        if left >= 2 and way < 4:
            both = [self._chunk(), self._chunk()]
            match way:
                case 0:  # the second first
                    await self._post(both[1])
                case 1:  # both at once
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._post, both[0])
                        nursery.start_soon(self._post, both[1], self._another_caller())
                case _:  # both on one connection, without waiting
                    await self._pipeline(both)
            await self._deliver_unsettled(both)
            return 2
        if left >= 2 and way in {8, 9}:
            return await self._batch()
        sent = self._chunk(acceptable=not self.chance.one_in(8))
        if way == 5:  # the same at once on another connection
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._post, sent, self._another_caller())
                await self._deliver(sent)
        elif way == 6:
            await self._tamper(sent)
        await self._deliver(sent)
        if way == 7:
            await self._deliver(sent)  # once more, although it was answered
        return 1

    def _chunk(self, *, acceptable: bool = True) -> Sent:
        chance, client = self.chance, self.client
        said = self._model.said
        if said and chance.one_in(3):  # history that was copied from wherever it stands, or some of it
            old = chance.any_of(said)
            end = max(0, len(old) - chance.randint(1, 2))
            first = chance.any_of((0, 0, end, chance.randint(0, len(old) - 1)))
            steps = [client.step(kind, content=content) for kind, content in old[first:]]
            self.world.counts["copied steps"] += len(steps)
        else:
            own = f"{self.session.session_id} {client.chunks} "
            contents = [f"{own}{number} {'x' * chance.any_of((1, 30, 700))}" for number in range(chance.randint(1, 7))]
            steps = [client.step(chance.any_of(STEP_TYPES), content=content) for content in contents]
            said.append([(step["type"], step["content"]) for step in steps])
        if not acceptable:
            steps[0]["type"] = "no such type"
        changes: dict[str, Any] = {
            "model_engine": self._engine,
            "task_complexity": chance.any_of(("light", "medium", "heavy")),
        }
        sequence, chunk_sequence = client.sequence, client.chunks
        body = client.chunk_of(steps, **changes)
        sent = self._signed("CHUNK", body, sequence)
        sent.steps, sent.chunk_sequence, sent.is_acceptable = steps, chunk_sequence, acceptable
        sent.metadata = client.metadata(**changes)
        return sent

    def _signed(self, kind: str, body: bytes, sequence: int | None) -> Sent:
        marker = b'"session_hmac":"'
        at = body.index(marker) + len(marker)
        sent = Sent(kind=kind, body=body, signature=body[at : at + 64].decode(), sequence=sequence)
        self.session.sent.append(sent)
        return sent

    def _feedback(self) -> Sent:
        # Its sequence is signed, but neither checked nor counted; a fresh one, so that no two are the same.
        signal = self.chance.any_of(("accepted", "modified", "rejected", "iterated"))
        is_acceptable = not self.chance.one_in(6)
        body = self.client.feedback(
            signal if is_acceptable else "no such signal", sequence=1_000 + len(self.session.sent)
        )
        sent = self._signed("USER_FEEDBACK", body, None)
        sent.is_acceptable = is_acceptable
        return sent

    async def _deliver(self, sent: Sent) -> None:
        """Send until there is an answer that is final, or patience ends."""
        for attempt in range(ATTEMPTS_MAX):
            if await self._post(sent, mishap=self._mishap(attempt)) or self.world.violations:
                return
            if self._is_impatient and attempt + 1 >= PATIENCE_ATTEMPTS:
                self.session.order_broken = True
                self.world.happened(f"{self.session.session_id} gives up {sent.kind} {sent.sequence}")
                return
            await self._back_off(attempt)
        self.world.violated(f"{sent.kind} {sent.sequence} of {self.session.session_id} was never answered")

    async def _deliver_unsettled(self, envelopes: Sequence[Sent]) -> None:
        for sent in envelopes:
            if not sent.is_settled or self.chance.one_in(5):
                await self._deliver(sent)

    async def _post(self, sent: Sent, caller: Caller | None = None, mishap: Mishap = Mishap.NONE) -> bool:
        in_order = not self.session.unsettled_before(sent)
        sent.attempts += 1
        self.world.happened(f"{self.session.session_id} sends {sent.kind} {sent.sequence} ({mishap.name.lower()})")
        reply = await (caller or self._caller).ask("POST", INGEST_PATH, sent.body, mishap)
        return self._model.answered(self.session, sent, reply, in_order=in_order)

    async def _pipeline(self, envelopes: Sequence[Sent]) -> None:
        in_order = [not self.session.unsettled_before(sent) for sent in envelopes]
        for sent in envelopes:
            sent.attempts += 1
        calls = [("POST", INGEST_PATH, sent.body) for sent in envelopes]
        replies = await self._caller.ask_all([*calls, ("GET", "/health", b"")])
        for sent, reply, was_in_order in zip(envelopes, replies, in_order, strict=False):
            self._model.answered(self.session, sent, reply, in_order=was_in_order)

    async def _batch(self) -> int:
        """Send chunks, and perhaps feedback between them, in one request; answer how many chunks.

        What follows one that could not be stored is answered alike, so none may be told that its number is wrong.
        """
        chance = self.chance
        chunks = [self._chunk(acceptable=not chance.one_in(8)) for _ in range(chance.randint(2, 5))]
        envelopes: list[Sent] = list(chunks)
        if chance.one_in(3):
            envelopes.insert(chance.randint(0, len(envelopes)), self._feedback())
        in_order = not self.session.unsettled_before(chunks[0])
        for sent in envelopes:
            sent.attempts += 1
        self.world.counts["batches"] += 1
        self.world.happened(f"{self.session.session_id} sends a batch of {len(envelopes)}")
        replies = await self._caller.ask_batch(BATCH_PATH, [sent.body for sent in envelopes])
        for sent, reply in zip(envelopes, replies, strict=False):
            self._model.answered(self.session, sent, reply, in_order=in_order)
        await self._deliver_unsettled(envelopes)
        return len(chunks)

    async def _tamper(self, sent: Sent) -> None:
        """Send an envelope with one byte changed, but for the member that nobody signs."""
        unsigned = sent.body.index(b'"app_version_hash"')
        places = [*range(unsigned), *range(unsigned + 90, len(sent.body))]
        at = self.chance.any_of(places)
        changed = bytearray(sent.body)
        changed[at] ^= self.chance.any_of((1, 2, 4))
        self.world.counts["changed bytes"] += 1
        self._model.tampered(self.session, await self._ask(INGEST_PATH, bytes(changed)))

    # What else a client does

    async def _aside(self) -> None:
        match self.chance.randrange(14):
            case 0 | 1:
                method, path, body = self.chance.any_of(SIDE_CALLS)
                self._look_at(path, await self._caller.ask(method, path, body))
            case 2:
                await self._deliver(self._feedback())
            case 3:
                self._model.opened(self.session, await self._ask(OPEN_PATH, self._opening()))
            case 4:
                await self._open_with_another_key()
            case 5:
                settled = [sent for sent in self.session.sent if sent.belief is Belief.ACKNOWLEDGED]
                if settled:
                    await self._deliver(self.chance.any_of(settled))
            case 6:
                reply = await self._ask(INGEST_PATH, b'{"session_id": ')
                self._expect(reply, 400)
            case _:
                pass

    def _look_at(self, path: str, reply: Reply | None) -> None:
        if reply is not None and reply.status not in {200, 503}:
            self._expect(reply, 200)
        if path == "/health":
            self._expect(reply, 200)

    def _expect(self, reply: Reply | None, status: int) -> None:
        life = self.world.life
        if reply is None or reply.status == status or life is None or life.has_failed or reply.status in {503, 507}:
            return
        self.world.violated(f"{self.session.session_id} expected {status} and got {reply.status} {reply.body}")

    async def _open_with_another_key(self) -> None:
        other = SeededClient(self.session.session_id, self.chance, contributor_id="", now_s=0)
        self._expect(await self._ask(OPEN_PATH, self._opening(public_key=other.public_key)), 409)

    def _another_caller(self) -> Caller:
        return Caller(self.world, "10.9.9.9")

    def _mishap(self, attempt: int) -> Mishap:
        if attempt > 3 or not self.chance.one_in(9):
            return Mishap.NONE
        return self.chance.any_of((Mishap.CUT_SHORT, Mishap.GONE))

    async def _ask(self, path: str, body: bytes, mishap: Mishap = Mishap.NONE) -> Reply | None:
        return await self._caller.ask("POST", path, body, mishap)

    async def _back_off(self, attempt: int) -> None:
        await trio.sleep(min(2**attempt, 16) * self.chance.uniform(0.8, 1.2))

    # The end

    async def _end(self) -> None:
        way = self.chance.randrange(10)
        if way == 0:
            return  # the client's program is gone: the server will find the session abandoned
        self.session.closing = True
        if way < 8:
            if self.chance.one_in(10):
                refused = self._close(status="no such status")
                refused.is_acceptable = False
                await self._deliver(refused)
            await self._deliver(self._close())
        if way < 7:
            await self._deliver(self._feedback())
        if way < 3:
            await self._deliver(self._chunk())  # too late
        if way != 7:
            await self._close_by_http()

    def _close(self, **outcome: Any) -> Sent:
        sequence = self.client.sequence
        return self._signed("SESSION_CLOSE", self.client.close(**outcome), sequence)

    async def _close_by_http(self) -> None:
        body = b'{"session_id":"%s"}' % self.session.session_id.encode()
        self.session.http_close_asked = True
        for attempt in range(ATTEMPTS_MAX):
            reply = await self._ask(CLOSE_PATH, body, self._mishap(attempt))
            if self._model.closed(self.session, reply) or self.world.violations:
                return
            await self._back_off(attempt)
        self.world.violated(f"the close of {self.session.session_id} was never answered")


def scripts(world: World, model: Model) -> list[SessionScript]:
    """The sessions of a seed, on some machines."""
    chance = world.stream("workload")
    callers = [Caller(world, f"10.0.0.{number}") for number in range(chance.randint(1, 3))]
    return [
        SessionScript(
            world, model, chance.any_of(callers), f"sess_{number}{base64.b16encode(chance.randbytes(4)).decode()}"
        )
        for number in range(chance.randint(2, 4))
    ]
