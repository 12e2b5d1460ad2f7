"""Databases for tests: over aiosqlite as served, and in place as rebuilt and simulated; both must pass."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio_asyncio

from persistence.databases.database import Database
from persistence.databases.migrations import Schema
from persistence.databases.opening import open_database, open_inline_database
from persistence.settings.storage import StorageSettings

APPLIED_AT = "2026-11-20T10:00:00.000000Z"

OpenDatabase = Callable[[Path, Schema], AbstractAsyncContextManager[Database]]


@asynccontextmanager
async def _threaded(path: Path, schema: Schema) -> AsyncIterator[Database]:
    async with (
        trio_asyncio.open_loop(),
        open_database(path, schema, StorageSettings(), applied_at=APPLIED_AT) as database,
    ):
        yield database


@asynccontextmanager
async def _inline(path: Path, schema: Schema) -> AsyncIterator[Database]:
    async with open_inline_database(path, schema, StorageSettings(), applied_at=APPLIED_AT) as database:
        yield database


@asynccontextmanager
async def _in_memory(path: Path, schema: Schema) -> AsyncIterator[Database]:
    async with open_inline_database(None, schema, StorageSettings(), applied_at=APPLIED_AT) as database:
        yield database


@pytest.fixture(params=[_threaded, _inline], ids=["aiosqlite", "inline"])
def open_one(request: pytest.FixtureRequest) -> OpenDatabase:
    """How to open a database on disk, each way in turn."""
    chosen: OpenDatabase = request.param
    return chosen


@pytest.fixture(params=[_threaded, _inline, _in_memory], ids=["aiosqlite", "inline", "memory"])
def open_any(request: pytest.FixtureRequest) -> OpenDatabase:
    """How to open a database, in memory included."""
    chosen: OpenDatabase = request.param
    return chosen
