"""An engine and threads that a test controls, and the real model, built once."""

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from struct import pack
from typing import Any
from zlib import crc32

import pytest
import trio
import trio.testing

from actors.embedding.embedding import DIMENSIONS, EmbedOutcome, Input
from actors.embedding.engine import Engine, UnknownTokenError
from actors.embedding.jobs import Job
from actors.embedding.loading import load_engine
from actors.embedding.nursery import EmbeddingNursery, State
from actors.embedding.settings import EmbeddingSettings
from actors.embedding.source import PACKAGE_NAME, installed_model

BLOCKED = trio.testing.wait_all_tasks_blocked


def vector_of(text: str) -> bytes:
    """What the fake engine makes of a text: different for each, and recognisable."""
    return pack(f"<{DIMENSIONS}f", crc32(text.encode()) % 2**24, *[0.0] * (DIMENSIONS - 1))


class VirtualThreads:
    """Starts jobs that take as long as `durations_s` says, on the test's clock; then batches take `token_s` a token."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.durations_s: deque[float] = deque()
        self.token_s = 0.0
        self.running = trio.CancelScope()
        self.started = 0

    def __call__(self, function: Callable[[], Any]) -> Job[Any]:
        job: Job[Any] = Job()
        self.running = trio.CancelScope()
        self.started += 1
        duration_s = self.durations_s.popleft() if self.durations_s else self._batch_s(function)
        self._nursery.start_soon(self._live, job, function, duration_s, self.running)
        return job

    def _batch_s(self, function: Callable[[], Any]) -> float:
        if not self.token_s:
            return 0.0
        assert isinstance(function, partial)
        rows, _width = function.args
        return self.token_s * sum(len(tokens) for row in rows for tokens in row)

    @staticmethod
    async def _live(job: Job[Any], function: Callable[[], Any], duration_s: float, scope: trio.CancelScope) -> None:
        def stopped() -> None:
            raise InterruptedError("stopped")

        with scope:
            await trio.sleep(duration_s)
        job.run(stopped if scope.cancelled_caught else function)
        job.end()


class FakeEngine:
    """Satisfies `Engine`; a text has as many tokens as characters. Fails on a batch that holds the text `failing`."""

    def __init__(self, threads: VirtualThreads) -> None:
        self._threads = threads
        self.batches: list[list[str]] = []
        self.tokenised: list[str] = []
        self.failing = ""
        self.untokenisable = ""
        self.ignores_stop = False
        self.stops = 0

    def tokenise(self, text: str) -> Sequence[int]:
        if self.untokenisable and text == self.untokenisable:
            raise ValueError("no token for this")
        self.tokenised.append(text)
        return [ord(character) for character in text]

    def with_ends(self, tokens: Sequence[int]) -> Sequence[int]:
        if 0 in tokens:
            raise UnknownTokenError(0)
        return tokens

    def run(self, rows: Sequence[Sequence[Sequence[int]]], width: int) -> list[bytes]:
        assert all(sum(map(len, row)) <= width for row in rows)
        texts = ["".join(map(chr, tokens)) for row in rows for tokens in row]
        self.batches.append(texts)
        if self.failing in texts and self.failing:
            raise RuntimeError("the engine failed")
        return [vector_of(text) for text in texts]

    def stop(self) -> None:
        self.stops += 1
        if not self.ignores_stop:
            self._threads.running.cancel()


class Fixture:
    """A nursery for embeddings on fakes, running."""

    def __init__(self, outer: trio.Nursery, settings: EmbeddingSettings) -> None:
        self.threads = VirtualThreads(outer)
        self.engine = FakeEngine(self.threads)
        self.load_errors: deque[Exception] = deque()
        self.loads = 0
        self.embeddings = EmbeddingNursery(self._load, settings, start=self.threads)
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    def _load(self, is_stopping: Callable[[], bool]) -> Engine:
        self.loads += 1
        if self.load_errors:
            raise self.load_errors.popleft()
        return self.engine

    async def embed(
        self, texts: Sequence[Input], address: str = "192.0.2.1", timeout_s: float = math.inf
    ) -> EmbedOutcome:
        """Ask for one address, with all the patience there is unless a test says otherwise."""
        return await self.embeddings.embed(texts, address=address, timeout_s=timeout_s)

    async def run(self) -> None:
        with self.scope:
            await self.embeddings.run()
        self.ended.set()


class Asked:
    """Requests under way, and their outcomes by number."""

    def __init__(self, nursery: trio.Nursery, fixture: Any) -> None:
        self._nursery = nursery
        self._fixture = fixture
        self.outcomes: dict[int, Any] = {}
        self.scopes: list[trio.CancelScope] = []

    async def ask(self, *texts: str, address: str = "192.0.2.1") -> int:
        number = len(self.scopes)
        self.scopes.append(trio.CancelScope())
        self._nursery.start_soon(self._ask, number, texts, address)
        await BLOCKED()
        return number

    async def _ask(self, number: int, texts: tuple[str, ...], address: str) -> None:
        with self.scopes[number]:
            self.outcomes[number] = await self._fixture.embed(texts, address)


@pytest.fixture(scope="session")
def running() -> Callable[..., AbstractAsyncContextManager[Fixture]]:
    """Runs a nursery on fakes, with the settings given; loaded, unless `load_s` or `load_errors` say otherwise."""

    @asynccontextmanager
    async def run(*, load_s: float = 0, load_errors: Sequence[Exception] = (), **settings: Any) -> AsyncIterator[Any]:
        async with trio.open_nursery() as outer:
            fixture = Fixture(outer, EmbeddingSettings(**settings))
            fixture.load_errors.extend(load_errors)
            fixture.threads.durations_s.append(load_s)
            outer.start_soon(fixture.run)
            await BLOCKED()
            if not load_s and not load_errors:
                assert fixture.embeddings.state is State.READY
            yield fixture
            fixture.scope.cancel()
            await fixture.ended.wait()
            outer.cancel_scope.cancel()

    return run


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for built graphs, shared by all tests of the real model."""
    missing = [name for name in ("onnxruntime", "onnx", "tokenizers") if find_spec(name) is None]
    missing += [PACKAGE_NAME] if installed_model() is None else []
    if missing:
        pytest.skip(f"the model cannot be loaded: {', '.join(missing)} not installed")
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def real_engine(models_folder: Path) -> Engine:
    """The real model, float32."""
    return load_engine(EmbeddingSettings(), models_folder, lambda: False)
