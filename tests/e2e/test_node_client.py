"""A client in the published clients' own language: what JSON.stringify writes and node:crypto signs is taken in."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crash.acknowledged import lines_of
from tests.crash.consistency import check_stored
from tests.server_process import ServerProcess

NODE = shutil.which("node")
POINTS = 14 * 5 + 3 + 14
"""Steps times the model's tier, one error recovered, and once more the steps for a heavy task; then the quality."""


@pytest.mark.skipif(NODE is None, reason="there is no node on the PATH")
def test_a_session_of_a_node_client_is_accepted_whole(tmp_path: Path) -> None:
    """Lone surrogates, every kind of number, control characters: signed, resent, stored and stitched as they were."""
    assert NODE is not None
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        program = Path(__file__).with_name("client.mjs")
        done = subprocess.run([NODE, str(program), server.url], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["opened"]["status"] == 200
        assert [answer["accepted"] for answer in told["answers"]] == [True] * 6, told["answers"]
        assert [answer.get("duplicate", False) for answer in told["answers"]] == [
            False,
            True,
            False,
            True,
            False,
            False,
        ]
        quality = math.floor(POINTS / 10)
        closed = {"status": 200, "closed": True, "already_closed": True, "points": POINTS + quality, "steps": 14}
        assert told["closed"] == closed
        assert server.terminate() == 0
    (line,) = [json.loads(text) for text in lines_of(root, "trajectories")]
    assert line["trajectory_log"] == told["steps"]
    assert line["outcome"]["quality_tier_reason"] == "no\ud83dne"
    check_stored(root)
