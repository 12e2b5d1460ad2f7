"""One life of the server: the real service, application and connections, in a world that is simulated."""

import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, nullcontext
from enum import Enum, auto
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import msgspec
import trio

from actors.embedding.embedding import EMBEDDING_BYTES
from actors.embedding.engine import Engine, IsStopping, ModelError, TokenIds
from actors.embedding.jobs import Job
from actors.embedding.nursery import EmbeddingNursery
from actors.embedding.settings import EmbeddingSettings
from central_command import service as service_module
from central_command.http.app import create_app
from central_command.http.connections import server as server_module
from central_command.http.connections.server import serve
from central_command.http.connections.server_config import hypercorn_config
from central_command.service import open_service
from central_command.settings.configuration import Settings
from persistence.databases.database import Database
from persistence.databases.migrations import Schema
from persistence.files.failures import StorageDamage, StorageFailure
from persistence.keys.sealing import ENVIRONMENT_VARIABLE
from persistence.settings.storage import StorageSettings
from persistence.storage import Platform
from tests.simulation.faults import EmbedderFault, LifePlan
from tests.simulation.randomness import Stream
from tests.simulation.sabotage import SabotagedDatabase, SabotagedFiles
from tests.simulation.simulated_disk import Crashed
from tests.simulation.world import Life, World

T = TypeVar("T")

ENVIRONMENT = {ENVIRONMENT_VARIABLE: "A" * 43 + "="}
"""The master key, the same in all simulations."""


class Ending(Enum):
    """How a life ended."""

    STOPPED = auto()
    CRASHED = auto()
    FAILED = auto()


class SeededIdentifiers:
    """Names from the seed."""

    def __init__(self, chance: Stream) -> None:
        self._chance = chance

    def envelope_id(self) -> str:
        """Return a new `env_<uuid>`."""
        return f"env_{uuid.UUID(bytes=self._chance.randbytes(16), version=4)}"

    def trajectory_id(self) -> str:
        """Return a new `traj_<uuid>`."""
        return f"traj_{uuid.UUID(bytes=self._chance.randbytes(16), version=4)}"


class SimulatedEngine:
    """Computes nothing: vectors are hashes of their tokens."""

    def __init__(self, fault: EmbedderFault) -> None:
        self._fault = fault

    def tokenise(self, text: str) -> TokenIds:
        """One token a character."""
        return list(text.encode()[:64])

    def with_ends(self, tokens: TokenIds) -> TokenIds:
        """They have none."""
        return tokens

    def run(self, rows: Sequence[Sequence[TokenIds]], width: int) -> list[bytes]:
        """Return a vector for each text, or fail."""
        if self._fault is EmbedderFault.FAILS:
            raise RuntimeError("the engine fails")
        return [(hashlib.sha256(bytes(text)).digest() * 48)[:EMBEDDING_BYTES] for row in rows for text in row]

    def stop(self) -> None:
        """Nothing runs."""


class _Jobs:
    """Runs the engine's work in place; a hanging engine's never ends."""

    def __init__(self, nursery: trio.Nursery, world: World, fault: EmbedderFault) -> None:
        self._nursery = nursery
        self._world = world
        self._fault = fault

    def __call__(self, function: Callable[[], T]) -> Job[T]:
        job: Job[T] = Job()

        async def run() -> None:
            await trio.sleep(self._world.stream("embedding").uniform(0, 0.2))
            if self._fault is EmbedderFault.HANGS and not isinstance(getattr(function, "func", None), _Loading):
                self._world.counts["embedder hangs"] += 1
                return
            job.run(function)
            job.end()

        self._nursery.start_soon(run)
        return job


def _load(fault: EmbedderFault, world: World, _is_stopping: IsStopping) -> Engine:
    if fault is EmbedderFault.MISSING:
        world.counts["embedder cannot be loaded"] += 1
        raise ModelError("The model is not there.")
    if fault is EmbedderFault.FAILS:
        world.counts["embedder fails"] += 1
    return SimulatedEngine(fault)


class LogWatch(logging.Handler):
    """Takes what the service logs as an error for a violation, unless a fault explains it."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Judge one record."""
        life = self._world.life
        error = record.exc_info[1] if record.exc_info else None
        if record.name.endswith("embedding") or error is None:
            return  # engines fail here on purpose, and what has no exception is told to an operator
        explained = life is None or life.is_over or life.has_failed or life.is_full
        if not (explained and _is_of(error, (StorageFailure, OSError, Crashed))):
            self._world.violated(f"logged: {record.getMessage()}: {error!r}")


def _is_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_of(each, (*kinds, trio.Cancelled)) for each in error.exceptions)
    return isinstance(error, kinds)


async def live(world: World, plan: LifePlan, settings: Settings, stopping: trio.Event) -> Ending:
    """Run one life until its plan ends it, `stopping` is set, or a fault ends it; then leave what it leaves."""
    with trio.CancelScope() as scope:
        life = world.life = Life(world, plan, scope)
        world.disk.gate = life
        ending = Ending.CRASHED
        try:
            async with trio.open_nursery() as world_nursery:
                world_nursery.start_soon(_jump, world, plan)
                await _serve(world, life, settings, stopping)
                ending = Ending.STOPPED
                world_nursery.cancel_scope.cancel()
        except* Crashed:
            ending = Ending.CRASHED
        except* (StorageFailure, StorageDamage, OSError) as failures:
            ending = _judged(world, life, failures)
    if scope.cancelled_caught and ending is Ending.STOPPED:
        ending = Ending.CRASHED
    if scope.cancelled_caught and not life.is_over:
        world.violated("a life was cancelled from outside")
    world.network.end()
    life.leave()
    world.life = None
    world.happened(f"life {ending.name.lower()}")
    return ending


def _judged(world: World, life: Life, failures: BaseExceptionGroup[Any]) -> Ending:
    if life.databases_left is not None:
        return Ending.CRASHED
    if not (life.has_failed or life.has_lacked_room) or failures.subgroup(StorageDamage) is not None:
        world.violated(f"the server ended by itself: {leaves(failures)}")
    world.happened(f"server failed: {leaves(failures)}")
    return Ending.FAILED


def leaves(error: BaseException) -> list[str]:
    """The errors that a group is made of."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [f"{type(error).__name__}: {error}"]


async def _jump(world: World, plan: LifePlan) -> None:
    began_at = trio.current_time()
    for at_s, by_s in sorted(plan.jumps):
        await trio.sleep_until(began_at + at_s)
        world.counts["clock jumps back" if by_s < 0 else "clock jumps ahead"] += 1
        world.jump(by_s)


def platform_of(world: World, life: Life) -> Platform:
    """What storage runs on in a life."""
    sabotage = world.sabotage

    @asynccontextmanager
    async def sabotaged_database(
        path: Path, schema: Schema, settings: StorageSettings, *, applied_at: str
    ) -> AsyncIterator[Database]:
        async with life.databases.open(path, schema, settings, applied_at=applied_at) as database:
            yield database if sabotage is None else SabotagedDatabase(database, schema, sabotage)

    return Platform(
        clock=world.clock,
        environ=ENVIRONMENT,
        files=world.disk if sabotage is None else SabotagedFiles(world.disk, sabotage),
        offload=life.offload,
        open_database=sabotaged_database,
        bridge=nullcontext,
    )


async def _serve(world: World, life: Life, settings: Settings, stopping: trio.Event) -> None:
    fault = life.plan.embedder

    @asynccontextmanager
    async def open_embeddings(chosen: EmbeddingSettings, _folder: Path) -> AsyncIterator[EmbeddingNursery]:
        async with trio.open_nursery() as nursery:
            jobs = _Jobs(nursery, world, fault)
            embeddings = EmbeddingNursery(_Loading(fault, world), chosen, start=jobs)
            nursery.start_soon(embeddings.run)
            yield embeddings
            nursery.cancel_scope.cancel()

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(service_module, "open_embeddings", open_embeddings))
        patches.enter_context(mock.patch.object(server_module, "_listen", _Listening(world)))
        patches.enter_context(mock.patch.object(server_module, "_url", return_value="simulated"))
        world.network.answering = life.answering
        chance = world.stream("server")
        async with open_service(
            settings,
            world.layout.root,
            platform_of(world, life),
            identifiers=SeededIdentifiers(chance),
            random_bytes=chance.randbytes,
        ) as service:
            app = create_app(
                service, settings.http, schema=settings.schema, clock=world.clock, embedder=service.embeddings
            )
            await serve(app, hypercorn_config(settings.http), shutdown_trigger=stopping.wait)
            actors = service.statistics().sessions
            world.counts["actors passivated or evicted"] += actors.passivated
    world.happened("stopped")


class _Loading:
    """Loads the engine; a type of its own, so that `_Jobs` can tell loading from computing."""

    def __init__(self, fault: EmbedderFault, world: World) -> None:
        self._fault = fault
        self._world = world

    def __call__(self, is_stopping: IsStopping) -> Engine:
        return _load(self._fault, self._world, is_stopping)


class _Listening:
    """Stands in for the function that opens the sockets."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, _config: object) -> list[Any]:
        return [self._world.network.listen()]


def simulated_settings(world: World) -> Settings:
    """Settings that make everything happen often, some drawn from the seed."""
    chance = world.stream("settings")
    changes: dict[str, dict[str, Any]] = {
        "http": {"requests_per_minute": 100_000, "requests_per_hour": 1_000_000, "embed_requests_per_minute": 10_000},
        "sessions": {
            "passivate_after_s": chance.any_of((0.05, 2.0, 300.0)),
            "active_actors_max": chance.any_of((1, 2, 4_096)),
            "abandon_sweep_s": 10.0,
            "sequence_gaps": "accept" if world.accepts_gaps else "refuse",
            "chunk_buffer_bytes_max": chance.any_of((1_500, 1_048_576)),
            "inline_bytes_max": chance.any_of((600, 262_144)),
        },
        "schema": {"timestamp_age_s_max": 1e10, "timestamp_ahead_s_max": 1e10},
        "storage": {
            "free_bytes_min": 0,
            "refused_quota_bytes": world.stream("refused quota").any_of((1, 1_200, 2_500, 5_000_000_000)),
            "projection_interval_s": chance.any_of((0.001, 0.05, 0.5)),
            "projection_batch_lines_max": chance.any_of((1, 5, 1_000)),
            "wal_checkpoint_pages": chance.any_of((5, 40, 4_000)),
            "journal_batch_bytes_max": chance.any_of((1, 3_000, 8_388_608)),
            "recovery_batch_bytes_max": chance.any_of((1, 4_000, 16_777_216)),
        },
        "embedding": {"batch_timeout_s": 5.0, "stop_grace_s": 1.0, "load_retry_s": 10.0},
    }
    base: dict[str, Any] = msgspec.to_builtins(Settings())
    for section, values in changes.items():
        base[section] |= values
    return msgspec.convert(base, Settings)
