"""Questions of many at once: each in a thread of its own, a bounded number of them, and never in the event loop."""

import logging
from collections.abc import Sequence
from functools import partial
from struct import unpack
from typing import Protocol

from actors.embedding.embedding import Embedded, EmbedOutcome, Input
from central_command.process.bounded_threads import BoundedThreads, FullError
from central_command.search.questions import NOT_SEMANTIC, Answer, Mode, Question, Refusal, Unable
from central_command.search.searching import Searcher
from persistence.files.failures import StorageFailure
from persistence.keys.sealing import MasterKeyError
from persistence.settings.search import SearchSettings

log = logging.getLogger("central_command.http")


class QueryEmbedder(Protocol):
    """What makes embeddings."""

    async def embed(self, inputs: Sequence[Input], *, address: str, timeout_s: float) -> EmbedOutcome:
        """The embeddings of the texts, or why there are none."""
        ...


class SearchDesk:
    """Takes questions in; `embedder` is None where there is no model."""

    def __init__(self, searcher: Searcher, settings: SearchSettings, embedder: QueryEmbedder | None) -> None:
        self._searcher = searcher
        self.settings = settings
        self._embedder = embedder
        self._threads = BoundedThreads(settings.concurrency_max, settings.waiting_max)

    def __repr__(self) -> str:
        return f"<SearchDesk {self._threads}>"

    async def ask(self, question: Question, *, limit: int, cursor: str | None, address: str) -> Answer | Refusal:
        """The answer, or why there is none; `address` is whom the model's time is charged to."""
        try:
            with self._threads.asked():
                vector = None if question.mode is Mode.TEXT else await self._embedded(question.q, address)
                if isinstance(vector, Refusal):
                    return vector
                # Of whoever has gone the thread ends with the question's time.
                answer = partial(self._searcher.answer, question, limit=limit, cursor=cursor, vector=vector)
                return await self._threads.run(answer)
        except FullError:
            return Refusal(Unable.BUSY, "Too many searches wait for their turn; come back later.")
        except (StorageFailure, MasterKeyError, OSError) as error:
            log.error("a search failed: %s", error)  # noqa: TRY400 (the sentence says it all)
            return Refusal(Unable.FAILED, "The index cannot be read now; come back later.")

    async def _embedded(self, text: str, address: str) -> tuple[float, ...] | Refusal:
        if not self.settings.semantic:
            return NOT_SEMANTIC
        if self._embedder is not None:
            found = await self._embedder.embed([text], address=address, timeout_s=self.settings.timeout_s)
            if isinstance(found, Embedded):
                float32 = found.embeddings[0].float32
                return unpack(f"<{len(float32) // 4}f", float32)
        return Refusal(Unable.BUSY, "The query cannot be embedded now; come back later, or search by words.")
