"""The engine of a server's jobs, over jobs.db in its data directory."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from actors.jobs.engine import Jobs
from actors.jobs.events import JobEvent
from central_command.settings.configuration import Settings
from persistence.databases.jobs_database import JobsDatabase
from persistence.format.layout import DataLayout
from persistence.storage import Platform


@asynccontextmanager
async def open_jobs(
    settings: Settings,
    data_directory: Path,
    platform: Platform,
    *,
    on_event: Callable[[JobEvent], None] | None = None,
) -> AsyncIterator[Jobs]:
    """An engine without queues, which nobody runs yet; its database is opened at its first use, and closed here."""
    database = JobsDatabase(DataLayout(data_directory).jobs_database, platform.clock)
    try:
        yield Jobs(
            database,
            settings.jobs,
            clock=platform.clock,
            random_bytes=os.urandom,
            offload=platform.offload,
            on_event=on_event,
        )
    finally:
        with trio.CancelScope(shield=True):
            await platform.offload(database.close)
