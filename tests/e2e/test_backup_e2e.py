"""Backups of a real server under load: restored, checked, served again; and a backup that is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.crash.acknowledged import Acknowledged, lines_of, rows
from tests.crash.consistency import check_stored, wait_until_projected
from tests.crash.load import Load
from tests.server_process import (
    CLOSE,
    INGEST,
    OPEN,
    Answer,
    ServerProcess,
    environment,
    run_command,
)
from tests.signing_client import SigningClient, dumps

CONNECTIONS = 6
ANSWERS_BEFORE = 150
ANSWERS_AFTER = 60
WAIT_S_MAX = 60.0


class Recorded:
    """Sessions of known content, each with what was sent and answered, which a restored server is asked about again."""

    def __init__(self, server: ServerProcess, count: int, name: str) -> None:
        self.clients = [SigningClient(f"sess_{name}_{number}") for number in range(count)]
        self.sent: list[tuple[bytes, dict[str, Any]]] = []
        for number, client in enumerate(self.clients):
            answer = server.post(OPEN, dumps(client.opening()).encode())
            client.opened(answer.members["server_public_key"])
            for _ in range(1 + number % 3):
                self._take(server, client.chunk(2))
            if number % 4 == 3:
                self._take(server, client.close())

    def _take(self, server: ServerProcess, body: bytes) -> None:
        answer = server.post(INGEST, body)
        assert answer.members["accepted"] is True, answer
        self.sent.append((body, answer.members))

    def resend(self, server: ServerProcess) -> None:
        """Each one is answered as before, and known as a duplicate."""
        for body, members in self.sent:
            assert server.post(INGEST, body) == Answer(200, members | {"duplicate": True})

    def go_on(self, server: ServerProcess) -> None:
        """What was open takes more, and is credited with all of it."""
        for client in self.clients:
            if client.chunks and server.post(INGEST, client.chunk(1)).members["accepted"]:
                points = server.post(CLOSE, dumps({"session_id": client.session_id}).encode()).members["points"]
                assert points == 5 * client.steps


def test_a_backup_under_load_restores_everything_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    """Verified clean, served again, resends are duplicates, open sessions go on; the load never noticed."""
    root, again = tmp_path / "data", tmp_path / "again"
    acknowledged = Acknowledged()
    with ServerProcess(root) as server, Load(CONNECTIONS, 5, acknowledged) as load:
        recorded = Recorded(server, 12, "recorded")
        load.begin_life(server.connect)
        load.wait_for_answers(ANSWERS_BEFORE)
        before = {
            key: envelope.envelope_id
            for session in list(acknowledged.sessions.values())
            for key, envelope in list(session.envelopes.items())
        }
        done = run_command("backup", str(tmp_path / "copy"), "--data-dir", str(root), "--with-key", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        load.wait_for_answers(ANSWERS_AFTER)
        load.finish()
        assert server.terminate() == 0
        check_stored(root)
    done = run_command("restore", str(tmp_path / "copy"), "--data-dir", str(again), cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "all is well"), done.stdout + done.stderr
    ids = {row[0] for row in rows(again / "sessions.db", "SELECT envelope_id FROM processed_envelopes")}
    assert {key for key, envelope_id in before.items() if envelope_id not in ids} == set()
    with ServerProcess(again) as server:
        recorded.resend(server)
        recorded.go_on(server)
        wait_until_projected(again)
        assert server.terminate() == 0
    check_stored(again)
    assert run_command("verify", "--data-dir", str(again), cwd=tmp_path).stdout == "all is well\n"
    lines = lines_of(again, "envelopes")
    assert len(lines) == len(set(lines))


def test_without_the_key_the_server_names_it_and_with_it_sessions_go_on(tmp_path: Path) -> None:
    """One sentence and status 2, which systemd does not restart."""
    root, again = tmp_path / "data", tmp_path / "again"
    with ServerProcess(root) as server:
        recorded = Recorded(server, 4, "recorded")
        assert run_command("backup", str(tmp_path / "copy"), "--data-dir", str(root), cwd=tmp_path).returncode == 0
    assert run_command("restore", str(tmp_path / "copy"), "--data-dir", str(again), cwd=tmp_path).returncode == 0
    refused = run_command("serve", "--data-dir", str(again), cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "is missing: put back" in refused.stderr
    key = (root / "keys" / "master.key").read_text()
    with ServerProcess(again, settings={"CENTRAL_COMMAND_MASTER_KEY": key}) as server:
        recorded.resend(server)
        recorded.go_on(server)
        assert server.terminate() == 0
    check_stored(again)


def test_a_backup_that_is_killed_is_never_taken_for_one(tmp_path: Path) -> None:
    """Whenever it is killed: there is no folder of its name, `restore` refuses the rest, and the next backup works."""
    root, copy, rest = tmp_path / "data", tmp_path / "copy", tmp_path / "copy.partial"
    with ServerProcess(root) as server:
        Recorded(server, 4, "recorded")
        # Large enough that there is something to kill it in.
        client = SigningClient("sess_large")
        client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
        for _ in range(20):
            body = client.chunk_of([client.step(content="x" * 90_000) for _ in range(20)])
            assert server.post(INGEST, body).status == 200
        command = [sys.executable, "-m", "central_command", "backup", str(copy), "--data-dir", str(root)]
        for seen in ("*", "sessions.db", "envelopes/*"):
            process = subprocess.Popen(command, cwd=tmp_path, env=environment({}), stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + WAIT_S_MAX
            while process.poll() is None and not list(rest.glob(seen)):
                assert time.monotonic() < deadline, "the backup did not get so far"
                time.sleep(0.001)  # there is nothing to wait on in another process
            process.kill()
            if process.wait(WAIT_S_MAX) == -signal.SIGKILL and not copy.exists():
                done = run_command("restore", str(rest), "--data-dir", str(tmp_path / "again"), cwd=tmp_path)
                assert done.returncode in {2, 0}, done.stderr
                assert (tmp_path / "again").exists() == (done.returncode == 0) == (rest / "manifest.json").exists()
            for folder in (copy, tmp_path / "again"):
                if folder.exists():
                    folder.rename(tmp_path / f"{folder.name}{seen.replace('/', '')}-done")
        done = run_command("backup", str(copy), "--data-dir", str(root), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert not rest.exists()
        assert server.terminate() == 0
    assert run_command("restore", str(copy), "--data-dir", str(tmp_path / "last"), cwd=tmp_path).returncode == 0
    check_stored(tmp_path / "last")
