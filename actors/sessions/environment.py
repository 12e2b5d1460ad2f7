"""What every session actor is given: the storage, the settings, and the sources of time, chance and names."""

import os
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from actors.consent.restrictions import Restrictions
from actors.envelopes.settings import SchemaSettings
from actors.sessions.buffer import BufferBudget
from actors.sessions.recent_runs import RecentRuns
from actors.sessions.rewriting import Rewriter
from actors.sessions.settings import SessionSettings
from actors.trajectories.settings import ScoringSettings
from persistence.files.file_system import Offload
from persistence.storage import Storage


class Identifiers(Protocol):
    """Names that the server gives."""

    def envelope_id(self) -> str:
        """Return a new `env_<uuid>`."""
        ...

    def trajectory_id(self) -> str:
        """Return a new `traj_<uuid>`."""
        ...


_VERSION_AND_VARIANT = (0x7 << 76) | (0x8 << 60)
_RANDOM_BITS = ((1 << 76) - 1) ^ (0xC << 60)


_RANDOM_BYTES = 10
_DRAWN_AT_ONCE = 256


class RandomIdentifiers:
    """Names from UUIDs of the time in milliseconds and 74 random bits (RFC 9562, version 7).

    Ids that grow with time are next to each other in an index: with random ones every row that is inserted changes a
    page of its own, and what the databases then write holds up the journals' syncs. The random bytes of many are drawn
    at once, because each envelope has an id.
    """

    def __init__(self) -> None:
        self._drawn = b""
        self._used = 0

    def envelope_id(self) -> str:
        """Return a new `env_<uuid>`."""
        return f"env_{self._uuid7()}"

    def trajectory_id(self) -> str:
        """Return a new `traj_<uuid>`."""
        return f"traj_{self._uuid7()}"

    def _uuid7(self) -> str:
        start = self._used
        if start == len(self._drawn):
            self._drawn = os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE)
            start = 0
        self._used = start + _RANDOM_BYTES
        random_bits = int.from_bytes(self._drawn[start : self._used], "big") & _RANDOM_BITS
        number = random_bits | _VERSION_AND_VARIANT | int(time.time() * 1e3) << 80
        text = number.to_bytes(16, "big").hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Environment(msgspec.Struct, kw_only=True):
    """Shared by all actors of a process. `clock` gives seconds since the epoch; `random_bytes` is for keys.

    The three settings may be replaced at any time; an actor looks at them anew with each message.
    """

    storage: Storage
    sessions: SessionSettings
    schema: SchemaSettings
    scoring: ScoringSettings
    clock: Callable[[], float]
    identifiers: Identifiers
    offload: Offload
    budget: BufferBudget
    stitches: trio.CapacityLimiter
    rewriter: Rewriter
    """Writes bodies anew for their HMAC, one at a time."""
    line: trio.Lock = msgspec.field(default_factory=trio.Lock)
    """Actors with many envelopes stand in line for it, so that in a turn of the event loop only one is at work."""
    restrictions: Restrictions = msgspec.field(default_factory=Restrictions)
    """Of whom envelopes are refused; the register of consent and erasure change it."""
    recent_runs: RecentRuns = msgspec.field(default_factory=RecentRuns)
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
