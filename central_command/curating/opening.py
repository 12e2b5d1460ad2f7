"""Curation opened in the process that asks for it: by an order, to follow or up to the end of what there is."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from actors.curation.consent import RecordedConsent
from actors.curation.field_tagging import FieldTagger
from actors.curation.following import Curation, CurationStatistics
from actors.embedding.engine import ModelError
from actors.embedding.loading import load_engine
from central_command.curating.orders import Order
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import open_corpus
from persistence.format.layout import DataLayout

SECONDS_PER_DAY: Final = 86_400

log = logging.getLogger("central_command.curation")


@asynccontextmanager
async def open_curation(
    order: Order, report: Callable[[CurationStatistics], None] | None = None
) -> AsyncIterator[Curation]:
    """Open a data directory's corpus, and what makes it.

    Raises DataDirectoryLocked when another process does so, NoDataDirectory, StorageDamage or StorageFailure.
    """
    async with (
        open_closed_sessions(order.root) as sessions,
        open_corpus(order.root, order.storage, clock=time.time) as corpus,
    ):
        consented = RecordedConsent(sessions.consents, order.consent)
        await corpus.heed(consented.terms)
        yield Curation(
            sessions,
            corpus,
            consented=consented,
            settings=order.curation,
            enrichment=order.enrichment,
            tagged=_tagger(order) if order.curation.field_tags else None,
            report=report,
            kept_since=partial(_kept_since, order.retention.corpus_days),
        )


async def curate(order: Order, *, anew: bool) -> CurationStatistics:
    """Take every trajectory that there is; with `anew` also those again whose records other rules made."""
    async with open_curation(order) as curation:
        if anew:
            await curation.begin_anew()
        await curation.catch_up()
        return curation.statistics()


def _kept_since(days: int) -> float:
    """The time since which what is stitched is in the corpus, in seconds since the epoch."""
    return time.time() - days * SECONDS_PER_DAY if days else 0.0


def _tagger(order: Order) -> FieldTagger | None:
    """Load a model of this process's own, on one thread; None, which is said, where there is none."""
    settings = msgspec.structs.replace(order.embedding, threads=1)
    try:
        engine = load_engine(settings, DataLayout(order.root).models, lambda: False)
    except ModelError as error:
        log.warning("records are made without fields: %s", error)
        return None
    return FieldTagger(engine, order.enrichment.field_confidence_min)
