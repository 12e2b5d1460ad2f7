"""An observer over a journal on disk, without a thread: cycles are the test's to have."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from actors.observer.observer import Observer
from actors.observer.settings import ObserverSettings
from persistence.files.file_system import FileSystem, OsFileSystem, inline
from persistence.files.space import FreeSpace
from persistence.format.layout import DataLayout
from persistence.operations import open_operations
from persistence.settings.storage import StorageSettings

NOON = 1_796_040_000.0
"""2026-11-30T12:00:00Z."""


class Watched:
    """The observer, its journal, and the clock that the test moves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = NOON
        self.observer: Observer = None  # type: ignore[assignment] # there is one as long as it is open

    def clock(self) -> float:
        return self.now

    async def say(self, **members: Any) -> Any:
        return await self.observer.record(members, len(msgspec.json.encode(members)))


@asynccontextmanager
async def watching(
    root: Path,
    *,
    kept_days: int = 30,
    files: FileSystem | None = None,
    embedder: Any = None,
    judge: Any = None,
    now: float = NOON,
    **settings: Any,
) -> AsyncIterator[Watched]:
    """Open the observer of a data directory."""
    bounds = StorageSettings(free_bytes_min=0)
    observing = ObserverSettings(**settings)
    watched = Watched(root)
    watched.now = now
    files = files or OsFileSystem()
    files.make_directory(root)
    disk = FreeSpace(root, files=files, clock=watched.clock, settings=bounds)
    async with open_operations(
        DataLayout(root),
        bounds,
        quota_bytes=observing.quota_bytes,
        disk=disk,
        files=files,
        clock=watched.clock,
        offload=inline,
    ) as journal:
        watched.observer = Observer(
            journal,
            observing,
            kept_days=kept_days,
            clock=watched.clock,
            offload=inline,
            embedder=embedder,
            judge=judge,
        )
        await watched.observer.load()
        yield watched


class KnownVectors:
    """Embeddings of the texts that a test names; of others none."""

    def __init__(self, vectors: Mapping[str, Sequence[float]]) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    async def __call__(self, texts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        self.asked += texts
        return {text: self.vectors[text] for text in texts if text in self.vectors}
