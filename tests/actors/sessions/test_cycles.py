"""No session and no actor ends as a cycle: the collector looks at what is in use only once.

See `central_command.process.collector`; requests are in tests/central_command/http/connections/test_cycles.py.
"""

import gc
from pathlib import Path

import trio
import trio.testing

from actors.sessions.outcomes import Accepted, Closed
from tests.cycles import counted_cycles
from tests.running_service import Running, running, settings_with

SESSIONS = 20


async def whole_sessions(server: Running, name: str) -> None:
    """Sessions that are opened, refused something, passivated, activated again and closed, one way or the other."""
    clients = [await server.open(f"sess_{name}_{number}") for number in range(SESSIONS)]
    for client in clients:
        assert isinstance(await server.send(client.chunk()), Accepted)
        forged = client.chunk(sequence=client.sequence).replace(b"content", b"contend")
        assert not isinstance(await server.send(forged), Accepted)
    await trio.sleep(2)
    assert server.service.statistics().sessions.active == 0
    for number, client in enumerate(clients):
        assert isinstance(await server.send(client.chunk()), Accepted)
        if number % 2:
            assert isinstance(await server.send(client.close()), Accepted)
        else:
            assert isinstance(await server.service.close_session(client.session_id), Closed)
    await trio.sleep(2)
    assert server.service.statistics().sessions.active == 0


async def test_a_session_leaves_no_cycle(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """From its opening to its trajectory, with all of its actors."""
    settings = settings_with(sessions={"passivate_after_s": 1})
    async with running(tmp_path / "data", settings=settings) as server:
        await whole_sessions(server, "first")
        with counted_cycles() as cycles:
            await whole_sessions(server, "second")
    assert not cycles


async def test_an_open_session_is_few_objects(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """All that a full collection has to look at for it, with a chunk in its buffer, is 50 objects at most."""
    async with running(tmp_path / "data") as server:
        for number in range(SESSIONS):
            client = await server.open(f"sess_warm_{number}")
            await server.send(client.chunk())
        await server.projected()
        gc.collect()
        before = len(gc.get_objects())
        for number in range(SESSIONS):
            client = await server.open(f"sess_{number}")
            await server.send(client.chunk())
        await server.projected()
        gc.collect()
        assert (len(gc.get_objects()) - before) / SESSIONS < 50
