"""Curation in the process that asks for it, up to the end of what there is."""

import time
from pathlib import Path

from actors.curation.consent import given_by_client
from actors.curation.following import Curation, CurationStatistics
from actors.curation.settings import CurationSettings
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import open_corpus
from persistence.settings.storage import StorageSettings


async def curate(
    data_directory: Path, curation: CurationSettings, storage: StorageSettings, *, anew: bool
) -> CurationStatistics:
    """Take every trajectory that there is; with `anew` also those again whose records other rules made.

    Raises DataDirectoryLocked when another process does so, NoDataDirectory, StorageDamage or StorageFailure.
    """
    async with (
        open_closed_sessions(data_directory) as sessions,
        open_corpus(data_directory, storage, clock=time.time) as corpus,
    ):
        curating = Curation(sessions, corpus, consented=given_by_client, settings=curation)
        if anew:
            await curating.begin_anew()
        await curating.catch_up()
        return curating.statistics()
