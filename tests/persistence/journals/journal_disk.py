"""A journal on a disk in memory, with a clock that the test sets and a record of operations."""

import json
from collections.abc import Sequence
from pathlib import Path

from persistence.files.file_system import inline
from persistence.files.memory import MemoryFileSystem
from persistence.files.space import Space
from persistence.format.records import Committed, JournalName, Mark
from persistence.journals.journal import Journal
from persistence.journals.writing import JournalEnd
from persistence.settings.storage import StorageSettings

FOLDER = Path("/data/envelopes")
NOON = 1_795_176_000.0  # 2026-11-20T12:00:00Z


class Disk:
    """A journal on a disk in memory, with a clock that the test sets and a record of operations."""

    def __init__(self, *, capacity_bytes: int = 2**40, **settings: int) -> None:
        self.now = NOON
        self.operations: list[str] = []
        self.fail: dict[str, OSError] = {}
        self.files = MemoryFileSystem(capacity_bytes, self._before)
        self.files.make_directory(FOLDER)
        self.settings = StorageSettings(free_bytes_min=0, **settings)
        self.committed: list[Committed] = []
        self.room_behind = True

    def _before(self, operation: str, path: Path) -> None:
        self.operations.append(operation)
        if operation in self.fail:
            raise self.fail[operation]

    def _commit(self, name: JournalName, items: Sequence[Committed]) -> None:
        assert name is JournalName.ENVELOPES
        self.committed += items

    def journal(self, tail: Mark | None = None) -> Journal:
        space = Space(FOLDER, files=self.files, clock=lambda: self.now, settings=self.settings, stored_bytes=0)
        return Journal(
            JournalEnd(JournalName.ENVELOPES, FOLDER, tail or Mark(), files=self.files, clock=lambda: self.now),
            offload=inline,
            offload_reading=inline,
            space=space,
            settings=self.settings,
            stored_bytes=0,
            committed=self._commit,
            has_room_behind=lambda: self.room_behind,
        )

    def text(self, day: str = "2026-11-20") -> bytes:
        return self.files.open(FOLDER / f"{day}.jsonl").read_at(0, 10**9)

    def received(self) -> list[dict[str, object]]:
        """What the server noted on each line."""
        return [json.loads(line)["received"] for line in self.text().splitlines()]
