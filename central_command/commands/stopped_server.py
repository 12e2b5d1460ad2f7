"""A server's data directory, opened by a command while the server is stopped."""

# ruff: noqa: PLC0415 (imports within functions: `--help` needs no server)

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from central_command.service import Service
    from central_command.settings.configuration import Settings


@asynccontextmanager
async def opened_service(settings: "Settings", data_dir: Path) -> "AsyncIterator[Service]":
    """All but HTTP and embedding, for as long as the block lasts; erasure waits for whoever asks for it.

    Raises what `open_storage` does: DataDirectoryLocked while a server runs.
    """
    import msgspec

    from central_command.service import open_service
    from persistence.storage import Platform

    settings = msgspec.structs.replace(settings, embedding=msgspec.structs.replace(settings.embedding, enabled=False))
    async with open_service(settings, data_dir, Platform(clock=time.time, environ=os.environ), erases=False) as service:
        yield service
