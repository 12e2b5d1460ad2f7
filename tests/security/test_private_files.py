"""What lies on disk belongs to the server's user alone, however the machine is set up and whatever was there before."""

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.server_process import CLOSE, INGEST, OPEN, ServerFailedError, ServerProcess, run_command
from tests.signing_client import SigningClient, dumps

MODEL_S_MAX = 120.0
KNOWN_NAMES = re.compile(
    r"lock|last_(backup|verify)\.json|corpus\.lock|exports\.jsonl|(sessions|ledger|corpus)\.db(-wal|-shm)?|(access|jobs)\.db(-journal)?"
    r"|exports(/\S+)?|keys(/(master|pseudonyms)\.key)?|models(/\S+)?|torn(/\S+)?"
    r"|(envelopes|trajectories|refused|consent|intake|corpus|operations)(/\d{4}-\d\d-\d\d\.jsonl)?"
)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """What a server started within inherits."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(root: Path) -> dict[str, str]:
    """The mode of everything in a data directory, itself included, that is not 0700 for folders and 0600 for files."""
    wanted = {
        path: (0o700 if path.is_dir() else 0o600)
        for path in (root, *root.rglob("*"))
        if not path.name.endswith("-journal")
    }
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in wanted}
    return {str(path.relative_to(root)): f"{found[path]:04o}" for path in wanted if found[path] != wanted[path]}


def wait_for_model(server: ServerProcess) -> None:
    """Return when the embedding model, and so its cache on disk, is there."""
    deadline = time.monotonic() + MODEL_S_MAX
    while (state := server.get("/ready").members["checks"]["embedding"]) == "loading":
        assert time.monotonic() < deadline, "the model was not loaded"
        time.sleep(0.1)
    assert state == "ok"


def use(server: ServerProcess, session_id: str) -> None:
    """Put a line into each journal."""
    client = SigningClient(session_id)
    client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
    for body in (client.chunk(), client.chunk(provider="nobody"), client.close()):
        assert server.post(INGEST, body).status == 200
    assert server.post(CLOSE, dumps({"session_id": session_id}).encode()).status == 200


def test_every_file_is_0600_in_0700_whatever_the_umask_and_the_folder_s_mode(tmp_path: Path) -> None:
    """While it serves, with write-ahead logs, model cache, backup, and what recovery moved aside."""
    root = tmp_path / "data"
    root.mkdir()
    root.chmod(0o777)
    with umask(0), ServerProcess(root, settings={"CENTRAL_COMMAND__EMBEDDING__ENABLED": "true"}) as server:
        use(server, "sess_modes")
        wait_for_model(server)
        assert modes(root) == {}
        server.kill()
        (day,) = (root / "envelopes").glob("*.jsonl")
        with day.open("ab") as journal:
            journal.write(b'{"envelope_id":"env_cut')
        server.start()
        use(server, "sess_more")
        assert modes(root) == {}
        names = {str(path.relative_to(root)) for path in root.rglob("*")}
        assert any(name.startswith("torn/") for name in names)
        assert any(name.startswith("models/") for name in names)
        assert {"sessions.db-wal", "sessions.db-shm", "ledger.db-wal"} <= names


def test_a_backup_is_as_private_as_what_it_copies(tmp_path: Path) -> None:
    """Whatever the umask of whoever makes it; and without the master key, unless that was asked for."""
    if "backup" not in run_command("--help", cwd=tmp_path).stdout:
        pytest.skip("there is no backup command")
    root, copy = tmp_path / "data", tmp_path / "copy"
    with umask(0), ServerProcess(root) as server:
        use(server, "sess_backed_up")
        done = run_command("backup", "--data-dir", str(root), str(copy), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert modes(copy) == {}
    key = (root / "keys" / "master.key").read_bytes().strip()
    assert [path for path in copy.rglob("*") if path.is_file() and key in path.read_bytes()] == []


def test_no_name_on_disk_comes_from_a_client(tmp_path: Path) -> None:
    """Session ids that are paths open nothing, and those that could be one name no file."""
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        for name in ("../../escaped", "/tmp/escaped", "a/b", "..%2fescaped", "nul\x00", "~/escaped", "C:\\escaped"):
            opening = SigningClient("x").opening(session_id=name)
            assert server.post(OPEN, dumps(opening).encode()).status == 400
            assert server.post(INGEST, dumps({"session_id": name}).encode()).members["code"] == "unknown_session"
            assert server.post(CLOSE, dumps({"session_id": name}).encode()).status == 404
        for name in ("..", "sessions.db", "master.key", "2026-01-01.jsonl"):
            use(server, name)
        assert server.terminate() == 0
    names = [str(path.relative_to(root)) for path in root.rglob("*")]
    assert [name for name in names if not KNOWN_NAMES.fullmatch(name)] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize("name", ["lock", "envelopes/{day}.jsonl", "trajectories/{day}.jsonl", "refused/{day}.jsonl"])
def test_a_link_in_the_place_of_a_file_is_not_written_through(tmp_path: Path, name: str) -> None:
    """What someone planted before the folder was private cannot make the server empty or extend another file."""
    root, victim = tmp_path / "data", tmp_path / "victim"
    victim.write_bytes(b"a file of someone else, without a line break at its end")
    link = root / name.format(day=datetime.now(UTC).date())
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    with pytest.raises(ServerFailedError) as caught:
        ServerProcess(root).start()
    assert caught.value.status != 1, "that is a sentence, not a traceback"
    assert "Traceback" not in caught.value.stderr
    assert victim.read_bytes() == b"a file of someone else, without a line break at its end"


def test_a_database_that_is_a_link_to_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    """SQLite follows links; what is no database is refused and not changed."""
    root, victim = tmp_path / "data", tmp_path / "victim"
    victim.write_bytes(b"a file of someone else, and certainly no database " * 100)
    root.mkdir()
    (root / "sessions.db").symlink_to(victim)
    with pytest.raises(ServerFailedError) as caught:
        ServerProcess(root).start()
    assert caught.value.status == 5
    assert victim.read_bytes() == b"a file of someone else, and certainly no database " * 100
