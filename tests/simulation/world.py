"""What a simulation shares: the seed's chance, the clock, the disk, the network, the record of what happened."""

import errno
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import trio

from persistence.databases.database import Statement
from persistence.databases.registry import INSERT_SESSION
from persistence.format.layout import DataLayout
from tests.simulation.faults import LifePlan
from tests.simulation.network import Network
from tests.simulation.randomness import Stream, stream
from tests.simulation.sabotage import Sabotage
from tests.simulation.simulated_database import DatabaseFiles, Databases
from tests.simulation.simulated_disk import Crashed, DiskImage, SimulatedDisk, When

T = TypeVar("T")

EPOCH_S = 1_795_132_800.0
"""2026-11-20 00:00:00 UTC: simulations begin around it."""
UNLIMITED_BYTES = 2**40


class Durable:
    """When each line, and each session's key, became durable: the number of the operation that made it so."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.keys: dict[str, tuple[str, int]] = {}
        self._keys_waiting: list[tuple[str, str]] = []
        self._seen: dict[Path, list[tuple[int, str]]] = {}
        """Of each file, where its durable lines end, and their names."""

    def file(self, path: Path, content: bytes, now: int) -> None:
        """A journal's file is durable with this content."""
        if path.suffix != ".jsonl" or path.name == "dropped.jsonl":
            return
        seen = self._seen.setdefault(path, [])
        while seen and seen[-1][0] > len(content):
            del self.lines[seen.pop()[1]]  # recovery has cut off what was torn
        offset = seen[-1][0] if seen else 0
        for line in content[offset : content.rfind(b"\n") + 1].splitlines(keepends=True):
            offset += len(line)
            name = _name_of(line)
            if name is not None and name not in self.lines:
                self.lines[name] = now
                seen.append((offset, name))

    def openings(self, statements: Sequence[Statement], *, synced: bool, now: int) -> None:
        """A transaction of sessions.db; a synced one makes all before it durable."""
        self._keys_waiting += [
            (str(row[0]), str(row[2])) for each in statements if each.sql == INSERT_SESSION for row in each.rows
        ]
        if synced:
            for session_id, key in self._keys_waiting:
                if self.keys.get(session_id, ("", 0))[0] != key:  # one that was forgotten may be opened anew
                    self.keys[session_id] = (key, now)
            self._keys_waiting.clear()

    def crashed(self) -> None:
        """What waited may be gone."""
        self._keys_waiting.clear()


def _name_of(line: bytes) -> str | None:
    """What a line is known by: its signature, or its session where it has none; None for what is no whole line."""
    try:
        members: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    if "trajectory_id" in members:
        return f"trajectory {members['session_id']}"
    if "refused" in members:
        return str(members["session_hmac"])
    if "previous_sha256" in members:
        return f"consent {members['id']}"
    if "attestation" not in members:
        return f"close {members['session_id']}"
    return str(members["attestation"]["session_hmac"])


class World:
    """All that outlives a process of the server."""

    def __init__(self, seed: int, root: Path) -> None:
        self.seed = seed
        self.layout = DataLayout(root)
        self.chance: dict[str, Stream] = {}
        self._names: dict[Path, str] = {}
        self.events: list[str] = []
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.operations = 0
        self.clock_offset_s = 0.0
        self.largest_jump_s = 0.0
        self.accepts_gaps = self.stream("gaps").one_in(5)
        """Whether the server is set to take envelopes that come before those with a lower number."""
        self.set_back_s = 0.0
        """By how much the clock was set back, all jumps together."""
        self._midnight_distance_s = self.stream("clock").any_of((-5.0, -1.0, 36_000.0))
        self.durable = Durable()
        self.network = Network(self.stream("network"))
        self.faults_over = False
        self.sabotage: Sabotage | None = None
        self.life: Life | None = None
        nobody = Life(self, LifePlan(), trio.CancelScope())
        self.disk = SimulatedDisk(nobody, self._synced)

    def stream(self, name: str) -> Stream:
        """A stream of chance of this seed."""
        if name not in self.chance:
            self.chance[name] = stream(self.seed, name)
        return self.chance[name]

    def clock(self) -> float:
        """The wall clock, in seconds since the epoch; it jumps."""
        return EPOCH_S + self._midnight_distance_s + trio.current_time() + self.clock_offset_s

    def jump(self, by_s: float) -> None:
        """Move the wall clock."""
        self.clock_offset_s += by_s
        self.largest_jump_s = max(self.largest_jump_s, abs(by_s))
        self.set_back_s += max(0.0, -by_s)
        self.happened(f"clock jumps by {by_s:g} s")

    def name_of(self, path: Path) -> str:
        """A path below the data directory, from there."""
        if path not in self._names:
            self._names[path] = str(path.relative_to(self.layout.root))
        return self._names[path]

    def happened(self, event: str) -> None:
        """Note an event."""
        self.events.append(f"{trio.current_time():.6f} #{self.operations} {event}")

    def violated(self, what: str) -> None:
        """Note that something does not hold."""
        self.happened(f"VIOLATION {what}")
        self.violations.append(what)

    def _synced(self, path: Path, content: bytes) -> None:
        self.durable.file(path, content, self.operations)


class Life:
    """One process of the server: the gate of all its operations, and the end of it."""

    def __init__(self, world: World, plan: LifePlan, scope: trio.CancelScope) -> None:
        self.world = world
        self.plan = plan
        self.scope = scope
        self.is_over = False
        self.has_failed = False
        """Whether an operation has failed so that the process must end."""
        self.has_lacked_room = False
        self.operations = 0
        self.databases = Databases(self, self._committed, self._take_time)
        self.databases_left: dict[Path, DatabaseFiles] | None = None
        self._by_kind: Counter[str] = Counter()
        self._full_until = -1.0
        self._waiting: set[trio.CancelScope] = set()
        self._lost_power = False
        self._unknown: tuple[Path, str] | None = None

    # The gate

    def enter(self, operation: str, path: Path) -> When | None:
        """Count an operation; fail it, or say that the process ends in it."""
        when = self._step(operation)
        nth = self._by_kind[operation]
        self.world.happened(f"{operation} {self.world.name_of(path)}")
        for failing in self.plan.failing:
            if failing.operation == operation and failing.nth == nth and when is None:
                self.world.counts[f"{errno.errorcode[failing.number]} on {operation}"] += 1
                self.world.happened(f"fails with {errno.errorcode[failing.number]}")
                if failing.number in {errno.ENOSPC, errno.EBUSY}:
                    self.has_lacked_room = True
                else:
                    self.has_failed = True
                    self._unknown = (path, operation)
                raise OSError(failing.number, "injected")
        if operation == "write" and nth == self.plan.full_at_write:
            self._full_until = trio.current_time() + self.plan.full_s
            self.has_lacked_room = True
            self.world.counts["disk full, later free"] += 1
            self.world.happened(f"disk full for {self.plan.full_s:g} s")
            self._room_left = self.world.stream("disk").randrange(600)
        if operation in {"commit", "create"} and self.is_full and when is None and nth % 2:
            raise OSError(errno.ENOSPC, "injected")
        return when

    def _step(self, operation: str) -> When | None:
        if self.is_over:
            raise Crashed
        self.operations += 1
        self.world.operations += 1
        self._by_kind[operation] += 1
        if self.plan.crash_operation and self.plan.crash_operation != operation:
            return None
        counted = self._by_kind[operation] if self.plan.crash_operation else self.operations
        return self.plan.when if counted == self.plan.crash_at else None

    @property
    def is_full(self) -> bool:
        """Whether the disk has no room now."""
        return trio.current_time() < self._full_until

    _room_left = 0

    def room_bytes(self) -> int:
        """How much more can be written."""
        return self._room_left if self.is_full else UNLIMITED_BYTES

    def end(self) -> None:
        """Crash here."""
        kind = "power failure" if self.plan.power_failure else "kill"
        self.world.counts[f"{kind} {self.plan.when} an operation"] += 1
        self.world.happened(f"{kind} {self.plan.when}")
        self._end(power_failure=self.plan.power_failure)
        raise Crashed

    def give_up(self) -> None:
        """End the process that does not stop in time, as it does itself."""
        if not self.is_over:
            self.world.counts["stopping took too long"] += 1
            self.world.happened("stopping took too long")
            self._end(power_failure=False)

    def _end(self, *, power_failure: bool) -> None:
        world = self.world
        self._lost_power = power_failure
        chance = world.stream("disk") if power_failure else None
        paths = (world.layout.sessions_database, world.layout.ledger_database)
        self.databases_left = self.databases.files(paths, chance)
        for name, undone in self.databases.undone.items():
            world.counts["SQLite commits undone"] += undone
            world.happened(f"{undone} commits of {name} undone")
        self.is_over = True
        world.network.end()
        self.scope.cancel()
        for scope in self._waiting:
            scope.shield = False

    def answering(self, size_bytes: int) -> int:
        """A piece of an answer is about to be sent."""
        when = self._step("answer")
        moment = self.world.operations
        if when is not None:
            self.end()
        return moment

    # The rest of what a process has

    async def offload(self, function: Callable[..., T], *args: object) -> T:
        """Blocking work, in place: it takes time before and after, and cannot be cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True) as scope:
            self._waiting.add(scope)
            try:
                await self._take_time()
                result = function(*args)
                await self._take_time()
                return result
            finally:
                self._waiting.discard(scope)
        raise Crashed  # the scope was cancelled with the process

    async def _take_time(self) -> None:
        chance = self.world.stream("offload")
        if self.plan.slow_s and chance.one_in(4):
            self.world.counts["slow disk"] += 1
            await trio.sleep(chance.uniform(0, self.plan.slow_s))
        elif chance.one_in(3):
            await trio.sleep(chance.any_of((0.0001, 0.001, 0.02)))
        else:
            for _ in range(chance.randrange(3)):
                await trio.lowlevel.checkpoint()

    def _committed(self, name: str, statements: Sequence[Statement], synced: bool) -> None:  # noqa: FBT001
        if name == "sessions.db":
            self.world.durable.openings(statements, synced=synced, now=self.world.operations)

    def leave(self) -> None:
        """Leave behind what the next life finds: called once this one has wholly ended."""
        world = self.world
        chance = world.stream("disk")
        self.is_over = True
        if self.databases_left is not None:
            for path, files in self.databases_left.items():
                files.restore(path)
            world.durable.crashed()
            if self._lost_power:
                for outcome in world.disk.lose_power(chance):
                    world.counts[f"unsynced: {outcome.rpartition(' ')[2]}"] += 1
                    world.happened(f"after the power failure: {outcome}")
        elif self._unknown is not None and self._unknown[1] == "sync":
            # A failed sync: the kernel takes the pages for written, and nobody knows what is on the disk.
            path = self._unknown[0]
            node = world.disk.folders[path.parent].get(path.name)
            if node is not None:
                world.happened(f"after the failed sync: {path.name} {node.settle(chance)}")


class Snapshot:
    """Everything on disk between two lives, to go back to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._disk: DiskImage = world.disk.image()
        paths = (world.layout.sessions_database, world.layout.ledger_database)
        life = Life(world, LifePlan(), trio.CancelScope())
        self._databases = life.databases.files(paths, None)

    def restore(self) -> None:
        """Go back to it."""
        self._world.disk.restore(self._disk)
        for path, files in self._databases.items():
            files.restore(path)
