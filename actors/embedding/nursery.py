"""The nursery that computes embeddings: requests in, batches through one engine, results out.

Theory of operation. A request asks for texts. One that is cached is answered at once; one that is being computed for
somebody else is waited for with them; the rest wait, one computation each, in a queue that is fair to all addresses
(`fair_queue`). A task tokenises what is near its turn; another takes batches from the queue and runs them, one at a
time, in a thread. There is no timer: when the engine is idle the first text starts at once, and what comes while a
batch runs is tokenised meanwhile and makes up the next. So the batches grow with the load by themselves.

- Clients do not wait for ever. A request that cannot be done within its time-out, as the engine's measured rate and
  what comes before it in turn tell, is refused at once, with the time after which it could be: nobody computes for
  somebody who has gone. One whose time-out passes all the same leaves the queue. To know a request's cost only its
  longest text is tokenised, and the others are taken to be like it: what is refused must cost next to nothing.
- A requester that has gone away takes what nobody else waits for out of the queue. What runs, runs.
- A batch that fails answers its own requests only. One that takes longer than `batch_timeout_s` is answered and told to
  stop; one that does not even stop is left behind with its thread and its session, and the next batch gets a fresh
  one. At most `hung_runs_max` are left behind at a time: past that there is no model until one of them ends.
- The model is loaded in a thread, and loading is tried again, ever more rarely, after it failed.
- Leaving tells the running batch or load to stop, and waits for it for `stop_grace_s`: a thread that is inside native
  code while the interpreter ends can take the process down with it.

Bounds: `pending_inputs_max` texts and requests from admission to answer, `address_inputs_max` of one address; the cache
in bytes.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from itertools import chain
from math import ceil
from pathlib import Path
from threading import Event as ThreadEvent
from typing import assert_never

import msgspec
import trio

from actors.embedding.batching import BATCH_OVERHEAD_COST, BatchBounds, next_batch
from actors.embedding.cache import CacheStatistics, EmbeddingCache
from actors.embedding.computation import Computation
from actors.embedding.embedding import (
    Embedded,
    Embedding,
    EmbedOutcome,
    Input,
    Unavailable,
    UnavailableReason,
    UnknownToken,
)
from actors.embedding.engine import Engine, LoadEngine, ModelError, TokenIds, UnknownTokenError
from actors.embedding.fair_queue import Asking, FairQueue
from actors.embedding.jobs import Job, StartJob, ended_within, start_in_thread
from actors.embedding.keys import CostEstimate, Key, packed, unpacked
from actors.embedding.loading import load_engine
from actors.embedding.rate import EngineRate
from actors.embedding.settings import REQUEST_INPUTS_MAX, EmbeddingSettings

log = logging.getLogger("central_command.embedding")

LOAD_RETRY_S_MAX = 3_600.0
"""The longest time between two attempts to load the model."""

_LATER_WORK = 1.2
"""What an estimated wait is multiplied by, for those who come later and for a machine that has other work as well."""

_TOKENISED_TOGETHER = 8
"""Texts tokenised before the order of turns is looked at again."""


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
    waiting_addresses: int
    hung: int
    embedded: int
    batches: int
    batches_failed: int
    batches_timed_out: int
    refused: int
    refused_for_time: int
    expired: int
    dropped: int
    tokens: int
    padding_tokens: int
    cache: CacheStatistics


class EmbeddingNursery:
    """Embeddings of texts; `run` does the work, `embed` asks for it."""

    def __init__(self, load: LoadEngine, settings: EmbeddingSettings, *, start: StartJob = start_in_thread) -> None:
        self._load_engine = load
        self._settings = settings
        self._start = start
        self._bounds = BatchBounds(settings.batch_tokens_max, settings.batch_inputs_max)
        self._cache = EmbeddingCache(settings.cache_bytes_max)
        self._pending: dict[Key, Computation] = {}
        self._leaving = trio.lowlevel.ParkingLot()
        self._queue = FairQueue(inputs_max=settings.pending_inputs_max, address_inputs_max=settings.address_inputs_max)
        self._rate = EngineRate()
        self._running: tuple[float, float] = (0.0, 0.0)
        self._untokenised = trio.Event()
        self._tokenised = trio.Event()
        self._engine: Engine | None = None
        self._hung: list[Job[list[bytes]]] = []
        self._state = State.LOADING
        self._load_decided = trio.Event()
        self._detail = "loading"
        self._embedded = self._batches = self._batches_failed = self._batches_timed_out = 0
        self._refused = self._refused_for_time = self._expired = self._dropped = 0
        self._tokens = self._padding_tokens = 0

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

    async def embed(self, inputs: Sequence[Input], *, address: str, timeout_s: float) -> EmbedOutcome:
        """Return the embeddings of the texts in their order, or none at all.

        `address` is whom the engine's time is charged to, `timeout_s` how long the client waits for all of them. More
        than `REQUEST_INPUTS_MAX` go through the queue in such pieces, one after the other: a list holds no more of the
        room than a short one, and whoever comes meanwhile has his turn between them.
        """
        keys: list[Key] = []
        for index, value in enumerate(inputs):
            if isinstance(value, str):
                keys.append(value)
                continue
            if self._engine is None:
                return self._state_refused() or Unavailable(UnavailableReason.NO_MODEL)
            try:
                keys.append(packed(self._engine.with_ends(value)))
            except UnknownTokenError as error:
                return UnknownToken(index, error.token)
            await trio.lowlevel.checkpoint()
        if len(keys) <= REQUEST_INPUTS_MAX:
            return await self._embed_piece(keys, address, timeout_s)
        return await self._embed_list(keys, address, trio.current_time() + timeout_s)

    async def _embed_list(self, keys: Sequence[Key], address: str, deadline: float) -> EmbedOutcome:
        """Embed a list piece by piece. Only the first is refused for what the whole would take, or for want of room."""
        embeddings: list[Embedding] = []
        computed = 0
        cost_behind: float | None = self._estimated_cost(keys[REQUEST_INPUTS_MAX:])
        for start in range(0, len(keys), REQUEST_INPUTS_MAX):
            piece = keys[start : start + REQUEST_INPUTS_MAX]
            while True:
                left_s = deadline - trio.current_time()
                outcome = await self._embed_piece(piece, address, left_s, cost_behind)
                if not (embeddings and outcome == Unavailable(UnavailableReason.QUEUE_FULL)):
                    break
                with trio.move_on_at(deadline) as scope:
                    await self._leaving.park()
                if scope.cancelled_caught:
                    self._expired += 1
                    return Unavailable(UnavailableReason.NO_TIME)
            if not isinstance(outcome, Embedded):
                return outcome
            embeddings += outcome.embeddings
            computed += outcome.computed
            cost_behind = None
            await trio.lowlevel.checkpoint()
        return Embedded(tuple(embeddings), computed)

    async def _embed_piece(
        self, texts: Sequence[Key], address: str, timeout_s: float, cost_behind: float | None = 0.0
    ) -> Embedded | Unavailable:
        found = [self._cache.get(text) for text in texts]
        if None not in found:
            return Embedded(tuple(embedding for embedding in found if embedding is not None))
        missing = dict.fromkeys(text for text, known in zip(texts, found, strict=True) if known is None)
        new = sum(text not in self._pending for text in missing)
        asking = self._ask(tuple(missing), address, timeout_s, cost_behind)
        if isinstance(asking, Unavailable):
            self._refused += 1
            await trio.lowlevel.checkpoint()
            return asking
        computed = await self._answer(asking, timeout_s)
        if isinstance(computed, Unavailable):
            return computed
        return Embedded(tuple(known or computed[text] for text, known in zip(texts, found, strict=True)), new)

    # Asking

    def _state_refused(self) -> Unavailable | None:
        """Return why nothing can be computed now, unless it can."""
        match self._state:
            case State.LOADING:
                return Unavailable(UnavailableReason.LOADING)
            case State.FAILED:
                return Unavailable(UnavailableReason.NO_MODEL)
            case State.STOPPED:
                return Unavailable(UnavailableReason.SHUTTING_DOWN)
            case State.READY:
                return None
            case _:
                assert_never(self._state)

    def _ask(
        self, texts: Sequence[Key], address: str, timeout_s: float, cost_behind: float | None
    ) -> Asking | Unavailable:
        """Queue the texts, or say why not; without a suspension, so that each is computed once.

        `cost_behind` is of what the same client waits for behind them; None for one that was told that he is in time.
        """
        refused = self._state_refused()
        if refused is not None:
            return refused
        known = [self._pending[text] for text in texts if text in self._pending]
        if not self._queue.has_room(address, known, len(texts) - len(known)):
            return Unavailable(UnavailableReason.QUEUE_FULL)
        try:
            new = self._computations([text for text in texts if text not in self._pending])
        except Exception:
            log.exception("a text could not be tokenised")
            return Unavailable(UnavailableReason.ENGINE_FAILED)
        wait_s = 0.0 if cost_behind is None else self._wait_s(address, [*known, *new], cost_behind)
        if wait_s > timeout_s:
            self._refused_for_time += 1
            return Unavailable(UnavailableReason.NO_TIME, retry_after_s=max(1, ceil(wait_s - timeout_s)))
        self._pending.update((computation.text, computation) for computation in new)
        self._untokenised.set()
        self._tokenised.set()
        return self._queue.add(address, [self._pending[text] for text in texts])

    def _computations(self, texts: Sequence[Key]) -> list[Computation]:
        """Start one for each text, with its cost as far as the tokens of the longest tell."""
        longest, tokens = self._longest(texts)
        estimate = CostEstimate(longest, tokens)
        computations = [Computation(text, estimate.tokens(text)) for text in texts]
        for computation in computations:
            if isinstance(computation.text, bytes):
                computation.tokenised(unpacked(computation.text))
            elif computation.text == longest:
                computation.tokenised(tokens)
        return computations

    def _longest(self, texts: Sequence[Key]) -> tuple[str, TokenIds]:
        """Return the longest text and its tokens; nothing where there is none."""
        longest = max((text for text in texts if isinstance(text, str)), key=len, default="")
        return longest, self._engine.tokenise(longest) if longest and self._engine is not None else ()

    def _estimated_cost(self, texts: Sequence[Key]) -> float:
        """Return what texts cost that are not known yet; 0 where that cannot be told."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
        try:
            return CostEstimate(*self._longest(missing)).cost(missing)
        except Exception:  # noqa: BLE001 - it is told where its own turn comes
            return 0.0

    def _wait_s(self, address: str, computations: Iterable[Computation], cost_behind: float) -> float:
        """Return how long a request for these, and more of `cost_behind`, would wait, unless more addresses come."""
        now = trio.current_time()
        cost = cost_behind + sum(computation.cost for computation in computations if not computation.is_taken)
        work = self._queue.cost_until_done(address, cost)
        batches = 1 + work / self._bounds.tokens_max
        began_at, running_cost = self._running
        running_s = max(0.0, began_at + self._rate.seconds(running_cost, now) - now)
        return (running_s + self._rate.seconds(work + batches * BATCH_OVERHEAD_COST, now)) * _LATER_WORK

    async def _answer(self, asking: Asking, timeout_s: float) -> dict[Key, Embedding] | Unavailable:
        """Wait for the texts of a request; however that ends, what nobody waits for then is out of the queue."""
        embeddings = {}
        try:
            with trio.move_on_after(timeout_s):
                for computation in asking.computations:
                    outcome = await computation.wait()
                    if isinstance(outcome, Unavailable):
                        return outcome
                    embeddings[computation.text] = outcome
                return embeddings
            self._expired += 1
            return Unavailable(UnavailableReason.NO_TIME)
        finally:
            for computation in self._queue.leave(asking):
                self._dropped += 1
                del self._pending[computation.text]
            self._leaving.unpark_all()

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
        """Tokenise what is near its turn, for as long as any text waits."""
        while True:
            upcoming = self._queue.untokenised(_TOKENISED_TOGETHER)
            if not upcoming:
                self._untokenised = trio.Event()
                await self._untokenised.wait()
            for computation in upcoming:
                if self._pending.get(computation.text) is computation:  # else those who asked have left meanwhile
                    self._tokenise_one(computation)
                    await trio.lowlevel.checkpoint()  # it takes up to a millisecond

    def _tokenise_one(self, computation: Computation) -> None:
        assert self._engine is not None
        try:
            assert isinstance(computation.text, str)  # tokens are known from the beginning
            computation.tokenised(self._engine.tokenise(computation.text))
        except Exception:
            log.exception("a text of %d characters could not be tokenised", len(computation.text))
            self._settle(computation, Unavailable(UnavailableReason.ENGINE_FAILED))
        else:
            self._tokenised.set()

    async def _compute(self) -> None:
        """Run batch after batch, for as long as any text waits."""
        while True:
            window = self._queue.window(self._bounds)
            if not window:
                self._tokenised = trio.Event()
                await self._tokenised.wait()
                continue
            batch = next_batch([len(turn.computation.tokens or ()) for turn in window], self._bounds)
            self._queue.take([window[position] for position in batch.positions])
            self._untokenised.set()
            await self._run_batch(
                [[window[position].computation for position in row] for row in batch.rows], batch.width
            )

    async def _run_batch(self, rows: Sequence[Sequence[Computation]], width: int) -> None:
        """Run one batch to its end, or to the end of patience with it."""
        engine = self._engine
        assert engine is not None
        batch = list(chain.from_iterable(rows))
        texts = [[computation.tokens or () for computation in row] for row in rows]
        tokens = sum(map(len, chain.from_iterable(texts)))
        self._batches += 1
        self._tokens += tokens
        self._padding_tokens += len(rows) * width - tokens
        began_at, cost = trio.current_time(), BATCH_OVERHEAD_COST + sum(computation.cost for computation in batch)
        self._running = (began_at, cost)
        job = self._start(partial(engine.run, texts, width))
        try:
            with trio.move_on_after(self._settings.batch_timeout_s):
                await job.wait()
            if self._settle_batch(batch, job):
                ended_at = trio.current_time()
                self._rate.measured(cost, ended_at - began_at, ended_at)
        finally:
            if not job.has_ended:
                engine.stop()
                has_stopped = await ended_within(job, self._settings.stop_grace_s)
                log.warning("a batch was stopped%s", "" if has_stopped else " in vain; its thread is left behind")
        if not job.has_ended:
            self._hung.append(job)
            await self._load()

    def _settle_batch(self, batch: Sequence[Computation], job: Job[list[bytes]]) -> bool:
        """Answer a batch that has ended, well or not, or has not ended in time; say whether it went well."""
        if not job.has_ended:
            self._batches_timed_out += 1
            log.error("a batch of %d texts took longer than %g s", len(batch), self._settings.batch_timeout_s)
            self._settle_with(batch, UnavailableReason.TIMED_OUT)
            return False
        try:
            vectors = job.result()
            embeddings = [
                Embedding(vector, len(computation.tokens or ()))
                for computation, vector in zip(batch, vectors, strict=True)
            ]
        except Exception:
            self._batches_failed += 1
            log.exception("a batch of %d texts failed", len(batch))
            self._settle_with(batch, UnavailableReason.ENGINE_FAILED)
            return False
        self._embedded += len(batch)
        for computation, embedding in zip(batch, embeddings, strict=True):
            self._cache.put(computation.text, embedding)
            self._settle(computation, embedding)
        return True

    # Ending computations

    def _settle(self, computation: Computation, outcome: Embedding | Unavailable) -> None:
        del self._pending[computation.text]
        self._queue.remove(computation)
        computation.settle(outcome)

    def _settle_with(self, batch: Iterable[Computation], reason: UnavailableReason) -> None:
        for computation in batch:
            self._settle(computation, Unavailable(reason))

    def _settle_all(self, reason: UnavailableReason) -> None:
        self._settle_with(list(self._pending.values()), reason)

    def statistics(self) -> EmbeddingStatistics:
        """Return the current figures."""
        return EmbeddingStatistics(
            state=self._state,
            pending=len(self._pending),
            waiting=len(self._queue),
            waiting_addresses=self._queue.waiting_addresses,
            hung=sum(not job.has_ended for job in self._hung),
            embedded=self._embedded,
            batches=self._batches,
            batches_failed=self._batches_failed,
            batches_timed_out=self._batches_timed_out,
            refused=self._refused,
            refused_for_time=self._refused_for_time,
            expired=self._expired,
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
