"""What every life of every seed makes alike, made once a process: new databases, the map of routes, types of chunks.

Each is made by the product's own code and kept; nothing of it differs between seeds. It took a third of their time.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

from werkzeug.routing import Map, Rule, RuleFactory

from actors.envelopes import chunk_reading
from central_command.settings.configuration import Settings
from persistence.databases import opening
from persistence.databases.migrations import Schema, migrate
from persistence.settings.storage import StorageSettings
from persistence.upkeep import schema_objects

_prepare = opening._prepare
_add = Map.add
_chunk_metadata = cache(chunk_reading.chunk_metadata)
_chunk_log = cache(chunk_reading.chunk_log)


@cache
def _file_of(schema: Schema, applied_at: str) -> bytes:
    """A database as it is when it was just made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / schema.name
        _prepare(path, schema, Settings().storage, applied_at)
        return path.read_bytes()


def _prepared(path: Path, schema: Schema, settings: StorageSettings, applied_at: str) -> None:
    if path.exists():
        _prepare(path, schema, settings, applied_at)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(_file_of(schema, applied_at))


@cache
def _tables_of(schema: Schema, applied_at: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, schema, applied_at=applied_at)
    return connection


def _migrated(connection: sqlite3.Connection, schema: Schema, *, applied_at: str) -> None:
    """Give an empty database in memory its tables."""
    _tables_of(schema, applied_at).backup(connection)


class _Routes:
    """The map of the first application, which those after it share: they add the same routes in the same order.

    A route knows its endpoint's name, and each application which function that is.
    """

    def __init__(self) -> None:
        self._first: Map | None = None
        self._added: list[str] = []
        self._sharing: Map | None = None
        self._place = 0

    def add(self, routes: Map, factory: RuleFactory) -> None:
        """Add a route to the first map; to another, all that the first has."""
        assert isinstance(factory, Rule)
        said = f"{factory.rule} {factory.endpoint} {sorted(factory.methods or ())}"
        if self._first is None or routes is self._first:
            self._first = routes
            self._added.append(said)
            _add(routes, factory)
            return
        if routes is not self._sharing:
            self._sharing, self._place = routes, 0
            routes._matcher, routes._rules_by_endpoint = self._first._matcher, self._first._rules_by_endpoint
        assert said == self._added[self._place], "all applications have the same routes"
        self._place += 1


_routes = _Routes()


def _add_route(routes: Map, factory: RuleFactory) -> None:
    _routes.add(routes, factory)


@contextmanager
def made_once() -> Iterator[None]:
    """Take what was made before, for as long as the block lasts."""
    with ExitStack() as stack:
        for owner, name, made in (
            (opening, "_prepare", _prepared),
            (schema_objects, "migrate", _migrated),
            (Map, "add", _add_route),
            (chunk_reading, "chunk_metadata", _chunk_metadata),
            (chunk_reading, "chunk_log", _chunk_log),
        ):
            stack.enter_context(mock.patch.object(owner, name, made))
        yield
