"""The observer of a server: its journal opened, its ring filled, and the model that tells near wordings."""

import logging
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.judge import Judge
from actors.embedding.embedding import Embedded, Input, Unavailable
from actors.embedding.nursery import EmbeddingNursery
from actors.observer.observer import Observer
from actors.observer.settings import ObserverSettings
from persistence.files.failures import StorageDamage
from persistence.files.space import FreeSpace
from persistence.format.layout import DataLayout
from persistence.operations import open_operations
from persistence.settings.storage import StorageSettings
from persistence.storage import Platform

log = logging.getLogger("central_command.observer")

EMBED_TIMEOUT_S: Final = 5.0
FLUSH_S: Final = 1.0
"""What is waited at most, when the server stops, until the last of our own operations are stored."""


class NearWordings:
    """Embeddings of wordings by the server's own model, whose time is charged to nobody else's address."""

    def __init__(self, nursery: EmbeddingNursery) -> None:
        self._nursery = nursery

    async def __call__(self, texts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Return the embeddings of all texts, or nothing where there are none now."""
        inputs: list[Input] = list(texts)
        outcome = await self._nursery.embed(inputs, address="observer", timeout_s=EMBED_TIMEOUT_S)
        if not isinstance(outcome, Embedded):
            assert isinstance(outcome, Unavailable), "texts have no unknown tokens"
            return {}
        vectors = (array("f", each.float32) for each in outcome.embeddings)
        return dict(zip(texts, vectors, strict=True))


@asynccontextmanager
async def open_observer(
    data_directory: Path,
    settings: ObserverSettings,
    storage: StorageSettings,
    platform: Platform,
    *,
    kept_days: int,
    disk: FreeSpace,
    embeddings: EmbeddingNursery | None,
    judge: Judge | None = None,
    enrichment: EnrichmentSettings | None = None,
) -> AsyncIterator[Observer | None]:
    """Open the observer: None where it is off or its journal is damaged; on leaving, our last operations are stored.

    Raises StorageFailure, with one sentence.
    """
    if not settings.enabled:
        yield None
        return
    async with AsyncExitStack() as stack:
        journal = None
        try:
            journal = await stack.enter_async_context(
                open_operations(
                    DataLayout(data_directory),
                    storage,
                    quota_bytes=settings.quota_bytes,
                    disk=disk,
                    files=platform.files,
                    clock=platform.clock,
                    offload=platform.offload,
                )
            )
        except StorageDamage as damage:
            # What failed once is not worth that no envelope is taken.
            log.error("%s There is no observer until the next start.", damage)  # noqa: TRY400 (the sentence says it all)
        if journal is None:
            yield None
            return
        embedder = None if embeddings is None else NearWordings(embeddings)
        observer = Observer(
            journal,
            settings,
            kept_days=kept_days,
            clock=platform.clock,
            offload=platform.offload,
            embedder=embedder,
            judge=judge,
            enrichment=enrichment,
        )
        await observer.load()
        yield observer
        with trio.move_on_after(FLUSH_S):
            await observer.flush()
