"""Titles and summaries of sessions, for whoever shows one that may be shown: none where they cannot be read now."""

import logging
from collections.abc import Collection

from persistence.databases.corpus_snapshot import corpus_snapshot
from persistence.databases.summaries import Summary
from persistence.files.failures import NoDataDirectory, StorageFailure
from persistence.format.layout import DataLayout

log = logging.getLogger("central_command.http")


def summaries_of(layout: DataLayout, session_ids: Collection[str]) -> dict[str, Summary]:
    """Titles and summaries by the sessions that have them; none where corpus.db cannot be read, which is logged.

    They are of the steps that a session's record has now. Blocking.
    """
    try:
        with corpus_snapshot(layout) as corpus:
            return corpus.summaries(session_ids)
    except NoDataDirectory:
        return {}
    except (StorageFailure, OSError) as error:
        log.warning("sessions are shown without titles: %s", error)
        return {}
