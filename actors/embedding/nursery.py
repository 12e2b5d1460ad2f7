"""The nursery that computes embeddings: requests in, batches through one engine, results out.

Theory of operation. A request asks for texts. One that is cached is answered at once; one that is being computed for
somebody else is waited for with them; the rest go, one computation each, through a bounded channel. A task tokenises
what comes out of it and puts it among the waiting; another takes batches from the waiting and runs them, one at a time,
in a thread. There is no timer: when the engine is idle the first text starts at once, and what comes while a batch runs
is tokenised meanwhile and makes up the next. So the batches grow with the load by themselves.

- A requester that has gone away leaves its computation behind; one that nobody waits for is dropped before it is
  tokenised or run. What runs, runs.
- A batch that fails answers its own requests only. One that takes longer than `batch_timeout_s` is answered and told to
  stop; one that does not even stop is left behind with its thread and its session, and the next batch gets a fresh
  one. At most `hung_runs_max` are left behind at a time: past that there is no model until one of them ends.
- The model is loaded in a thread, and loading is tried again, ever more rarely, after it failed.
- Leaving tells the running batch or load to stop, and waits for it for `stop_grace_s`: a thread that is inside native
  code while the interpreter ends can take the process down with it.

Bounds: `pending_inputs_max` computations from admission to answer, whichever place they are in; the cache in bytes.
Whoever waits for them is bounded by the HTTP layer.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event as ThreadEvent
from typing import assert_never

import msgspec
import trio

from actors.embedding.batching import BatchBounds, next_batch
from actors.embedding.cache import CacheStatistics, EmbeddingCache
from actors.embedding.embedding import Embedded, Embedding, EmbedOutcome, Unavailable, UnavailableReason
from actors.embedding.engine import Engine, LoadEngine, ModelError, TokenIds
from actors.embedding.jobs import Job, StartJob, ended_within, start_in_thread
from actors.embedding.loading import load_engine
from actors.embedding.settings import EmbeddingSettings

log = logging.getLogger("central_command.embedding")

LOAD_RETRY_S_MAX = 3_600.0
"""The longest time between two attempts to load the model."""


class State(StrEnum):
    """Whether there is a model."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


class EmbeddingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What is the case now, and what happened since the start."""

    state: State
    pending: int
    waiting: int
    hung: int
    embedded: int
    batches: int
    batches_failed: int
    batches_timed_out: int
    refused: int
    dropped: int
    tokens: int
    padding_tokens: int
    cache: CacheStatistics


class _Computation:
    """One text on its way to its embedding, and how many wait for it."""

    __slots__ = ("_settled", "outcome", "text", "tokens", "waiters")

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: TokenIds = ()
        self.waiters = 0
        self.outcome: Embedding | Unavailable | None = None
        self._settled = trio.Event()

    def settle(self, outcome: Embedding | Unavailable) -> None:
        self.outcome = outcome
        self._settled.set()

    async def wait(self) -> Embedding | Unavailable:
        await self._settled.wait()
        assert self.outcome is not None
        return self.outcome


class EmbeddingNursery:
    """Embeddings of texts; `run` does the work, `embed` asks for it."""

    def __init__(self, load: LoadEngine, settings: EmbeddingSettings, *, start: StartJob = start_in_thread) -> None:
        self._load_engine = load
        self._settings = settings
        self._start = start
        self._bounds = BatchBounds(settings.batch_tokens_max, settings.batch_inputs_max)
        self._cache = EmbeddingCache(settings.cache_bytes_max)
        self._channel, self._incoming = trio.open_memory_channel[_Computation](settings.pending_inputs_max)
        self._pending: dict[str, _Computation] = {}
        self._waiting: list[_Computation] = []
        self._arrived = trio.Event()
        self._engine: Engine | None = None
        self._hung: list[Job[list[bytes]]] = []
        self._state = State.LOADING
        self._load_decided = trio.Event()
        self._detail = "loading"
        self._embedded = self._batches = self._batches_failed = self._batches_timed_out = 0
        self._refused = self._dropped = self._tokens = self._padding_tokens = 0

    def __repr__(self) -> str:
        return f"<EmbeddingNursery {self._state} pending={len(self._pending)}>"

    @property
    def state(self) -> State:
        """Whether there is a model."""
        return self._state

    @property
    def detail(self) -> str:
        """`ok`, or in one sentence why there is no model; for the operator."""
        return self._detail

    async def wait_loaded(self) -> State:
        """Return once the first attempt to load the model has ended, well or not."""
        await self._load_decided.wait()
        return self._state

    async def embed(self, texts: Sequence[str]) -> EmbedOutcome:
        """Return the embeddings of the texts in their order, or none at all."""
        found = [self._cache.get(text) for text in texts]
        if None not in found:
            return Embedded(tuple(embedding for embedding in found if embedding is not None))
        missing = dict.fromkeys(text for text, known in zip(texts, found, strict=True) if known is None)
        refused = self._admit(text for text in missing if text not in self._pending)
        if refused is not None:
            self._refused += 1
            await trio.lowlevel.checkpoint()
            return Unavailable(refused)
        computed = await self._wait_for([self._pending[text] for text in missing])
        if isinstance(computed, Unavailable):
            return computed
        return Embedded(tuple(known or computed[text] for text, known in zip(texts, found, strict=True)))

    def _admit(self, texts: Iterable[str]) -> UnavailableReason | None:
        """Start the computations of texts, or say why not; without a suspension, so that each is started once."""
        match self._state:
            case State.LOADING:
                return UnavailableReason.LOADING
            case State.FAILED:
                return UnavailableReason.NO_MODEL
            case State.STOPPED:
                return UnavailableReason.SHUTTING_DOWN
            case State.READY:
                computations = [_Computation(text) for text in texts]
            case _:
                assert_never(self._state)
        if len(self._pending) + len(computations) > self._settings.pending_inputs_max:
            return UnavailableReason.QUEUE_FULL
        for computation in computations:
            self._pending[computation.text] = computation
            self._channel.send_nowait(computation)  # the channel has room for all that may be pending
        return None

    @staticmethod
    async def _wait_for(computations: Sequence[_Computation]) -> dict[str, Embedding] | Unavailable:
        for computation in computations:
            computation.waiters += 1
        embeddings = {}
        try:
            for computation in computations:
                outcome = await computation.wait()
                if isinstance(outcome, Unavailable):
                    return outcome
                embeddings[computation.text] = outcome
        finally:
            for computation in computations:
                computation.waiters -= 1
        return embeddings

    async def run(self) -> None:
        """Load the model and compute until cancelled; then answer everybody and stop.

        A failure of its own ends embedding and nothing else: the rest of the service must not depend on this.
        """
        try:
            await self._load()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tokenise)
                nursery.start_soon(self._compute)
        except Exception:
            log.exception("embedding failed and was ended")
            self._state, self._detail = State.FAILED, "Embedding failed; the log holds the details."
        finally:
            if self._state is not State.FAILED:
                self._state, self._detail = State.STOPPED, "stopped"
            self._load_decided.set()
            self._settle_all(UnavailableReason.SHUTTING_DOWN)

    # Loading

    async def _load(self) -> None:
        """Return once there is an engine; each failure is told to the operator and tried again."""
        retry_s = self._settings.load_retry_s
        while True:
            self._hung = [job for job in self._hung if not job.has_ended]
            if len(self._hung) >= self._settings.hung_runs_max:
                reason = f"{len(self._hung)} batches hang in the engine; restart the server if they do not end."
            else:
                reason = await self._try_to_load()
            if reason == "":
                self._state, self._detail = State.READY, "ok"
                self._load_decided.set()
                return
            if reason != self._detail:
                log.error("there are no embeddings: %s", reason)
            self._state, self._detail = State.FAILED, reason
            self._load_decided.set()
            self._settle_all(UnavailableReason.NO_MODEL)
            await trio.sleep(retry_s)
            retry_s = min(retry_s * 2, max(LOAD_RETRY_S_MAX, retry_s))

    async def _try_to_load(self) -> str:
        """Load the model once; return what is wrong with it, in one sentence, or nothing."""
        stopping = ThreadEvent()
        began_at = trio.current_time()
        job = self._start(partial(self._load_engine, stopping.is_set))
        try:
            await job.wait()
        finally:
            stopping.set()
            await ended_within(job, self._settings.stop_grace_s)
        try:
            self._engine = job.result()
        except ModelError as error:
            return str(error)
        except Exception:
            log.exception("the loading of the model failed")
            return "The loading of the model failed; the log holds the details."
        log.info("the model is loaded, after %.2f s", trio.current_time() - began_at)
        return ""

    # Computing

    async def _tokenise(self) -> None:
        """Move texts from the channel to the waiting."""
        async for computation in self._incoming:
            if self._is_dropped(computation):
                continue
            assert self._engine is not None
            try:
                computation.tokens = self._engine.tokenise(computation.text)
            except Exception:
                log.exception("a text of %d characters could not be tokenised", len(computation.text))
                self._settle(computation, Unavailable(UnavailableReason.ENGINE_FAILED))
                continue
            self._waiting.append(computation)
            self._arrived.set()

    async def _compute(self) -> None:
        """Run batch after batch, for as long as any text waits."""
        while True:
            self._waiting = [computation for computation in self._waiting if not self._is_dropped(computation)]
            if not self._waiting:
                self._arrived = trio.Event()
                await self._arrived.wait()
                continue
            batch = next_batch([len(computation.tokens) for computation in self._waiting], self._bounds)
            rows = [[self._waiting[position] for position in row] for row in batch.rows]
            taken = set(batch.positions)
            self._waiting = [found for position, found in enumerate(self._waiting) if position not in taken]
            await self._run_batch(rows, batch.width)

    async def _run_batch(self, rows: Sequence[Sequence[_Computation]], width: int) -> None:
        """Run one batch to its end, or to the end of patience with it."""
        engine = self._engine
        assert engine is not None
        batch = list(chain.from_iterable(rows))
        tokens = sum(len(computation.tokens) for computation in batch)
        self._batches += 1
        self._tokens += tokens
        self._padding_tokens += len(rows) * width - tokens
        job = self._start(partial(engine.run, [[computation.tokens for computation in row] for row in rows], width))
        try:
            with trio.move_on_after(self._settings.batch_timeout_s):
                await job.wait()
            self._settle_batch(batch, job)
        finally:
            if not job.has_ended:
                engine.stop()
                has_stopped = await ended_within(job, self._settings.stop_grace_s)
                log.warning("a batch was stopped%s", "" if has_stopped else " in vain; its thread is left behind")
        if not job.has_ended:
            self._hung.append(job)
            await self._load()

    def _settle_batch(self, batch: Sequence[_Computation], job: Job[list[bytes]]) -> None:
        """Answer a batch that has ended, well or not, or has not ended in time."""
        if not job.has_ended:
            self._batches_timed_out += 1
            log.error("a batch of %d texts took longer than %g s", len(batch), self._settings.batch_timeout_s)
            return self._settle_with(batch, UnavailableReason.TIMED_OUT)
        try:
            vectors = job.result()
            embeddings = [
                Embedding(vector, len(computation.tokens)) for computation, vector in zip(batch, vectors, strict=True)
            ]
        except Exception:
            self._batches_failed += 1
            log.exception("a batch of %d texts failed", len(batch))
            return self._settle_with(batch, UnavailableReason.ENGINE_FAILED)
        self._embedded += len(batch)
        for computation, embedding in zip(batch, embeddings, strict=True):
            self._cache.put(computation.text, embedding)
            self._settle(computation, embedding)
        return None

    # Ending computations

    def _is_dropped(self, computation: _Computation) -> bool:
        """Forget a computation that nobody waits for any more, or that was answered already."""
        if computation.outcome is not None:
            return True
        if computation.waiters:
            return False
        self._dropped += 1
        del self._pending[computation.text]
        return True

    def _settle(self, computation: _Computation, outcome: Embedding | Unavailable) -> None:
        del self._pending[computation.text]
        computation.settle(outcome)

    def _settle_with(self, batch: Iterable[_Computation], reason: UnavailableReason) -> None:
        for computation in batch:
            self._settle(computation, Unavailable(reason))

    def _settle_all(self, reason: UnavailableReason) -> None:
        self._settle_with(list(self._pending.values()), reason)

    def statistics(self) -> EmbeddingStatistics:
        """Return the current figures."""
        return EmbeddingStatistics(
            state=self._state,
            pending=len(self._pending),
            waiting=len(self._waiting),
            hung=sum(not job.has_ended for job in self._hung),
            embedded=self._embedded,
            batches=self._batches,
            batches_failed=self._batches_failed,
            batches_timed_out=self._batches_timed_out,
            refused=self._refused,
            dropped=self._dropped,
            tokens=self._tokens,
            padding_tokens=self._padding_tokens,
            cache=self._cache.statistics(),
        )


@asynccontextmanager
async def open_embeddings(settings: EmbeddingSettings, models_folder: Path) -> AsyncIterator[EmbeddingNursery]:
    """Start loading the model and embed while the context is open; leaving it stops promptly, whatever runs."""
    embeddings = EmbeddingNursery(partial(load_engine, settings, models_folder), settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(embeddings.run, name="embedding")
        yield embeddings
        nursery.cancel_scope.cancel()
