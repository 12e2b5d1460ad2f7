"""System calls of the real server that fail: it refuses or ends, and nothing acknowledged is lost."""

import http.client
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from actors.sessions.outcomes import Accepted
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from tests.crash.acknowledged import Acknowledged, lines_of, tables
from tests.crash.consistency import wait_until_projected
from tests.crash.injected import SYNCS, WRITES, Fault, calls, injected, run_with_fault, why_not
from tests.running_service import running
from tests.server_process import CLOSE, INGEST, OPEN, SETTINGS, Answer, ServerProcess
from tests.signing_client import SigningClient, dumps
from tests.stored_state import findings

ROOM_S_MAX = 60.0

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace works")


class Calls(msgspec.Struct, frozen=True):
    """Which system calls fail where, and how: `where` is below the data directory, "*" a journal's current file."""

    where: str
    calls: str
    error: str

    def on(self, root: Path) -> Fault:
        """The fault for this data directory."""
        now = datetime.now(UTC)
        days = [f"{now + timedelta(days=ahead):%Y-%m-%d}.jsonl" for ahead in (0, 1)]
        paths = [root / self.where.replace("*", day) for day in days]
        return Fault(tuple(dict.fromkeys(paths)), self.calls, self.error)

    def __str__(self) -> str:
        return f"{self.error} on {self.calls.partition(',')[0]} of {self.where}"


class Client:
    """Sends to a server, and keeps what was answered and what was not."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.acknowledged = Acknowledged()
        self.unanswered: list[tuple[str, bytes]] = []

    def post(self, path: str, body: bytes) -> Answer | None:
        """Send a request; None when the server ended instead of answering."""
        try:
            answer = self.server.post(path, body)
        except (OSError, http.client.HTTPException):
            self.unanswered.append((path, body))
            return None
        if answer.status == 200:
            self.acknowledged.take(path, body, answer)
        return answer

    def open(self, session_id: str) -> SigningClient:
        """Open a session; it must be answered."""
        client = SigningClient(session_id)
        answer = self.post(OPEN, dumps(client.opening()).encode())
        assert answer is not None
        assert answer.status == 200, answer
        client.opened(answer.members["server_public_key"])
        return client

    async def check_restart(self, root: Path) -> None:
        """Start without faults: what was acknowledged is there once, what was not can be sent again, all agrees."""
        async with running(root) as run:
            await run.projected()
            assert self.acknowledged.differences(root) == []
            assert await findings(root) == []
            for path, body in self.unanswered:
                if path == INGEST:
                    assert isinstance(await run.send(body), Accepted)
            again = await run.open("sess_after")
            assert isinstance(await run.send(again.chunk()), Accepted)
        assert await findings(root) == []
        before = tables(root)
        await rebuild(root, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")
        assert tables(root) == before


def ended_with(server: ServerProcess) -> str:
    """The one sentence with which a server ended because of its disk."""
    assert server.wait(60) == 5
    *_, last = server.said.splitlines()
    assert last.startswith("central-command: ")
    assert "Traceback" not in server.said
    return last


def chunk(client: Client) -> tuple[str, bytes]:
    """A chunk of a session that is open and has one."""
    session = client.open("sess_chunk")
    client.post(INGEST, session.chunk())
    return INGEST, session.chunk()


def first_chunk(client: Client) -> tuple[str, bytes]:
    """The first envelope that the server ever gets."""
    return INGEST, client.open("sess_first").chunk()


def opening(client: Client) -> tuple[str, bytes]:
    """An opening after another one."""
    client.open("sess_before")
    return OPEN, dumps(SigningClient("sess_opening").opening()).encode()


def close(client: Client) -> tuple[str, bytes]:
    """The HTTP close of a session with a chunk, when trajectories have been written before."""
    for session_id in ("sess_earlier", "sess_close"):
        session = client.open(session_id)
        client.post(INGEST, session.chunk())
        if session_id == "sess_earlier":
            client.post(CLOSE, b'{"session_id":"sess_earlier"}')
    return CLOSE, b'{"session_id":"sess_close"}'


Prepare = Callable[[Client], tuple[str, bytes]]

ENDING: Sequence[tuple[Prepare, Calls, str]] = (
    (chunk, Calls("envelopes/*", WRITES, "EIO"), "writing the envelopes journal failed: Input/output error"),
    (chunk, Calls("envelopes/*", SYNCS, "EIO"), "syncing the envelopes journal failed: Input/output error"),
    (chunk, Calls("envelopes/*", SYNCS, "ENOSPC"), "syncing the envelopes journal failed: No space left on device"),
    (first_chunk, Calls("envelopes/*", "openat", "EIO"), "the envelopes journal could not open its file"),
    (first_chunk, Calls("envelopes/*", SYNCS, "EIO"), "syncing a new file of the envelopes journal failed"),
    (first_chunk, Calls("envelopes", SYNCS, "EIO"), "syncing a new file of the envelopes journal failed"),
    (close, Calls("trajectories/*", WRITES, "EIO"), "writing the trajectories journal failed"),
    (close, Calls("trajectories/*", SYNCS, "EIO"), "syncing the trajectories journal failed"),
    (opening, Calls("sessions.db-wal", WRITES, "EIO"), "the disk failed while sessions.db was read or written"),
    (opening, Calls("sessions.db-wal", SYNCS, "EIO"), "the disk failed while sessions.db was read or written"),
    (close, Calls("ledger.db-wal", WRITES, "EIO"), "the disk failed while ledger.db was read or written"),
)


def name_of(argument: object) -> str:
    """What a parameter is called in a test's name."""
    return getattr(argument, "__name__", str(argument))


@pytest.mark.parametrize(("prepare", "failing", "sentence"), ENDING, ids=name_of)
async def test_a_fault_that_leaves_the_disk_unknown_ends_the_server(
    tmp_path: Path, prepare: Prepare, failing: Calls, sentence: str
) -> None:
    """At once, with a sentence and status 5; a failed sync of a journal is never followed by another one."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        client = Client(server)
        path, body = prepare(client)
        wait_until_projected(root)
        with injected(server.process.pid, failing.on(root), tmp_path / "log"):
            client.post(path, body)
            assert sentence in ended_with(server)
    injections = [line for line in (tmp_path / "log").read_text().splitlines() if "(INJECTED)" in line]
    assert injections
    if failing.calls == SYNCS and failing.where.startswith(("envelopes", "trajectories")):
        assert len(injections) == 1, "it was synced again"
        syncs = [call for name in SYNCS.split(",") for call in calls(tmp_path / "log", name)]
        assert syncs[-1] == injections[0], "it was synced again"
    await client.check_restart(root)


REFUSING: Sequence[tuple[Prepare, Calls]] = (
    (first_chunk, Calls("envelopes/*", "openat", "ENOSPC")),
    (chunk, Calls("envelopes/*", WRITES, "ENOSPC")),
    (opening, Calls("sessions.db-wal", WRITES, "ENOSPC")),
    (close, Calls("trajectories/*", WRITES, "ENOSPC")),
)


async def test_a_full_disk_refuses_and_takes_the_same_request_later(tmp_path: Path) -> None:
    """507 and nothing kept, as often as it is tried; with room again it is accepted, without a restart."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        client = Client(server)
        for prepare, failing in REFUSING:
            path, body = prepare(client)
            wait_until_projected(root)
            with injected(server.process.pid, failing.on(root), tmp_path / "log"):
                for _ in range(3):
                    answer = client.post(path, body)
                    assert answer is not None
                    assert answer.status == 507, (failing, answer)
                assert server.get("/health").status == 200
                assert server.get("/v1/stats/summary").status == 200
            answer = client.post(path, body)
            assert answer is not None
            assert answer.status == 200, (failing, answer)
        wait_until_projected(root)
        assert server.terminate() == 0
    await client.check_restart(root)


async def test_a_database_without_room_delays_the_projection_only(tmp_path: Path) -> None:
    """Envelopes and closes are taken meanwhile; index and credits follow once there is room."""
    root = tmp_path / "data"
    with ServerProcess(root, settings={"CENTRAL_COMMAND__STORAGE__PROJECTION_RETRY_S": "0.1"}) as server:
        client = Client(server)
        for number, database in enumerate(("sessions.db", "ledger.db"), start=1):
            session = client.open(f"sess_{number}")
            client.post(INGEST, session.chunk())
            wait_until_projected(root)
            failing = Calls(f"{database}-wal", WRITES, "ENOSPC")
            with injected(server.process.pid, failing.on(root), tmp_path / "log"):
                for path, body in ((INGEST, session.chunk()), (INGEST, session.close())):
                    answer = client.post(path, body)
                    assert answer is not None
                    assert answer.status == 200
                sentence = f"no space is left on the disk for {database}"
                _wait_until(lambda sentence=sentence: sentence in server.said)  # type: ignore[misc]
            wait_until_projected(root)
            assert server.get("/v1/stats/summary").members["totalPointsAwarded"] == 30 * number
        assert server.terminate() == 0
    await client.check_restart(root)


async def test_a_file_that_cannot_be_cut_back_ends_the_server(tmp_path: Path) -> None:
    """No room for a batch, and what was written of it cannot be taken away: then nobody knows what is there."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        client = Client(server)
        path, body = chunk(client)
        on_write = Calls("envelopes/*", f"{WRITES},ftruncate", "ENOSPC").on(root)
        with injected(server.process.pid, on_write, tmp_path / "log"):
            client.post(path, body)
            assert "cutting the envelopes journal back failed: No space left on device" in ended_with(server)
    await client.check_restart(root)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ROOM_S_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # there is nothing to wait on in another process's words


STARTING: Sequence[tuple[str, str, str, str]] = (
    ("envelopes/{day}.jsonl", "openat", "EIO", "recovering the envelopes journal failed: Input/output error"),
    ("envelopes/{day}.jsonl", SYNCS, "EIO", "recovering the envelopes journal failed: Input/output error"),
    ("envelopes/{day}.jsonl", "ftruncate", "EIO", "recovering the envelopes journal failed: Input/output error"),
    ("torn/envelopes-{day}-{end}.part", "openat", "ENOSPC", "recovering the envelopes journal failed: No space left"),
    ("torn/envelopes-{day}-{end}.part", WRITES, "ENOSPC", "recovering the envelopes journal failed: No space left"),
    ("torn/envelopes-{day}-{end}.part", SYNCS, "EIO", "recovering the envelopes journal failed: Input/output error"),
    ("sessions.db", "openat", "EIO", "sessions.db cannot be opened"),
    ("ledger.db-shm", WRITES, "ENOSPC", "ledger.db"),
)


@pytest.mark.parametrize(("where", "names", "error", "sentence"), STARTING)
async def test_a_fault_at_the_start_is_one_sentence(
    filled: Path, tmp_path: Path, where: str, names: str, error: str, sentence: str
) -> None:
    """Status 5, so that a supervisor tries again; nothing is lost by it, and the next start does what is left."""
    before, lines = tables(filled), len(lines_of(filled, "envelopes"))
    file = max((filled / "envelopes").glob("*.jsonl"))
    end = file.stat().st_size
    with file.open("ab") as opened:
        opened.write(b'{"envelope_id":"env_torn')
    path = filled / where.format(day=file.stem, end=end)
    arguments = ("serve", "--data-dir", str(filled), "--host", "127.0.0.1", "--port", "0")
    done = run_with_fault(arguments, Fault((path,), names, error), tmp_path / "log", cwd=tmp_path, settings=SETTINGS)
    assert "(INJECTED)" in (tmp_path / "log").read_text()
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
    assert done.stderr.startswith("central-command: ")
    assert sentence in done.stderr
    async with running(filled) as run:
        assert tables(run.root) == before
    assert [path.read_bytes() for path in (filled / "torn").iterdir()] == [b'{"envelope_id":"env_torn']
    assert len(lines_of(filled, "envelopes")) == lines
    assert await findings(filled) == []
