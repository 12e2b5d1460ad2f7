"""A folder that is watched: its files' times follow trio's clock, and each watcher is a process of its own."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from central_command.client.contract.identity import Identity
from central_command.client.delivering.posting import RetryPolicy
from central_command.client.spool.records import StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.feeding import Surroundings, Threads
from central_command.client.uploading.history import History
from central_command.client.uploading.options import Options
from central_command.client.uploading.watch import Watcher, WatchOptions
from tests.central_command.client.inline import inline

URL = "http://server.test"
TIMES = WatchOptions(interval_s=10, chunk_s=300, quiet_s=1_800)
NOW_S = 1_800_000_000.0


class Folder:
    """A folder of session files whose times of change follow trio's clock, and what watching it said."""

    def __init__(self, server: Any, identity: Identity, root: Path) -> None:
        self.server = server
        self.identity = identity
        self.root = root
        self.path = root / "projects"
        self.path.mkdir()
        self.said: list[str] = []
        self.on_close: Callable[[], None] = lambda: None

    def say(self, text: str) -> None:
        self.said.append(text)
        if ", closed" in text:
            self.on_close()

    @staticmethod
    def now_s() -> float:
        return NOW_S + trio.current_time()

    def write(self, name: str, lines: list[bytes]) -> None:
        path = self.path / name
        path.write_bytes(b"".join(lines))
        os.utime(path, (self.now_s(), self.now_s()))

    @contextmanager
    def watcher(self, client: httpx.AsyncClient, *, shortens_ids: bool = False) -> Iterator[Watcher]:
        """One process that watches."""
        with (
            Spool(self.root / "spool.db", clock=self.now_s) as spool,
            closing(History(spool, self.root / "uploads.lock", url=URL)) as history,
        ):
            yield Watcher(
                client,
                history,
                self.identity,
                [self.path],
                Options(url=URL),
                TIMES,
                say=self.say,
                shortens_ids=shortens_ids,
                surroundings=Surroundings(
                    policy=RetryPolicy(attempts_max=2),
                    now_s=self.now_s,
                    jitter=lambda: 0.5,
                    threads=Threads(inline, inline),
                ),
            )

    def steps(self) -> list[dict[str, Any]]:
        return [step for each in self.server.envelopes for step in each.get("trajectory_log", ())]

    def kinds(self) -> list[str]:
        return [each.get("type", "CHUNK") for each in self.server.envelopes]

    def sessions(self) -> list[StoredSession]:
        """All sessions of the spool."""
        with Spool(self.root / "spool.db") as spool:
            return spool.sessions_with_source(URL)
