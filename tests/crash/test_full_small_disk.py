"""`kill -9` and a restart on a file system without a free byte: one sentence or reading, and nothing is lost."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.acknowledged import Acknowledged, lines_of, tables
from tests.crash.consistency import check, check_stored, wait_until_projected
from tests.server_process import INGEST, OPEN, Answer, ServerFailedError, ServerProcess
from tests.signing_client import SigningClient, dumps
from tests.small_disk import CannotMountError, fill_up, mounted

DISK_BYTES = 4_260_000
"""18 envelopes of 200 KB, and as much beside them as the databases need to take in what these say."""
SMALL_WRITE_AHEAD_LOG = {"CENTRAL_COMMAND__STORAGE__WAL_CHECKPOINT_PAGES": "50"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory, with room for `DISK_BYTES`."""
    folder = tmp_path / "disk"
    try:
        with mounted(folder, size_bytes=DISK_BYTES):
            yield folder
    except CannotMountError as error:
        pytest.skip(f"{error}")


def grow(folder: Path) -> None:
    """Give the file system room enough for the trajectory, too, which is as large as all chunks."""
    subprocess.run(["mount", "-o", f"remount,size={5 * DISK_BYTES}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take every free byte; return the file that holds them."""
    path = folder / "filler"
    fill_up(path)
    return path


class Client:
    """One session, sending until the disk is full."""

    def __init__(self, server: ServerProcess) -> None:
        self.acknowledged = Acknowledged()
        self.signing = SigningClient("sess_1")
        self.refused = b""
        self._server = server
        answer = self.post(OPEN, dumps(self.signing.opening()).encode())
        self.signing.opened(answer.members["server_public_key"])

    def post(self, path: str, body: bytes) -> Answer:
        """Send a request and keep what is acknowledged."""
        answer = self._server.post(path, body)
        if answer.status == 200:
            self.acknowledged.take(path, body, answer)
        return answer

    def send_until_full(self) -> None:
        """Send chunks until one is refused for want of room."""
        status = 200
        while status == 200:
            self.refused = self.signing.chunk_of([self.signing.step(content="x" * 50_000) for _ in range(4)])
            status = self.post(INGEST, self.refused).status
            assert self.signing.chunks < 50, "the disk never filled up"
        assert status == 507


def start_or_sentence(server: ServerProcess) -> str:
    """Start; "" when it serves, else its one sentence, with the status that lets a supervisor try again."""
    try:
        server.start()
    except ServerFailedError as error:
        failed = error
    else:
        return ""
    assert failed.status == 5, failed
    assert failed.stderr.count("\n") == 1, f"not one sentence: {failed.stderr}"
    assert failed.stderr.startswith("central-command: ")
    return failed.stderr


def test_a_kill_on_a_full_disk_and_a_restart_on_it(small_disk: Path) -> None:
    """Whether it serves or says why not, with room again everything acknowledged is there, and the rest is taken."""
    root = small_disk / "data"
    with ServerProcess(root, settings=SMALL_WRITE_AHEAD_LOG) as server:
        client = Client(server)
        client.send_until_full()
        wait_until_projected(root)
        fill(small_disk)
        assert server.get("/health").status == 200
        assert client.post(INGEST, client.refused).status == 507
        server.kill()
        assert client.acknowledged.differences(root, closes_are_finished=False) == []
        fill(small_disk)
        sentence = start_or_sentence(server)
        if sentence:
            assert ".db" in sentence or "journal" in sentence
        else:
            assert server.get("/v1/stats/summary").members["totalEnvelopes"] == client.signing.chunks - 1
            assert client.post(INGEST, client.refused).status == 507
            server.kill()
        grow(small_disk)
        server.start()
        assert client.post(INGEST, client.refused).status == 200
        assert client.post(INGEST, client.signing.close()).status == 200
        assert server.terminate() == 0
        check(client.acknowledged, root)


def test_a_torn_line_on_a_full_disk_waits_for_room(small_disk: Path, filled: Path) -> None:
    """There is no room to keep it aside, so it is not cut off: a sentence, until there is room."""
    root = small_disk / "data"
    shutil.copytree(filled, root)
    before = tables(root)
    file = max((root / "envelopes").glob("*.jsonl"))
    torn = lines_of(root, "envelopes")[-1][:-1]
    with file.open("ab") as opened:
        opened.write(torn)
    size = file.stat().st_size
    filler = fill(small_disk)
    server = ServerProcess(root)
    for _ in range(2):
        assert start_or_sentence(server)
        assert file.stat().st_size == size
    filler.unlink()
    server.start()
    assert server.terminate() == 0
    assert tables(root) == before
    assert [part.read_bytes() for part in (root / "torn").iterdir()] == [torn]
    check_stored(root)
