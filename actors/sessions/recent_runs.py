"""Runs of steps in trajectories that are on disk and have no rows yet: what a look at the database would miss.

Theory of operation. Whoever credits a session looks up which runs of its steps were seen before, and puts its line on
disk, all in one turn, so that the next one sees it. The rows of that line follow somewhat later. Until then its
fingerprints are here, so that nobody has to wait for a projection: an entry is taken out only after the database was
found to hold its line, and only within a turn, so that no look falls in between. At the bound the next one waits for
the rows instead.
"""

from collections.abc import Collection, Sequence

import msgspec
import trio

from actors.sessions.settings import SessionSettings
from persistence.databases.fingerprints import FirstPlaces, FirstSeen
from persistence.format.records import JournalName, Position, TrajectoryRecord
from persistence.storage import Storage


class _Line(msgspec.Struct, frozen=True):
    n: int
    session_id: str
    trajectory_id: str
    first: Collection[int]
    """Those of its fingerprints that no line before it has."""


class RecentRuns:
    """Fingerprints by where they were first seen; `turn` is held from a look to what comes of it."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self._lines: dict[int, _Line] = {}  # by their numbers, in their order
        self._seen = FirstPlaces()

    def __repr__(self) -> str:
        return f"<RecentRuns {len(self._seen)} of {len(self._lines)} lines>"

    async def first_seen(
        self, fingerprints: Sequence[int], storage: Storage, settings: SessionSettings
    ) -> dict[int, FirstSeen]:
        """Where each of these runs was first seen, those that were; looks at the database, by its reader's thread."""
        if len(self._seen) > settings.recent_runs_max:
            await storage.projector.wait_projected(JournalName.TRAJECTORIES, max(self._lines))
        self._forget(storage.projector.positions()[JournalName.TRAJECTORIES].n)
        recent = {each: self._first(*place) for each, place in self._seen.those_of(fingerprints).items()}
        return recent | await storage.fingerprints.first_seen(fingerprints)

    def note(self, record: TrajectoryRecord, position: Position) -> None:
        """A trajectory's line is on disk."""
        first = self._seen.add(position.n, record.fingerprints)
        self._lines[position.n] = _Line(position.n, record.session_id, record.trajectory_id, first)

    def _first(self, n: int, step: int) -> FirstSeen:
        line = self._lines[n]
        return FirstSeen(n, step, line.session_id, line.trajectory_id)

    def _forget(self, projected_n: int) -> None:
        """Let go of the lines that the database holds."""
        for n in [n for n in self._lines if n <= projected_n]:
            self._seen.forget(self._lines.pop(n).first)
