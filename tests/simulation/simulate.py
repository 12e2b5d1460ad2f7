"""One seed from beginning to end: faulty lives, one without faults, and the judgement of all that is left."""

import json
import logging
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import trio
from msgspec import structs
from trio.testing import MockClock

from central_command.http.requests import admission
from central_command.settings.configuration import Settings
from persistence.databases.key_check import check_key
from persistence.databases.migrations import LEDGER_SCHEMA, SESSIONS_SCHEMA, Schema
from persistence.databases.opening import open_inline_database
from persistence.format import times
from persistence.keys.sealing import Sealer, load_master_key
from persistence.storage import open_storage
from persistence.upkeep.verification import verify
from tests.simulation.caller import Caller
from tests.simulation.checker import Checker
from tests.simulation.faults import LifePlan, life_plans, recovery_plan
from tests.simulation.made_once import made_once
from tests.simulation.model import Model
from tests.simulation.randomness import seeded_scheduling
from tests.simulation.sabotage import sabotaged
from tests.simulation.server_life import ENVIRONMENT, Ending, LogWatch, leaves, live, platform_of, simulated_settings
from tests.simulation.simulated_disk import Crashed
from tests.simulation.workload import scripts
from tests.simulation.world import EPOCH_S, Life, Snapshot, World

LONGEST_S = 1_000_000.0
"""Of trio's clock; a simulation that takes longer will never end."""
TURNS_MAX = 300_000
"""Of the event loop; most simulations take some thousand."""
LIVES_MAX = 40
ABANDONED_AFTER_S = 121_000.0
"""Long enough for the last life to find every session abandoned that no client has closed."""
LAST_SWEEP_S = 30_000.0
"""How often the last life looks for them: rarely, because its time passes in long steps."""
MEMORY_FOLDER = "/dev/shm"
"""Where Linux keeps files in memory; used where it is there, because SQLite syncs for real."""


class _Patience(trio.abc.Instrument):
    """Ends a simulation that goes round in circles without its time passing."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._turns = 0

    def before_io_wait(self, timeout: float) -> None:
        """Count one turn of the event loop."""
        self._turns += 1
        if self._turns == TURNS_MAX:
            self._scope.cancel()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a seed."""

    seed: int
    violations: list[str]
    counts: dict[str, int]
    events: list[str]


def simulate(seed: int, sabotage: str | None = None, *, blind: bool = False) -> Outcome:
    """Run one seed; the same seed gives the same events, byte for byte.

    `blind` leaves out the look at the disk when an answer comes: then only what is really lost is noticed.
    """
    parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=parent))
    root = folder / "data"
    root.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, parent
    world = World(seed, root)
    watch = LogWatch(world)
    logger = logging.getLogger("central_command")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(watch)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        _empty_databases()
        with seeded_scheduling(seed), made_once(), sabotaged(sabotage) as world.sabotage:
            trio.run(_simulation, world, blind, clock=MockClock(autojump_threshold=0))
    except* Exception as errors:  # noqa: BLE001 - whatever it is, the seed has failed
        world.violations.append(f"an error that nothing explains: {leaves(errors)}")
    finally:
        logger.removeHandler(watch)
        logger.setLevel(level)
        logger.propagate = propagates
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(seed=seed, violations=world.violations, counts=dict(world.counts), events=world.events)


async def _simulation(world: World, blind: bool) -> None:  # noqa: FBT001 - trio.run takes no names
    with trio.move_on_after(LONGEST_S) as limit:
        trio.lowlevel.add_instrument(_Patience(limit))
        _put_empty_databases(world)
        settings = simulated_settings(world)
        model = Model(world, blind=blind)
        finished = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_clients, world, model, finished)
            await _lives(world, settings, model, finished)
            nursery.cancel_scope.cancel()
        if not world.violations:
            await _judge(world, model, settings)
    if limit.cancelled_caught:
        world.violated("the simulation did not come to its end")


async def _clients(world: World, model: Model, finished: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        for script in scripts(world, model):
            nursery.start_soon(script.run)
    world.happened("every client has finished")
    finished.set()


async def _lives(world: World, settings: Settings, model: Model, finished: trio.Event) -> None:
    """One life after the other: those with faults, then one without, which lasts until everything is complete."""
    plans = life_plans(world.seed)
    chance = world.stream("lives")
    for number in range(LIVES_MAX):
        if world.violations:
            return
        if not plans or finished.is_set():
            break
        plan = plans.pop(0)
        ending = await _life(world, plan, settings, finished)
        world.counts[f"lives {ending.name.lower()}"] += 1
        if ending is Ending.STOPPED:
            _check_journals(world, model)
        if ending is Ending.CRASHED and chance.one_in(4):
            await _recover_twice(world, settings, model)
        elif ending is Ending.CRASHED and chance.one_in(4):
            plans.insert(0, recovery_plan(chance))
            world.counts["recovery interrupted"] += 1
        await trio.sleep(chance.uniform(0, 5))
        assert number < LIVES_MAX - 1
    world.faults_over = True
    async with trio.open_nursery() as nursery:
        stopping = trio.Event()
        nursery.start_soon(_complete, world, model, finished, stopping)
        sessions = structs.replace(settings.sessions, abandon_sweep_s=LAST_SWEEP_S)
        access = structs.replace(settings.access, last_use_interval_s=LAST_SWEEP_S)
        storage = structs.replace(settings.storage, erasure_retry_s=LAST_SWEEP_S)
        last = structs.replace(settings, sessions=sessions, access=access, storage=storage)
        ending = await live(world, LifePlan(), last, stopping)
        if ending is not Ending.STOPPED:
            world.violated(f"the life without faults ended {ending.name.lower()}")
        nursery.cancel_scope.cancel()


async def _life(world: World, plan: LifePlan, settings: Settings, finished: trio.Event) -> Ending:
    stopping = trio.Event()

    async def stop() -> None:
        with trio.move_on_after(plan.duration_s):
            await finished.wait()
        stopping.set()
        await trio.sleep(settings.service.shutdown_timeout_s)
        if world.life is not None:
            world.life.give_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        ending = await live(world, plan, settings, stopping)
        nursery.cancel_scope.cancel()
    return ending


async def _complete(world: World, model: Model, finished: trio.Event, stopping: trio.Event) -> None:
    """Wait for the clients, let what is left be abandoned, compare the statistics, and stop."""
    await finished.wait()
    model.abandons_from_s = world.clock()
    # Nobody asks for anything for a day: looking for memory to return every 5 s of it took half of a seed's time.
    with mock.patch.object(admission, "RETURN_CHECK_S", ABANDONED_AFTER_S):
        await trio.sleep(ABANDONED_AFTER_S + world.set_back_s)
    reply = await Caller(world, "10.0.0.99").ask("GET", "/v1/stats/summary")
    if reply is None or reply.status != 200 or reply.body["activeSessions"] != 0:
        world.violated(f"the statistics at the end are {reply and reply.body}")
    elif reply.body["totalSessions"] != (used := _sessions_used(world, model)):
        world.violated(f"{reply.body['totalSessions']} sessions are counted, not {used}")
    stopping.set()


def _sessions_used(world: World, model: Model) -> int:
    """How many sessions have a line; the others are forgotten by now."""
    return sum(
        any(name in world.durable.lines for name in (f"close {session_id}", *(sent.signature for sent in session.sent)))
        for session_id, session in model.sessions.items()
    )


async def _judge(world: World, model: Model, settings: Settings) -> None:
    """Check the model, and the product's own `verify`, over what the last life has left on real files."""
    contents = world.disk.contents()
    for path, content in contents.items():
        if content != world.disk.folders[path.parent][path.name].durable and not model.blind:
            world.violated(f"{path.name} was not wholly synced when the server had stopped")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    checker = Checker(model, world.layout.root, contents, world.disk.removed)
    checker.check(complete=True)
    findings = await verify(world.layout.root, settings.storage, applied_at=times.to_text(EPOCH_S))
    for found in (*checker.found, *(f"verify: {finding}" for finding in findings)):
        world.violated(found)


def _check_journals(world: World, model: Model) -> None:
    """Check what the journals hold between two lives, when the one before has stopped or was recovered from."""
    checker = Checker(model, world.layout.root, world.disk.contents(), world.disk.removed)
    checker.check(complete=False)
    for found in checker.found:
        world.violated(found)


# Recovery


async def _recover_twice(world: World, settings: Settings, model: Model) -> None:
    """Recover one crashed state twice, the second time with a kill in between: the outcome must be the same."""
    crashed = Snapshot(world)
    chance = world.stream("lives")
    world.counts["crashed states recovered twice"] += 1
    world.happened("recovering twice")
    if not await _recovered(world, LifePlan(), settings):
        return
    _check_journals(world, model)
    once = _stored(world)
    crashed.restore()
    await _recovered(world, recovery_plan(chance), settings)
    if world.violations or not await _recovered(world, LifePlan(), settings):
        return
    again = _stored(world)
    if once != again:
        differing = [name for name in once if once[name] != again.get(name)]
        world.violated(f"recovering twice gave something else in {differing}")
    crashed.restore()


async def _recovered(world: World, plan: LifePlan, settings: Settings) -> bool:
    """Open the storage and close it; answer whether that came to its end."""
    ended = False
    with trio.CancelScope() as scope:
        life = world.life = Life(world, plan, scope)
        world.disk.gate = life
        try:
            async with open_storage(
                world.layout.root,
                settings.storage,
                platform_of(world, life),
                opens_per_machine_per_h=20,
                unused_sessions_max=1_000,
            ):
                pass
            ended = True
        except* Crashed:
            world.counts["recovery interrupted"] += 1
        except* Exception as failures:  # noqa: BLE001 - whatever it is, the seed has failed
            world.violated(f"recovery failed: {failures!r}")
    life.leave()
    world.life = None
    return ended


def comparable(path: Path, text: bytes) -> Any:
    """What of a file is the same however often a state is recovered: all but the time at which a start drops a day."""
    if path.name != "dropped.jsonl":
        return text
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["dropped"], line["received"]["n"], line["received"]["batch"]) for line in lines]


def _stored(world: World) -> dict[str, Any]:
    stored: dict[str, Any] = {str(path): comparable(path, text) for path, text in world.disk.contents().items()}
    for path in (world.layout.sessions_database, world.layout.ledger_database):
        with closing(sqlite3.connect(path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in sorted(tables):
                rows = connection.execute(f"SELECT * FROM {table}").fetchall()
                stored[f"{path.name} {table}"] = sorted(rows, key=repr)
    return stored


# Databases


@cache
def _empty_databases() -> tuple[bytes, bytes, bytes]:
    """Both databases as a first start makes them, and a ledger that takes a credit twice.

    Made once a process: making them takes longer than many a simulation.
    """
    once = "session_id TEXT NOT NULL UNIQUE"
    assert any(once in migration for migration in LEDGER_SCHEMA.migrations)
    repeatable = structs.replace(
        LEDGER_SCHEMA,
        migrations=tuple(each.replace(once, "session_id TEXT NOT NULL") for each in LEDGER_SCHEMA.migrations),
    )
    applied_at = times.to_text(EPOCH_S)

    async def make(folder: Path, schema: Schema) -> bytes:
        path = folder / schema.name
        async with open_inline_database(path, schema, Settings().storage, applied_at=applied_at) as database:
            if schema is SESSIONS_SCHEMA:
                sealer = Sealer(load_master_key(folder, ENVIRONMENT), random_bytes=bytes)
                await check_key(sealer, database, keys_folder=folder)
            await database.checkpoint()
        return path.read_bytes()

    made: list[bytes] = []
    for schema in (SESSIONS_SCHEMA, LEDGER_SCHEMA, repeatable):
        with tempfile.TemporaryDirectory() as folder:
            made.append(trio.run(make, Path(folder), schema))
    sessions, ledger, repeatable_ledger = made
    return sessions, ledger, repeatable_ledger


def _put_empty_databases(world: World) -> None:
    sessions, ledger, repeatable_ledger = _empty_databases()
    is_repeatable = world.sabotage is not None and world.sabotage.credits_repeatable
    world.layout.sessions_database.write_bytes(sessions)
    world.layout.ledger_database.write_bytes(repeatable_ledger if is_repeatable else ledger)
