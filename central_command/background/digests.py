"""The digests of the ledger, added to by a job once a day."""

from typing import Final

from actors.sessions.environment import Environment
from persistence.digests import DigestJournal, entry_sha256
from persistence.format import times
from persistence.storage import Storage

DAY_S: Final = 86_400


class LedgerDigests:
    """Adds an entry for each day that is over and has none."""

    def __init__(self, storage: Storage, environment: Environment) -> None:
        self._trajectories = storage.trajectories
        self._clock = environment.clock
        self._journal = DigestJournal(
            storage.layout, clock=environment.clock, files=storage.erasure.files, offload=environment.offload
        )

    def __repr__(self) -> str:
        return f"<LedgerDigests {self._journal!r}>"

    async def add(self) -> dict[str, object]:
        """Add what is missing; return how many days that were, and the last entry's hash, to be kept elsewhere."""
        yesterday = times.day_of(self._clock() - DAY_S)
        added = await self._journal.add_until(yesterday, self._trajectories)
        return {"days": len(added), "sha256": entry_sha256(added[-1]) if added else None}
