"""A line that changes on the disk under a running server is noticed by it, said, and harms nobody else."""

from pathlib import Path

from tests.actors.observer.observing import watching
from tests.operations.test_locked_database import Client, wait_for
from tests.running_service import running
from tests.server_process import INGEST, ServerProcess

NO_CONSENT_RECORDED = {
    "CENTRAL_COMMAND__CONSENT__MODE": "required",
    "CENTRAL_COMMAND__OBSERVER__ENABLED": "false",
}
"""So that the lines are those of the session alone."""


def test_a_changed_line_is_said_with_its_place_while_the_server_serves_on(tmp_path: Path) -> None:
    """`/ready` tells of it and stays 200, `/health` when all lines were last gone over."""
    root = tmp_path / "data"
    with ServerProcess(root, settings=NO_CONSENT_RECORDED) as server:
        clients = Client(server)
        client = clients.open("sess_1")
        for _ in range(3):
            assert clients.post(INGEST, client.chunk()).status == 200
        assert server.terminate() == 0
    [path] = (root / "envelopes").iterdir()
    first, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(first.replace(b"sess_1", b"sess_2", 1) + b"\n" + rest)
    with ServerProcess(root, settings={**NO_CONSENT_RECORDED, "CENTRAL_COMMAND__STORAGE__CHECK_SHARE": "1"}) as server:
        wait_for(lambda: server.get("/health").members["last_full_check"] is not None, "all lines to be gone over")
        ready = server.get("/ready")
        assert (ready.status, ready.members["checks"]["lines"]) == (200, "damaged in 1 place(s); the log says where")
        assert f"a line that fails its checksum at byte 0 of {path.name}: restore" in server.said
        wait_for(lambda: "all 2 stored lines were checked: 1 places are damaged" in server.said, "that to be said")
        assert Client(server).open("sess_3") is not None
        assert server.terminate() == 0


async def test_lines_that_others_write_are_gone_over_with_the_server_s_own(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        client = await run.open()
        await run.send(client.chunk())
        for _ in range(2):
            await run.service.access.audit.note("command", "queue_paused", "gc", "")
        async with watching(tmp_path) as watched:
            await watched.say(success=True)
        await run.service.check.check_all()
        figures = run.service.check.statistics()
        assert (figures.full_passes, figures.damaged_places) == (1, 0)
        assert figures.lines >= 4
        [path] = (tmp_path / "audit").glob("*.jsonl")
        path.write_bytes(path.read_bytes().replace(b"queue_paused", b"queue_pAused", 1))
        await run.service.check.check_all()
        assert run.service.check.statistics().damaged_places == 1


async def test_what_failed_once_keeps_no_server_from_starting(tmp_path: Path) -> None:
    """Operations are notes on what failed: where a start finds them changed, there is no observer, and all else is."""
    root = tmp_path / "data"
    root.mkdir(mode=0o700)
    async with watching(root) as watched:
        for endpoint in "abc":
            await watched.say(endpoint=endpoint, error="x")
    [path] = (root / "operations").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"endpoint":"a"', b'"endpoint":"z"', 1))
    with ServerProcess(root) as server:
        assert "the operations journal is damaged" in server.said
        assert "There is no observer until the next start." in server.said
        clients = Client(server)
        assert clients.post(INGEST, clients.open("sess_1").chunk()).status == 200
        assert "Traceback" not in server.said
        assert server.terminate() == 0
