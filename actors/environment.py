"""What every session actor is given: the storage, the settings, and the sources of time, chance and names."""

import secrets
import uuid
from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from actors.session_buffer import BufferBudget
from actors.settings import SchemaSettings, ScoringSettings, SessionSettings
from persistence.files import Offload
from persistence.storage import Storage


class Identifiers(Protocol):
    """Names that the server gives."""

    def envelope_id(self) -> str:
        """Return a new `env_<uuid>`."""
        ...

    def trajectory_id(self) -> str:
        """Return a new `traj_<uuid>`."""
        ...


class RandomIdentifiers:
    """Names from random UUIDs."""

    def envelope_id(self) -> str:
        """Return a new `env_<uuid>`."""
        return f"env_{uuid.uuid4()}"

    def trajectory_id(self) -> str:
        """Return a new `traj_<uuid>`."""
        return f"traj_{uuid.uuid4()}"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Shared by all actors of a process. `clock` gives seconds since the epoch; `random_bytes` is for keys."""

    storage: Storage
    sessions: SessionSettings
    schema: SchemaSettings
    scoring: ScoringSettings
    clock: Callable[[], float]
    identifiers: Identifiers
    offload: Offload
    budget: BufferBudget
    stitches: trio.CapacityLimiter
    rewrites: trio.CapacityLimiter
    """Bodies being written anew for their HMAC: slow, and open to whoever knows a session's id, so one at a time."""
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
