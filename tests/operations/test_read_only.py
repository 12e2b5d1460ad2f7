"""A data directory that nothing can be written to: what only looks at it works all the same."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from persistence.databases.reading import connected_to_read
from tests.server_process import INGEST, OPEN, ServerProcess, run_command
from tests.signing_client import SigningClient, dumps

COMMANDS = (
    ("verify",),
    ("verify", "--deep"),
    ("sessions",),
    ("sessions", "--set-aside"),
    ("show", "sess_closed", "--json"),
    ("stats", "--json"),
)

ReadOnly = Callable[[Path], Path]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[ReadOnly]:
    """Show a folder at another place, read-only: as root by a mount, else by its mode."""
    mounted: list[Path] = []

    def show(folder: Path) -> Path:
        if os.geteuid() != 0:
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o500 if path.is_dir() else 0o400)
            return folder
        place = tmp_path / "read-only"
        place.mkdir()
        for options in (["--bind", str(folder), str(place)], ["-o", "remount,bind,ro", str(place)]):
            done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"nothing can be mounted read-only here: {done.stderr.strip()}")
            mounted[:] = [place]
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()
        return place

    if os.geteuid() == 0 and shutil.which("mount") is None:
        pytest.skip("there is no mount")
    yield show
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    if not mounted:
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o700)


def use(server: ServerProcess) -> None:
    """Leave one session that is closed and one that is open."""
    for session_id in ("sess_closed", "sess_open"):
        client = SigningClient(session_id)
        client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
        bodies = [client.chunk(2), *([client.close()] if session_id == "sess_closed" else [])]
        for body in bodies:
            assert server.post(INGEST, body).members["accepted"] is True


def state_of(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, but for the memory that processes share beside a database."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("ended", ["stopped", "killed", "killed, without the shared memory"])
def test_what_looks_works_where_nothing_can_be_written(tmp_path: Path, read_only: ReadOnly, ended: str) -> None:
    """Also when a crash left the openings in a database's log alone; and a backup can be made of it."""
    data = tmp_path / "data"
    with ServerProcess(data) as server:
        use(server)
        run_command("verify", "--data-dir", str(data), cwd=tmp_path)  # by then the close is complete
        if ended == "stopped":
            assert server.terminate() == 0
        else:
            server.kill()
    if ended.endswith("memory"):
        for path in data.glob("*-shm"):
            path.unlink()
    has_log = any(path.stat().st_size for path in data.glob("*-wal"))
    assert has_log is (ended != "stopped")
    before = state_of(data)
    place = read_only(data)
    for command in COMMANDS:
        done = run_command(*command, "--data-dir", str(place), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command
    done = run_command("backup", str(tmp_path / "backup"), "--data-dir", str(place), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_command("restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "again"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert state_of(data) == before


def test_what_looks_works_beside_a_server_that_alone_can_write(tmp_path: Path, read_only: ReadOnly) -> None:
    """What is acknowledged while the mount is there is seen through it."""
    if os.geteuid() != 0:
        pytest.skip("by modes alone the server could not write either")
    data = tmp_path / "data"
    with ServerProcess(data) as server:
        place = read_only(data)
        use(server)
        for command in (("verify",), ("verify", "--deep"), ("sessions",)):
            done = run_command(*command, "--data-dir", str(place), cwd=tmp_path)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "sess_open" in done.stdout
        assert server.terminate() == 0


def test_what_writes_says_that_it_cannot(tmp_path: Path, read_only: ReadOnly) -> None:
    """In one sentence, whether it is the server or a command."""
    data = tmp_path / "data"
    with ServerProcess(data) as server:
        use(server)
        assert server.terminate() == 0
    place = read_only(data)
    for command in (("rebuild",), ("sessions", "--retry", "sess_open"), ("serve", "--port", "0")):
        done = run_command(*command, "--data-dir", str(place), cwd=tmp_path)
        assert done.returncode == 2, command
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_copy_that_is_read_is_private_and_goes(tmp_path: Path, read_only: ReadOnly) -> None:
    """It is made only where a log with something in it lies beside a database that cannot be read in its place."""
    data = tmp_path / "data"
    with ServerProcess(data) as server:
        use(server)
        server.kill()
    for path in data.glob("*-shm"):
        path.unlink()
    place = read_only(data)
    with connected_to_read(place / "sessions.db") as connection:
        ((_, _, name),) = connection.execute("PRAGMA database_list").fetchall()
        assert Path(name).parent.stat().st_mode & 0o777 == 0o700
        assert not Path(name).is_relative_to(place)
        assert connection.execute("SELECT count(*) FROM sessions").fetchall() == [(2,)]
    assert not Path(name).parent.exists()
