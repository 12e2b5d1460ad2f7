"""A data directory with everything in it that there can be, made once and copied for each test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import trio

from tests.running_service import running, settings_with


async def _fill(root: Path, early: Path) -> None:
    """Closed sessions, open ones, refused lines, gaps, early and late feedback; `early` gets the databases halfway."""
    async with running(root, settings=settings_with(sessions={"sequence_gaps": "accept"})) as run:
        for number in range(4):
            client = await run.open(f"sess_closed_{number}", contributor_id=f"{number % 2}" * 32)
            await run.send(client.chunk(4, model_engine="gpt-5.5"))
            await run.send(client.chunk(2, provider="unheard-of"))
            client.sequence += number
            await run.send(client.chunk_of([client.step("error"), client.step("resolution")]))
            await run.send(client.feedback("iterated", sequence=client.sequence))
            await run.send(client.close())
            await run.send(client.feedback("rejected"))
        await run.projected()
        _copy_databases(root, early)
        for number in range(3):
            client = await run.open(f"sess_open_{number}")
            await run.send(client.chunk(5))
            await run.send(client.chunk(3))
        empty = await run.open("sess_empty")
        await run.service.close_session(empty.session_id)


def _copy_databases(root: Path, target: Path) -> None:
    target.mkdir()
    for path in root.glob("*.db*"):
        if not path.name.endswith("-shm"):
            shutil.copy(path, target)


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    trio.run(partial(_fill, folder / "data", folder / "early"))
    return folder


@pytest.fixture
def filled(_filled: Path, tmp_path: Path) -> Path:
    """A data directory that was closed in order, with copies of its earlier databases in `early` beside it."""
    shutil.copytree(_filled, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 50_000_000


@pytest.fixture(scope="module")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one, also for temporary files: `kill -9` leaves the kernel's cache alone.

    So nothing is lost by it that a disk would keep, and no test waits for a disk.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < MEMORY_BYTES_MIN:
        yield tmp_path_factory.mktemp("memory")
        return
    with (
        tempfile.TemporaryDirectory(prefix="central-command-", dir=MEMORY) as folder,
        mock.patch.object(tempfile, "tempdir", folder),
    ):
        yield Path(folder)
