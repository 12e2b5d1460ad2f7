"""The whole service below HTTP, in process, without a thread: time can jump, and a test sees every row and line."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from actors.envelopes.reading import read_envelope
from actors.envelopes.refusals import Refusal
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import IngestOutcome, Opened
from central_command.service import Service, open_service
from central_command.settings.configuration import Settings
from persistence.databases.opening import open_inline_database
from persistence.files.file_system import FileSystem, OsFileSystem, inline
from persistence.format.records import JournalName
from persistence.storage import Platform
from tests.signing_client import SigningClient


class Clock:
    """Seconds since the epoch, moved by the test: time passes with `now`, and `jump` sets the clock alone."""

    def __init__(self) -> None:
        self.now = time.time()
        self._jumped_s = 0.0

    def __call__(self) -> float:
        return self.now

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back, in no time."""
        self.now += seconds
        self._jumped_s += seconds

    def monotonic(self) -> float:
        """Seconds that passed, whatever the wall clock was set to."""
        return self.now - self._jumped_s


class Running:
    """A running service and its data directory."""

    def __init__(self, service: Service, root: Path, clock: Clock) -> None:
        self.service = service
        self.root = root
        self.clock = clock

    async def open(self, session_id: str = "sess_1", **options: Any) -> SigningClient:
        """Open a session and return its client."""
        client = SigningClient(session_id, now_s=self.clock.now, **options)
        outcome = await self.service.open_session(OpenSession(**client.opening()))
        assert isinstance(outcome, Opened), outcome
        client.opened(outcome.server_public_key)
        return client

    async def send(self, body: bytes) -> IngestOutcome:
        """Read and ingest a body, as the HTTP layer does."""
        envelope = read_envelope(body, nesting_max=64)
        return envelope if isinstance(envelope, Refusal) else await self.service.ingest(envelope)

    def lines(self, name: JournalName) -> list[dict[str, Any]]:
        """A journal's lines, parsed."""
        texts = [path.read_text() for path in sorted((self.root / name).glob("*.jsonl"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    async def projected(self) -> None:
        """Wait until the databases hold everything, also what is recorded behind the answers."""
        await self.service._storage.projector.drain()
        await self.service._consent.record_newcomers()
        await self.service._storage.projector.drain()

    def rows(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        """Query one of the databases."""
        connection = sqlite3.connect(self.root / database)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


def settings_with(**sections: Mapping[str, Any]) -> Settings:
    """The default settings with some changed, by section."""
    base: dict[str, Any] = msgspec.to_builtins(Settings())
    for section, changes in sections.items():
        base[section] |= changes
    base["storage"]["free_bytes_min"] = 0
    base["embedding"]["enabled"] = False  # its threads know nothing of a clock that jumps
    return msgspec.convert(base, Settings)


@asynccontextmanager
async def running(
    root: Path,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    files: FileSystem | None = None,
    random_bytes: Callable[[int], bytes] | None = None,
) -> AsyncIterator[Running]:
    """Run the service on `root`; everything is projected and closed at the end."""
    clock = clock or Clock()
    platform = Platform(
        clock=clock,
        monotonic=clock.monotonic,
        environ={},
        files=files or OsFileSystem(),
        offload=inline,
        open_database=open_inline_database,
        bridge=nullcontext,
    )
    options: dict[str, Any] = {} if random_bytes is None else {"random_bytes": random_bytes}
    async with open_service(settings or settings_with(), root, platform, **options) as service:
        yield Running(service, root, clock)
