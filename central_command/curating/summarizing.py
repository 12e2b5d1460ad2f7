"""Titles and summaries made in the process that asks for it, while nobody else writes the corpus."""

import time

from actors.curation.consent import RecordedConsent
from actors.curation.summarizing import Asked, Summarizing
from central_command.curating.orders import Order
from central_command.judging.opening import open_judge
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import open_corpus


async def summarize(order: Order, limit: int) -> int:
    """Make those of at most so many records that have none; return how many were made.

    Raises DataDirectoryLocked when another process writes the corpus, NoDataDirectory, StorageDamage or StorageFailure.
    """
    async with (
        open_closed_sessions(order.root) as sessions,
        open_corpus(order.root, order.storage, clock=time.time) as corpus,
        open_judge(order.enrichment, without="summaries are made by rules") as judge,
    ):
        asked = None
        if judge is not None:
            consented = RecordedConsent(sessions.consents, order.consent)
            asked = Asked(judge, order.enrichment, consented, sessions.is_to_be_erased)
        return await Summarizing(corpus, asked, time.time).make(limit)
