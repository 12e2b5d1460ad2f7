"""Curation opened in the process that asks for it: by an order, to follow or up to the end of what there is."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from actors.curation.asking import Asking, AskingStatistics
from actors.curation.consent import RecordedConsent
from actors.curation.field_tagging import FieldTagger
from actors.curation.following import Curation, CurationStatistics
from actors.curation.session_embedding import SessionEmbedder
from actors.embedding.engine import Engine, ModelError
from actors.embedding.loading import load_engine
from central_command.curating.indexing import Indexing
from central_command.curating.orders import Order
from central_command.judging.opening import open_judge
from persistence.closed_sessions import open_closed_sessions
from persistence.corpus import open_corpus
from persistence.format.layout import DataLayout

SECONDS_PER_DAY: Final = 86_400

log = logging.getLogger("central_command.curation")


class Curating(msgspec.Struct, frozen=True):
    """What makes a corpus: curation, what asks a judge about its records, and what keeps the index of them.

    None where there is no judge, or no index is wanted.
    """

    curation: Curation
    asking: Asking | None
    indexing: Indexing | None


@asynccontextmanager
async def open_curation(
    order: Order, report: Callable[[CurationStatistics], None] | None = None
) -> AsyncIterator[Curating]:
    """Open a data directory's corpus, and what makes it.

    Raises DataDirectoryLocked when another process does so, NoDataDirectory, StorageDamage or StorageFailure.
    """
    async with (
        open_closed_sessions(order.root) as sessions,
        open_corpus(order.root, order.storage, clock=time.time) as corpus,
        open_judge(order.enrichment, without="records are not judged") as judge,
    ):
        consented = RecordedConsent(sessions.consents, order.consent)
        await corpus.heed(consented.terms)
        engine = _engine(order)
        curation = Curation(
            sessions,
            corpus,
            consented=consented,
            consented_users=consented.of_user,
            settings=order.curation,
            enrichment=order.enrichment,
            tagged=_tagger(order, engine),
            report=report,
            kept_since=partial(_kept_since, order.retention.corpus_days),
        )
        asking = None
        if judge is not None:
            asking = Asking(
                corpus,
                judge,
                consented=consented,
                is_to_be_erased=sessions.is_to_be_erased,
                settings=order.enrichment,
                curation=order.curation,
                clock=time.time,
            )
        yield Curating(curation, asking, _indexing(order, engine) if order.search.enabled else None)


async def curate(order: Order, *, anew: bool) -> tuple[CurationStatistics, AskingStatistics | None]:
    """Take every trajectory that there is; with `anew` also those again whose records other rules made.

    Then a judge, where there is one, is asked about the records, until the day has nothing left or it does not answer.
    """
    async with open_curation(order) as curating:
        if anew:
            await curating.curation.begin_anew()
        await curating.curation.catch_up()
        if curating.indexing is not None:
            await curating.indexing.catch_up()
        if curating.asking is None:
            return curating.curation.statistics(), None
        await curating.asking.ask_all()
        return curating.curation.statistics(), curating.asking.statistics()


def _kept_since(days: int) -> float:
    """The time since which what is stitched is in the corpus, in seconds since the epoch."""
    return time.time() - days * SECONDS_PER_DAY if days else 0.0


def _engine(order: Order) -> Engine | None:
    """Load a model of this process's own, on one thread; None where none is wanted, or there is none, which is said."""
    if not order.curation.field_tags and not (order.search.enabled and order.search.semantic):
        return None
    settings = msgspec.structs.replace(order.embedding, threads=1)
    try:
        return load_engine(settings, DataLayout(order.root).models, lambda: False)
    except ModelError as error:
        log.warning("records are made without fields and embeddings: %s", error)
        return None


def _tagger(order: Order, engine: Engine | None) -> FieldTagger | None:
    if engine is None or not order.curation.field_tags:
        return None
    return FieldTagger(engine, order.enrichment.field_confidence_min)


def _indexing(order: Order, engine: Engine | None) -> Indexing:
    return Indexing(
        order.root,
        order.search,
        order.storage,
        embedded=SessionEmbedder(engine) if engine is not None and order.search.semantic else None,
        clock=time.time,
        poll_interval_s=order.curation.poll_interval_s,
    )
