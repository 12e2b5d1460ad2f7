"""Questions of many at once: each in a thread of its own, a bounded number of them, and never in the event loop."""

import logging
from collections.abc import Sequence
from functools import partial
from struct import unpack
from typing import Protocol

import trio

from actors.embedding.embedding import Embedded, EmbedOutcome, Input
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
        self._limiter = trio.CapacityLimiter(settings.concurrency_max)
        self._asked = 0

    def __repr__(self) -> str:
        return f"<SearchDesk asked={self._asked}>"

    async def ask(self, question: Question, *, limit: int, cursor: str | None, address: str) -> Answer | Refusal:
        """The answer, or why there is none; `address` is whom the model's time is charged to."""
        if self._asked >= self.settings.concurrency_max + self.settings.waiting_max:
            return Refusal(Unable.BUSY, "Too many searches wait for their turn; come back later.")
        self._asked += 1
        try:
            vector = None if question.mode is Mode.TEXT else await self._embedded(question.q, address)
            if isinstance(vector, Refusal):
                return vector
            # Whoever has gone is not waited for; the thread ends with the question's time, and its place is free then.
            answer = partial(self._searcher.answer, question, limit=limit, cursor=cursor, vector=vector)
            return await trio.to_thread.run_sync(answer, limiter=self._limiter, abandon_on_cancel=True)
        except (StorageFailure, MasterKeyError, OSError) as error:
            log.error("a search failed: %s", error)  # noqa: TRY400 (the sentence says it all)
            return Refusal(Unable.FAILED, "The index cannot be read now; come back later.")
        finally:
            self._asked -= 1

    async def _embedded(self, text: str, address: str) -> tuple[float, ...] | Refusal:
        if not self.settings.semantic:
            return NOT_SEMANTIC
        if self._embedder is not None:
            found = await self._embedder.embed([text], address=address, timeout_s=self.settings.timeout_s)
            if isinstance(found, Embedded):
                float32 = found.embeddings[0].float32
                return unpack(f"<{len(float32) // 4}f", float32)
        return Refusal(Unable.BUSY, "The query cannot be embedded now; come back later, or search by words.")
