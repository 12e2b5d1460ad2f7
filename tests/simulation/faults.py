"""Which faults a life of the server meets, drawn from the seed before it begins."""

import errno
from enum import StrEnum

import msgspec

from tests.simulation.randomness import Stream, stream
from tests.simulation.simulated_disk import When


class EmbedderFault(StrEnum):
    """What is wrong with the embedding engine."""

    NONE = "none"
    FAILS = "fails"
    HANGS = "hangs"
    MISSING = "missing"


class Failing(msgspec.Struct, frozen=True):
    """The `nth` operation of its kind fails with an errno."""

    operation: str
    nth: int
    number: int


class LifePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one life of the server; times are seconds of trio's clock since its start."""

    crash_at: int | None = None
    """The operation at which the process ends, counted from the life's start."""
    crash_operation: str = ""
    """If given, only operations of this kind are counted."""
    when: When = When.BEFORE
    power_failure: bool = True
    """Whether the machine loses power; otherwise only the process is killed."""
    failing: tuple[Failing, ...] = ()
    full_at_write: int | None = None
    """The write of a journal at which the disk is full, in the middle of it, for `full_s`."""
    full_s: float = 0.0
    slow_s: float = 0.0
    """How long blocking work may take at most, beyond what it always may."""
    jumps: tuple[tuple[float, float], ...] = ()
    """When the wall clock jumps, and by how many seconds."""
    embedder: EmbedderFault = EmbedderFault.NONE
    duration_s: float = 60.0
    """After which it is stopped in good order, when nothing else has ended it."""


FAILING_OPERATIONS = (
    ("write", 30),
    ("sync", 30),
    ("create", 3),
    ("open", 4),
    ("sync_directory", 5),
    ("truncate", 1),
    ("read", 20),
    ("commit", 20),
    ("checkpoint", 2),
)
ERRORS = {"create": (errno.EIO, errno.ENOSPC), "commit": (errno.EIO, errno.ENOSPC, errno.EBUSY)}
"""What else than EIO an operation may fail with; EBUSY is another program that holds a database."""
CRASHING_OPERATIONS = (
    ("write", 20),
    ("sync", 20),
    ("create", 3),
    ("sync_directory", 5),
    ("commit", 15),
    ("answer", 40),
)
JUMPS_S = (-90_000.0, -86_400.0, -3_600.0, -30.0, 30.0, 3_600.0, 86_400.0, 90_000.0, 180_000.0)


def life_plans(seed: int) -> list[LifePlan]:
    """The faulty lives of a seed; after them comes one without faults."""
    chance = stream(seed, "faults")
    return [_life_plan(chance) for _ in range(chance.any_of((1, 1, 2, 2, 3)))]


def recovery_plan(chance: Stream) -> LifePlan:
    """A process that is killed while it recovers."""
    return LifePlan(crash_at=chance.randint(1, 25), when=chance.any_of(tuple(When)), power_failure=False)


def _life_plan(chance: Stream) -> LifePlan:
    crashes = not chance.one_in(3)
    crash_operation, crash_at = "", chance.randint(1, 30) if chance.one_in(4) else chance.randint(10, 140)
    if chance.one_in(2):
        crash_operation, highest = chance.any_of(CRASHING_OPERATIONS)
        crash_at = chance.randint(1, highest)
    failing: tuple[Failing, ...] = ()
    if chance.one_in(4):
        operation, highest = chance.any_of(FAILING_OPERATIONS)
        number = chance.any_of(ERRORS.get(operation, (errno.EIO,)))
        failing = (Failing(operation, chance.randint(1, highest), number),)
    jumps: tuple[tuple[float, float], ...] = ()
    if chance.one_in(4):
        jumps = tuple((chance.uniform(0, 20), chance.any_of(JUMPS_S)) for _ in range(chance.randint(1, 2)))
    slow_s = chance.any_of((0.2, 2.0, 40.0, 90.0)) if chance.one_in(5) else 0.0
    return LifePlan(
        crash_at=crash_at if crashes else None,
        crash_operation=crash_operation,
        when=chance.any_of(tuple(When)),
        power_failure=not chance.one_in(4),
        failing=failing,
        full_at_write=chance.randint(1, 20) if chance.one_in(6) else None,
        full_s=chance.any_of((0.5, 5.0, 60.0)),
        slow_s=slow_s,
        jumps=jumps,
        embedder=chance.any_of(tuple(EmbedderFault)) if chance.one_in(3) else EmbedderFault.NONE,
        duration_s=chance.uniform(1, 40) + 5 * slow_s,  # long enough for clients to lose patience
    )
