"""`kill -9` of the real server, again and again, while eight clients send to it over real sockets."""

import os
import time
from pathlib import Path
from random import Random

from tests.crash.acknowledged import Acknowledged, tables
from tests.crash.consistency import check, wait_until_projected
from tests.crash.load import Load
from tests.server_process import ServerProcess, run_command

KILLS = int(os.environ.get("CRASH_TEST_KILLS", "20"))
"""In `make test`; CRASH_TEST_KILLS=200 looks longer, and `make soak` kills for an hour."""
CONNECTIONS = 8
ANSWERS_MAX = 120
"""Answers between a start and a kill: at most about half a second of load on a slow machine."""


def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """Every acknowledged envelope is stored once, byte for byte, every closed session credited once; resends agree.

    CRASH_TEST_SEED repeats the choices of a run, though not the instants at which the kills hit.
    """
    seed = int(os.environ.get("CRASH_TEST_SEED", time.time_ns() % 1_000_000))
    root = tmp_path / "data"
    acknowledged = Acknowledged()
    random = Random(seed)
    try:
        with ServerProcess(root) as server, Load(CONNECTIONS, seed, acknowledged) as load:
            for _ in range(KILLS):
                load.begin_life(server.connect)
                load.wait_for_answers(random.randint(1, ANSWERS_MAX))
                server.kill()
                load.wait_for_pause()
                assert acknowledged.differences(root, closes_are_finished=False) == []
                server.start()
                check(acknowledged, root)
            load.begin_life(server.connect)
            load.finish()
            wait_until_projected(root)
            assert server.terminate() == 0
        check(acknowledged, root)
        before = tables(root)
        assert run_command("rebuild", "--data-dir", str(root), cwd=tmp_path).returncode == 0
        assert tables(root) == before
        closed = sum(session.closed for session in acknowledged.sessions.values())
        assert closed > KILLS, f"only {closed} sessions were closed: the kills left no room for work"
    except BaseException as problem:
        problem.add_note(f"seed {seed}, data directory {root}")
        raise
