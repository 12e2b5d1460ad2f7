"""`verify` beside a running server: what is under way is no fault, and a fault is still found."""

import sqlite3
from pathlib import Path

from tests.crash.acknowledged import Acknowledged
from tests.crash.load import Load
from tests.server_process import ServerProcess, run_command


def test_verify_finds_nothing_wrong_under_load(tmp_path: Path) -> None:
    """Closes without their trajectory yet, trajectories without their credit yet: they are awaited, not reported."""
    root = tmp_path / "data"
    with ServerProcess(root) as server, Load(8, 11, Acknowledged()) as load:
        load.begin_life(server.connect)
        for _ in range(6):
            load.wait_for_answers(30)
            done = run_command("verify", "--data-dir", str(root), cwd=tmp_path)
            assert (done.returncode, done.stdout) == (0, "all is well\n")
        load.finish()


def test_verify_finds_what_stays_wrong(filled: Path) -> None:
    """A sum that is wrong, and stays so, is reported with the session that it is wrong for."""
    connection = sqlite3.connect(filled / "sessions.db")
    with connection:
        connection.execute("UPDATE sessions SET trajectory_id = NULL WHERE session_id = 'sess_closed_1'")
    connection.close()
    done = run_command("verify", "--data-dir", str(filled), cwd=filled.parent)
    assert done.returncode == 1
    assert "each closed session with chunks has a trajectory: ('sess_closed_1'" in done.stdout
