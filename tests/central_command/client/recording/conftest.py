"""A recorder on a spool of the test's own, and a server in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from central_command.client.contract.identity import Identity
from central_command.client.recording.recorder import Surroundings, TrioRecorder, open_recorder
from tests.central_command.client.inline import inline
from tests.central_command.client.recording.recorded import Opener


@pytest.fixture
def opener(fake_server: Any, identity: Identity, tmp_path: Path) -> Opener:
    """Opens recorders on the same spool, each with a connection of its own to the server in memory."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[TrioRecorder]:
        surroundings = Surroundings(
            identity=changes.pop("identity", identity),
            client=fake_server.client(),
            offload=changes.pop("offload", inline),
            jitter=lambda: 0.5,
        )
        arguments: dict[str, Any] = {
            "provider": "codex",
            "model": "gpt-5.5",
            "spool_path": tmp_path / "spool.db",
        } | changes
        async with open_recorder("http://server.test", surroundings=surroundings, **arguments) as recorder:
            yield recorder

    return opened
