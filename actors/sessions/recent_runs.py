"""Runs of steps in trajectories that are on disk and have no rows yet: what a look at the database would miss.

Theory of operation. Whoever credits a session looks up which runs of its steps were seen before, and puts its line on
disk, all in one turn, so that the next one sees it. The rows of that line follow somewhat later. Until then its
fingerprints are here, so that nobody has to wait for a projection: an entry is taken out only after the database was
found to hold its line, and only within a turn, so that no look falls in between. At the bound the next one waits for
the rows instead.
"""

from collections import deque
from collections.abc import Sequence

import trio

from actors.sessions.settings import SessionSettings
from persistence.databases.fingerprints import FirstSeen
from persistence.format.records import JournalName, Position, TrajectoryRecord
from persistence.storage import Storage


class RecentRuns:
    """Fingerprints by where they were first seen; `turn` is held from a look to what comes of it."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self._seen: dict[int, FirstSeen] = {}
        self._lines: deque[tuple[int, Sequence[int]]] = deque()

    def __repr__(self) -> str:
        return f"<RecentRuns {len(self._seen)} of {len(self._lines)} lines>"

    async def first_seen(
        self, fingerprints: Sequence[int], storage: Storage, settings: SessionSettings
    ) -> dict[int, FirstSeen]:
        """Where each of these runs was first seen, those that were; looks at the database, by its reader's thread."""
        if len(self._seen) > settings.recent_runs_max:
            await storage.projector.wait_projected(JournalName.TRAJECTORIES, self._lines[-1][0])
        self._forget(storage.projector.positions()[JournalName.TRAJECTORIES].n)
        seen = {each: self._seen[each] for each in fingerprints if each in self._seen}
        return seen | await storage.fingerprints.first_seen(fingerprints)

    def note(self, record: TrajectoryRecord, position: Position) -> None:
        """A trajectory's line is on disk."""
        if not record.fingerprints:
            return
        for step, fingerprint in enumerate(record.fingerprints, start=1):
            seen = FirstSeen(position.n, step, record.session_id, record.trajectory_id)
            self._seen.setdefault(fingerprint, seen)
        self._lines.append((position.n, record.fingerprints))

    def _forget(self, n: int) -> None:
        """Let go of the lines up to `n`, which the database holds."""
        while self._lines and self._lines[0][0] <= n:
            for fingerprint in self._lines.popleft()[1]:
                if fingerprint in self._seen and self._seen[fingerprint].n <= n:
                    del self._seen[fingerprint]
