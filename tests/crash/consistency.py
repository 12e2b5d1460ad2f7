"""Whether a data directory holds what was acknowledged, while its server runs but nothing is sent, or after it."""

import time
from pathlib import Path

import trio

from tests.crash.acknowledged import Acknowledged, lines_of, rows
from tests.server_process import HANGS_AFTER_S
from tests.stored_state import findings


def wait_until_projected(root: Path) -> None:
    """Return once both databases have seen every line; nothing may be sending meanwhile."""
    ends = {name: len(lines_of(root, name)) for name in ("envelopes", "refused", "trajectories")}
    deadline = time.monotonic() + HANGS_AFTER_S
    while True:
        seen = dict(rows(root / "sessions.db", "SELECT journal, n FROM projection_positions"))
        credited = dict(rows(root / "ledger.db", "SELECT journal, n FROM projection_positions"))
        behind = {name: n for name, n in ends.items() if seen.get(name, 0) < n}
        if not behind and credited.get("trajectories", 0) >= ends["trajectories"]:
            return
        assert time.monotonic() < deadline, f"not projected: {behind}, credits up to {credited}"
        time.sleep(0.005)  # there is nothing to wait on in another process's database


def check(acknowledged: Acknowledged, root: Path) -> None:
    """All that was acknowledged is there once, and everything stored agrees with everything else."""
    wait_until_projected(root)
    assert acknowledged.differences(root) == []
    check_stored(root)


def check_stored(root: Path) -> None:
    """Everything stored agrees with everything else."""
    assert trio.run(findings, root) == []
