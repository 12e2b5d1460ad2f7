"""Sessions as published clients send them, made in advance so that making them is in no measurement.

Text is drawn once for each size of chunk and shared by all sessions: what differs between two envelopes of a benchmark
is what a server has to look at (session, sequence, signature), not the prose.
"""

import random
import time
import uuid
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from actors.sessions.messages import OpenSession
from central_command.client.contract.signing import SessionKey, Signer

VOCABULARY: Final = """\
refactor component router the state import function return error undefined config test build server client promise
async await render table index query migrate schema deploy é 日本 🚀 <div> "quoted" path/to/file.ts const => { }
"""
WORDS: Final = (*VOCABULARY.split(), "\n")
KINDS: Final = {
    "thought": 22,
    "action": 30,
    "observation": 30,
    "error": 3,
    "correction": 2,
    "resolution": 2,
    "coordination": 2,
    "edit": 7,
    "instruction": 2,
}
METADATA: Final = {
    "model_engine": "gpt-5.5",
    "provider": "codex",
    "agent_role": "frontend",
    "agent_id": "frontend-3",
    "task_complexity": "medium",
    "team_size": 3,
    "session_quality": 50,
    "groove_version": "0.27.115",
    "leaf_context": None,
}
APP_HASH: Final = "b" * 64
CONTRIBUTORS: Final = 500


class ChunkSize(msgspec.Struct, frozen=True):
    """A size of chunk: its name in reports, and the steps that make it about that large."""

    name: str
    steps: int


SMALL = ChunkSize("1.2 KiB", 1)
MEDIUM = ChunkSize("27 KiB", 40)
LARGE = ChunkSize("135 KiB", 200)


class SessionLogs(Protocol):
    """What the chunks of a session hold."""

    size: ChunkSize

    def log(self, chunk: int) -> bytes:
        """The `trajectory_log` of the session's chunk number `chunk`, from 0."""
        ...


class Logs:
    """The `trajectory_log` of each chunk of a session, by its place in the session, drawn when first asked for.

    `at_s` is when the steps happened, in seconds since the epoch; the server refuses what is older than seven days.
    """

    def __init__(self, size: ChunkSize, *, at_s: float | None = None, seed: int = 1) -> None:
        self.size = size
        self._at_s = int(time.time() if at_s is None else at_s) - 60
        self._random = random.Random(seed)
        self._drawn: list[bytes] = []

    def log(self, chunk: int) -> bytes:
        """The log of the session's chunk number `chunk`, from 0."""
        while len(self._drawn) <= chunk:
            first = len(self._drawn) * self.size.steps + 1
            steps = [self._step(number) for number in range(first, first + self.size.steps)]
            self._drawn.append(msgspec.json.encode(steps))
        return self._drawn[chunk]

    def _step(self, number: int) -> dict[str, object]:
        (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
        step: dict[str, object] = {"step": number, "type": kind, "timestamp": self._at_s + number % 997 / 1000}
        if kind == "action":
            arguments = {"command": self._text(self._random.randint(20, 300)), "path": "src/router.ts"}
            content = "Using Bash"
            step |= {"tool": "Bash", "arguments": arguments, "content": content}
        else:
            content = self._text(int(min(8_000, self._random.expovariate(1 / 700) + 20)))
            step["content"] = content
        step["token_count"] = max(1, len(content) // 4)
        return step

    def _text(self, chars: int) -> str:
        words: list[str] = []
        length = 0
        while length < chars:
            words.append(self._random.choice(WORDS))
            length += len(words[-1]) + 1
        return " ".join(words)[:chars]


class BenchSession:
    """One session's client side: it signs, counting its sequence up; someone else sends."""

    def __init__(self, logs: SessionLogs) -> None:
        self.session_id = f"sess_{uuid.uuid4()}"
        self._logs = logs
        self._key = SessionKey()
        self._signer: Signer | None = None
        self._contributor = f"{random.randrange(CONTRIBUTORS):032x}"
        self._chunks = 0

    def opening(self) -> OpenSession:
        """What opens it; every session comes from a machine of its own."""
        return OpenSession(
            session_id=self.session_id,
            public_key=self._key.public_key,
            provider="codex",
            model="gpt-5.5",
            machine_fingerprint=f"{random.getrandbits(256):064x}",
            app_version_hash=APP_HASH,
            groove_version="0.27.115",
        )

    def opening_body(self) -> bytes:
        """The body of `POST /v1/sessions/open`."""
        return msgspec.json.encode(self.opening())

    def opened(self, server_public_key: str) -> None:
        """Take the answer to the opening."""
        self._signer = self._key.signer(server_public_key, APP_HASH)

    @property
    def sent(self) -> int:
        """Chunks so far."""
        return self._chunks

    def chunk(self) -> bytes:
        """The next chunk's body."""
        assert self._signer is not None
        head = {
            "envelope_id": f"env_{uuid.uuid4()}",
            "session_id": self.session_id,
            "chunk_sequence": self._chunks,
            "contributor_id": self._contributor,
        }
        log = self._logs.log(self._chunks)
        self._chunks += 1
        return self._signer.body(head, {"metadata": METADATA}, trajectory_log=log)

    def chunks(self, count: int) -> Sequence[bytes]:
        """The next `count` chunks' bodies."""
        return [self.chunk() for _ in range(count)]

    def close(self) -> bytes:
        """The body of SESSION_CLOSE."""
        assert self._signer is not None
        head = {"envelope_id": f"env_{uuid.uuid4()}", "session_id": self.session_id, "type": "SESSION_CLOSE"}
        outcome = {
            "status": "SUCCESS",
            "session_quality": 80,
            "quality_tier": "TIER_A",
            "user_interventions": 0,
            "total_steps": self._chunks * self._logs.size.steps,
            "total_chunks": self._chunks,
            "total_tokens": 32_606,
            "duration_seconds": 337,
            "errors_encountered": 1,
            "errors_recovered": 1,
        }
        return self._signer.body(head, {"metadata": METADATA, "outcome": outcome})
