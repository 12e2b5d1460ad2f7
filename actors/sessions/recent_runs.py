"""What was seen of a session's steps, looked up and added to in turns.

Theory of operation. Whoever credits a session looks up which runs of its steps were seen before, and puts its line on
disk, all in one turn, so that the next one sees it. The rows of that line follow somewhat later, and until then its
fingerprints are in memory (`persistence.databases.fingerprints`), so that nobody has to wait for a projection. At the
bound the next one waits for it instead.
"""

from collections.abc import Sequence

import trio

from actors.sessions.settings import SessionSettings
from persistence.databases.fingerprints import FirstSeen
from persistence.format.records import JournalName, Position, TrajectoryRecord
from persistence.storage import Storage


class RecentRuns:
    """`turn` is held from a look to what comes of it."""

    def __init__(self) -> None:
        self.turn = trio.Lock()

    def __repr__(self) -> str:
        return "<RecentRuns>"

    async def first_seen(
        self, fingerprints: Sequence[int], storage: Storage, settings: SessionSettings
    ) -> dict[int, FirstSeen]:
        """Where each of these runs was first seen, those that were."""
        known = storage.fingerprints
        if known.unplaced > settings.recent_runs_max:
            await storage.projector.wait_projected(JournalName.TRAJECTORIES, known.noted_n)
        return await known.first_seen(fingerprints, unplaced_max=settings.recent_runs_max)

    def note(self, record: TrajectoryRecord, position: Position, storage: Storage) -> None:
        """A trajectory's line is on disk."""
        storage.fingerprints.note(position.n, record.session_id, record.trajectory_id, record.fingerprints)
