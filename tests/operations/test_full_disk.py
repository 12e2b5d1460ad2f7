"""A disk that is full and then has room again, without a restart: refused is what does not fit, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.sessions.outcomes import Accepted, Closed, StorageFull
from persistence.files.memory import MemoryFileSystem
from tests.crash.acknowledged import lines_of
from tests.crash.consistency import check
from tests.operations.test_locked_database import Client, held, wait_for
from tests.running_service import running
from tests.server_process import CLOSE, INGEST, OPEN, ServerProcess
from tests.signing_client import SigningClient, dumps
from tests.small_disk import CannotMountError, fill_up, mounted
from tests.stored_state import finished

DISK_MIB = 16
FREE_BYTES_MIN = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of `DISK_MIB`; skipped where this process may not mount one."""
    folder = tmp_path / "disk"
    try:
        with mounted(folder, size_bytes=DISK_MIB * 1_048_576):
            yield folder
    except CannotMountError as error:
        pytest.skip(f"{error}")


def large_chunk(client: SigningClient) -> bytes:
    """More than fits into what is left of the page that a file ends in."""
    return client.chunk_of([client.step(content="x" * 50_000)])


def check_refused_for_room(server: ServerProcess, client: SigningClient, body: bytes) -> None:
    """Envelopes and openings get 507; everything that writes nothing is answered."""
    answer = server.post(INGEST, body)
    assert (answer.status, answer.members["code"]) == (507, "disk_full")
    assert server.post(OPEN, dumps(SigningClient("sess_late").opening()).encode()).status == 507
    assert server.post(OPEN, dumps(client.opening()).encode()).status == 200
    for path in ("/health", "/v1/stats/summary", "/v1/stats/daily", "/v1/stats/leaderboard"):
        assert server.get(path).status == 200, path


@pytest.mark.parametrize("free_bytes_min", [0, FREE_BYTES_MIN], ids=["to the last byte", "to the reserve"])
def test_with_room_again_the_same_envelope_is_accepted_without_a_restart(small_disk: Path, free_bytes_min: int) -> None:
    """Filled three times; what was refused left nothing behind, and what was accepted is all there."""
    root, filler = small_disk / "data", small_disk / "filler"
    settings = {"CENTRAL_COMMAND__STORAGE__FREE_BYTES_MIN": str(free_bytes_min)}
    with ServerProcess(root, settings=settings) as server:
        clients = Client(server)
        client = clients.open("sess_1")
        assert clients.post(INGEST, client.chunk()).status == 200
        for _ in range(3):
            fill_up(filler)
            body = large_chunk(client)
            if free_bytes_min:
                wait_for(lambda: server.get("/ready").status == 503, "the full disk to be noticed")
                assert server.get("/ready").members["checks"]["disk"] == "disk_full"
            held_lines = lines_of(root, "envelopes")
            check_refused_for_room(server, client, body)
            assert lines_of(root, "envelopes") == held_lines
            filler.unlink()
            wait_for(lambda sent=body: clients.post(INGEST, sent).status == 200, "room to be noticed")  # type: ignore[misc]
            assert server.get("/ready").status == 200
        assert clients.post(INGEST, client.close()).status == 200
        assert "Traceback" not in server.said
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_databases_without_room_catch_up_when_there_is_some(small_disk: Path) -> None:
    """Lines are acknowledged while a lock keeps them out of the databases; then the disk is full; then it is not."""
    root, filler = small_disk / "data", small_disk / "filler"
    settings = {"CENTRAL_COMMAND__STORAGE__DATABASE_BUSY_TIMEOUT_S": "0.2"}
    with ServerProcess(root, settings=settings) as server:
        clients = Client(server)
        sessions = [clients.open(f"sess_{number}") for number in range(4)]
        with held(root / "sessions.db", "IMMEDIATE"):
            for _ in range(60):
                for client in sessions:
                    assert clients.post(INGEST, client.chunk(1)).status == 200
            fill_up(filler)
        wait_for(lambda: "no space is left on the disk for sessions.db" in server.said, "the database to be full")
        refused = large_chunk(sessions[0])
        check_refused_for_room(server, sessions[0], refused)
        assert server.get("/v1/stats/summary").members["totalEnvelopes"] == 0
        filler.unlink()
        wait_for(lambda: clients.post(INGEST, refused).status == 200, "room to be noticed")
        for client in sessions:
            assert clients.post(INGEST, client.close()).status == 200
            # Its answer waits for the trajectory, which the other one's does not.
            assert clients.post(CLOSE, dumps({"session_id": client.session_id}).encode()).status == 200
        check(clients.acknowledged, root)
        assert server.get("/v1/stats/summary").members["totalEnvelopes"] == 4 * 61 + 1
        assert "Traceback" not in server.said
        assert server.terminate() == 0
        check(clients.acknowledged, root)


def test_killed_while_the_disk_is_full_it_starts_when_there_is_room(small_disk: Path) -> None:
    """What was refused is accepted then, and what was accepted is there."""
    root, filler = small_disk / "data", small_disk / "filler"
    with ServerProcess(root) as server:
        clients = Client(server)
        client = clients.open("sess_1")
        for _ in range(5):
            assert clients.post(INGEST, client.chunk()).status == 200
        fill_up(filler)
        refused = large_chunk(client)
        assert server.post(INGEST, refused).status == 507
        server.kill()
        filler.unlink()
        server.start()
        assert clients.post(INGEST, refused).status == 200
        assert clients.post(INGEST, client.close()).status == 200
        assert server.terminate() == 0
        check(clients.acknowledged, root)


async def test_a_disk_in_memory_that_fills_up_and_is_enlarged(tmp_path: Path) -> None:
    """To the byte: refused envelopes leave the sequence as it was, and a close waits for its trajectory's room."""
    disk = MemoryFileSystem()
    async with running(tmp_path, files=disk) as run:
        client = await run.open()
        assert isinstance(await run.send(client.chunk()), Accepted)
        disk.capacity_bytes -= disk.free_bytes(tmp_path) - 400
        run.clock.now += 2  # the free space is asked for again
        body = client.chunk()
        for _ in range(3):
            assert isinstance(await run.send(body), StorageFull)
        disk.capacity_bytes += 2_000
        run.clock.now += 2
        again = await run.send(body)
        assert isinstance(again, Accepted)
        assert not again.duplicate
        disk.capacity_bytes -= disk.free_bytes(tmp_path) - 1_000
        run.clock.now += 2
        assert isinstance(await run.send(client.close()), Accepted)
        assert isinstance(await finished(run), StorageFull)
        disk.capacity_bytes += 100_000
        run.clock.now += 2
        closed = await run.service.close_session("sess_1")
        assert isinstance(closed, Closed)
        assert closed.credit is not None
        assert closed.credit.total_steps == 6
