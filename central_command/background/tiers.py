"""Days of journals that are written no more, made cold: compressed, and moved to an archive where there is one.

The journals that grow with what people write are: envelopes, trajectories, texts of the intake, and the corpus. Those
that forget (refused envelopes, operations) have quotas of their own, and the others stay small.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from actors.erasure.job import Eraser
from actors.jobs.queue import NotRetried
from persistence.files.failures import UnreadableFile
from persistence.format import times
from persistence.format.records import JournalName
from persistence.journals.writing import NO_ROOM_ERRNOS
from persistence.settings.tiers import TierSettings
from persistence.storage import Storage

log = logging.getLogger("central_command.storage")

DAY_S: Final = 86_400
INGESTED_COLD: Final = (JournalName.ENVELOPES, JournalName.TRAJECTORIES, JournalName.INTAKE)

Say = Callable[[str], None]


class Tiers:
    """Makes days cold when it is told to: the server has a job for it, once a day. One at a time."""

    def __init__(self, storage: Storage, eraser: Eraser, settings: TierSettings, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._eraser = eraser
        self._settings = settings
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Tiers {self._settings}>"

    async def make_cold(self, say: Say) -> dict[str, int]:
        """Make every day cold that is due; return how many, and how many bytes are free now. `say` tells of each.

        Raises NotRetried where an archive is out of reach or a disk has no room: what is not done is taken up by the
        next run.
        """
        days = freed_bytes = 0
        archive = None if self._settings.archive_dir is None else Path(self._settings.archive_dir)
        before = times.day_of(self._clock() - self._settings.compress_after_days * DAY_S)
        for name in INGESTED_COLD:
            journal = self._storage.journals[name]
            for day in await journal.days_to_make_cold(before, archive):
                freed_bytes += await _made_cold(name, day, partial(journal.make_cold, day, archive), say)
                days += 1
        corpus = self._storage.erasure.corpus
        for day in await corpus.days_to_make_cold(before, archive) if corpus.exists else []:
            # One day at a time: curation goes on in between.
            async with self._eraser.stopped_corpus() as stopped:
                freed_bytes += await _made_cold(JournalName.CORPUS, day, partial(stopped.make_cold, day, archive), say)
            days += 1
        return {"days": days, "freed_bytes": freed_bytes}


async def _made_cold(name: JournalName, day: str, make: Callable[[], Awaitable[int]], say: Say) -> int:
    try:
        freed_bytes = await make()
    except UnreadableFile as error:
        raise NotRetried(f"{day} of {name} stays as it is: {error.strerror}.") from error
    except OSError as error:
        if error.errno not in NO_ROOM_ERRNOS:
            raise
        raise NotRetried(f"{day} of {name} stays as it is: there is no room for its compressed file.") from error
    say(f"{day} of {name} is cold: {freed_bytes} bytes are free")
    return freed_bytes
